//! Repeated runs of a test at random moments, all from one seed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Instant;

use e2e::journal::{Entry, Verb};
use fastrand::Rng;

use crate::victim::Victim;

/// Returns `full` if `FAULTS=full`, else `short`.
pub(crate) fn times(short: u64, full: u64) -> u64 {
    let wanted = std::env::var_os("FAULTS");
    if wanted.is_some_and(|value| value == "full") {
        full
    } else {
        short
    }
}

/// Returns the seed of all moments: `FAULTS_SEED`, or a random number.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let seed = match std::env::var("FAULTS_SEED") {
            Ok(text) => text.parse().expect("FAULTS_SEED is a number"),
            Err(_) => fastrand::u64(..1_000_000),
        };
        report("FAULTS_SEED", seed);
        seed
    })
}

/// Prints a line, also when the test passes.
pub(crate) fn report(what: &str, text: impl fmt::Display) {
    use std::io::Write;
    // A closed standard error does not matter.
    let _ = writeln!(std::io::stderr(), "{what}: {text}");
}

/// The runs of one test.
#[derive(Debug)]
pub(crate) struct Rounds {
    what: &'static str,
    count: u64,
    /// Number of processes struck in each phase of their work.
    phases: BTreeMap<&'static str, usize>,
    began: Instant,
}

impl Rounds {
    /// Creates the runs: `short` of them, or `full` if `FAULTS=full`.
    pub(crate) fn new(what: &'static str, short: u64, full: u64) -> Self {
        Self {
            what,
            count: times(short, full),
            phases: BTreeMap::new(),
            began: Instant::now(),
        }
    }

    pub(crate) fn numbers(&self) -> Range<u64> {
        0..self.count
    }

    /// Returns the random numbers of one run.
    pub(crate) fn random(&self, number: u64) -> Rng {
        let name = self.what.bytes();
        let test = name.fold(seed(), |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        Rng::with_seed(test.wrapping_mul(1_000_003).wrapping_add(number))
    }

    /// Returns the name of a run, for messages of failures.
    pub(crate) fn name(&self, number: u64) -> String {
        format!("FAULTS_SEED={}, {}, run {number}", seed(), self.what)
    }

    /// Ends a run and checks its documents; see [`Victim::end`].
    pub(crate) async fn judge(&mut self, number: u64, victim: &Victim, why: &str) {
        victim.shutdown().await;
        self.struck(victim);
        if let Err(problems) = victim.documents(why).await {
            panic!("{}\n{problems}", self.name(number));
        }
    }

    /// Counts the phase of the work in which it was struck.
    pub(crate) fn struck(&mut self, victim: &Victim) {
        let entries = victim.journal.entries();
        let struck = entries.iter().position(|entry| entry.verb == Verb::Struck);
        if let Some(struck) = struck {
            *self.phases.entry(phase(&entries[..struck])).or_default() += 1;
        }
    }

    /// Prints the number of runs and phases.
    pub(crate) fn report(self, more: impl fmt::Display) {
        let phases = self.phases.iter();
        let phases: Vec<_> = phases
            .map(|(phase, count)| format!("{count} {phase}"))
            .collect();
        let (count, took) = (self.count, self.began.elapsed());
        let phases = phases.join(", ");
        report(
            self.what,
            format_args!("{count} times in {took:?}; {more}{phases}"),
        );
    }
}

/// Returns the phase of the work after these entries.
fn phase(before: &[Entry]) -> &'static str {
    let Some(last) = before.last() else {
        return "before everything";
    };
    match (last.verb, last.name.as_str()) {
        (Verb::Settled, _) => "between invocations",
        (Verb::Absent, "start") => "init phase",
        (Verb::Begin, "victim") if last.invocation == 1 => "start of the process",
        (Verb::Begin, "victim") => "on the way to the handler",
        (_, "victim") if last.verb == Verb::Finish => "reply",
        (_, "victim") if last.verb == Verb::Finished => "after the reply",
        (_, "victim" | "init" | "settings") => "begin of the handler",
        (Verb::Begin | Verb::Fact | Verb::Kept, "DynamoDB") => "AWS call",
        (Verb::Begin, _) => "begin of a subsegment",
        (Verb::Begun | Verb::Fact, _) => "in a subsegment",
        (Verb::Finish, _) => "end of a subsegment",
        _ => "between subsegments",
    }
}
