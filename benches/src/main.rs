//! The cost of tracing: instructions, system calls and CPU time of a subsegment, an invocation, an
//! AWS SDK call and a message, beside those of other tracers for Rust.
//!
//! ```sh
//! cargo cost                # prints a table
//! cargo cost --check        # fails when a row exceeds its bar; measures no times
//! cargo cost --write        # also writes the table to docs/performance.md
//! cargo cost post-reply     # how long the extension holds an invocation after its reply
//! cargo cost start          # what the extension costs in a cold start
//! ```
//!
//! callgrind counts instructions in user space and system calls. Both are the difference between
//! many and few repetitions, which removes the start of the process, and are repeatable to a few
//! instructions. CPU time is the median of interleaved rounds.
//!
//! Needs valgrind. The measured work runs in this same program, started again as a child whose
//! environment is that of a Lambda function.

#![expect(
    clippy::print_stdout,
    reason = "a command line program that prints a table"
)]

mod measure;
mod peers;
mod post_reply;
mod report;
mod rows;
mod start;
mod work;

use std::env;
use std::process::ExitCode;

use crate::measure::{Counts, Figures};
use crate::rows::{ROWS, Row};

/// Rounds of the time measurement.
const ROUNDS: usize = 31;

fn main() -> ExitCode {
    if let Ok(work) = env::var("BENCH_WORK") {
        work::run(&work);
        return ExitCode::SUCCESS;
    }
    if post_reply::was_bare_extension() {
        return ExitCode::SUCCESS;
    }
    match env::args().nth(1).as_deref() {
        Some("post-reply") => return post_reply::run(),
        Some("start") => return start::run(),
        _ => {}
    }
    let wanted = |flag| env::args().any(|argument| argument == flag);
    if wanted("--check") {
        return check();
    }
    let figures = measured(&ROWS.iter().collect::<Vec<_>>(), ROUNDS);
    print!("{}", report::terminal(&figures));
    if wanted("--write")
        && let Err(error) = report::write(&figures)
    {
        println!("{}: {error}", report::DOCUMENT);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures the rows with a bar and the rows that they are compared with.
fn check() -> ExitCode {
    let bases = |row: &Row| [row.over, row.most.map(|(name, _)| name)];
    let mut rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_checked()).collect();
    while let Some(base) = rows
        .iter()
        .flat_map(|row| bases(row))
        .flatten()
        .find(|name| rows.iter().all(|row| row.name != *name))
    {
        rows.insert(0, rows::named(base));
    }
    let figures = measured(&rows, 0);
    print!("{}", report::terminal(&figures));
    match figures.iter().any(Figures::is_over) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Returns the figures of each row, without those of the row that it is compared with.
fn measured(rows: &[&'static Row], rounds: usize) -> Vec<Figures> {
    let counts: Vec<Counts> = rows.iter().map(|row| measure::counts(row)).collect();
    let round = |_| -> Vec<f64> { rows.iter().map(|row| measure::nanoseconds(row)).collect() };
    let times: Vec<Vec<f64>> = (0..rounds).map(round).collect();
    let place = |name| rows.iter().position(|row| row.name == name);
    let added = |index: usize, row: &'static Row| {
        let base = row.over.and_then(place);
        // Of the same round: a busy moment of the machine affects both.
        let times = times
            .iter()
            .map(|round| round[index] - base.map_or(0.0, |base| round[base]));
        Figures {
            row,
            counts: counts[index].without(base.map(|base| counts[base])),
            nanoseconds: median(times),
            most: None,
        }
    };
    let mut figures: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| added(index, row))
        .collect();
    for index in 0..figures.len() {
        let most = figures[index].row.most;
        figures[index].most = most.and_then(|(name, factor)| {
            let other = figures.iter().find(|figures| figures.row.name == name)?;
            Some(other.counts.instructions * factor)
        });
    }
    figures
}

/// Returns the median; `None` of nothing.
fn median(times: impl Iterator<Item = f64>) -> Option<f64> {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}
