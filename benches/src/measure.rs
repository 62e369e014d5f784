//! Measures rows: instructions under callgrind, system calls under ptrace, CPU time alone.

use crate::child;
use crate::rows::Row;
use crate::system_calls;

/// Counts of one repetition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// In user space.
    pub(crate) instructions: f64,
    /// On the thread of the handler.
    pub(crate) system_calls: f64,
}

impl Counts {
    /// Subtracts the counts of a row that this one is compared with.
    pub(crate) fn without(self, base: Option<Self>) -> Self {
        base.map_or(self, |base| Self {
            instructions: self.instructions - base.instructions,
            system_calls: self.system_calls - base.system_calls,
        })
    }
}

/// The figures of one repetition.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) row: &'static Row,
    pub(crate) counts: Counts,
    /// CPU time; `None` if it was not measured.
    pub(crate) nanoseconds: Option<f64>,
    /// Most instructions in comparison to another row.
    pub(crate) most: Option<f64>,
}

impl Figures {
    /// Returns the lowest bar of instructions.
    pub(crate) fn bar(&self) -> Option<f64> {
        let bars = [self.row.bar.map(f64::from), self.most];
        bars.into_iter().flatten().reduce(f64::min)
    }

    /// Returns whether the row has more instructions or system calls than its bars.
    pub(crate) fn is_over(&self) -> bool {
        self.bar().is_some_and(|bar| self.counts.instructions > bar)
            || (self.row.most_calls).is_some_and(|most| self.counts.system_calls > most)
    }
}

/// Measures the counts of one repetition: the difference between many and few.
pub(crate) fn counts(row: &Row) -> Counts {
    Counts {
        instructions: difference(row, instructions),
        system_calls: difference(row, calls),
    }
}

fn difference(row: &Row, count: impl Fn(&Row, u32) -> u64) -> f64 {
    let few = row.repeat.0;
    let (many, few, times) = (count(row, 3 * few), count(row, few), 2 * few * row.units);
    // Fewer only by chance: of a cost of 0.
    many.saturating_sub(few) as f64 / f64::from(times)
}

fn calls(row: &Row, repeat: u32) -> u64 {
    let (child, _folder) = child::start(&mut child::command(&[]), row, repeat);
    system_calls::count(child)
}

fn instructions(row: &Row, repeat: u32) -> u64 {
    let launcher = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
    ];
    let output = run(&launcher, row, repeat);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines()
        .find_map(|line| line.split("Collected :").nth(1))
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("callgrind reported no count:\n{text}"))
}

/// Measures nanoseconds of CPU time of one repetition, with a small part of the start.
pub(crate) fn nanoseconds(row: &Row) -> f64 {
    let output = run(&[], row, row.repeat.1);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let nanos = text.lines().last().and_then(|nanos| nanos.parse().ok());
    let nanos: f64 = nanos.expect("the child prints a number last");
    nanos / f64::from(row.repeat.1 * row.units)
}

fn run(launcher: &[&str], row: &Row, repeat: u32) -> std::process::Output {
    let (child, _folder) = child::start(&mut child::command(launcher), row, repeat);
    // Closes standard input first.
    let output = child
        .wait_with_output()
        .expect("the child's output can be read");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
