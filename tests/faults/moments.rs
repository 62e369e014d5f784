//! Moments at which the test strikes: so long after a step that somebody has written down.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use e2e::journal::{Entry, Journal, Verb};
use fastrand::Rng;

/// How often to look whether the moment has come.
const LOOK: Duration = Duration::from_micros(30);

/// Longest time after a step.
const AFTER: Duration = Duration::from_micros(400);

/// Pause of the function after each step, in every other run: so the strike meets each of them.
/// In the others the function works as fast as it can, and the strike may meet anything.
pub(crate) const PACE_MICROS: &str = "250";

/// Lines that the test writes before it starts the processes.
const BEFORE: usize = 3;

/// The same before the first step: the start of the processes and their init phase.
const INIT: Duration = Duration::from_millis(25);

/// For how many lines the init phase counts, which has none.
const INIT_LINES: usize = 10;

/// True for the long versions.
pub(crate) fn full() -> bool {
    std::env::var_os("FAULTS").is_some_and(|value| value == "full")
}

/// How often to strike.
pub(crate) fn times(short: u64, full_length: u64) -> u64 {
    if full() { full_length } else { short }
}

/// The seed of all moments: `FAULTS_SEED`, else a new one for each run of the suite.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let seed = match std::env::var("FAULTS_SEED") {
            Ok(text) => text.parse().expect("FAULTS_SEED is a number"),
            Err(_) => fastrand::u64(..1_000_000),
        };
        tell("FAULTS_SEED", seed);
        seed
    })
}

/// So long after that many lines have been written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    lines: usize,
    after: Duration,
}

impl Moment {
    /// One of a run that writes `lines` lines. Each line is as likely as any other.
    pub(crate) fn random(random: &mut Rng, lines: usize) -> Self {
        let line = random
            .usize(..lines + INIT_LINES)
            .saturating_sub(INIT_LINES);
        let (lines, span) = match line {
            ..=BEFORE => (BEFORE, INIT),
            line => (line, AFTER),
        };
        let after = Duration::from_nanos(random.u64(..span.as_nanos() as u64));
        Self { lines, after }
    }

    /// Waits for it, or until `over`. True when it came.
    fn wait(self, journal: &Path, over: &AtomicBool) -> bool {
        loop {
            let text = std::fs::read(journal).unwrap_or_default();
            if text.iter().filter(|byte| **byte == b'\n').count() >= self.lines {
                break;
            }
            if over.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        let came = Instant::now();
        while came.elapsed() < self.after {
            std::hint::spin_loop();
        }
        true
    }
}

/// The generator of the run with this number.
pub(crate) fn random(number: u64) -> Rng {
    Rng::with_seed(seed().wrapping_mul(1_000_003).wrapping_add(number))
}

/// Strikes at a moment, on a thread of its own.
pub(crate) struct Striker {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Striker {
    pub(crate) fn new(
        moment: Moment,
        journal: &Journal,
        strike: impl FnOnce() + Send + 'static,
    ) -> Self {
        let over = Arc::<AtomicBool>::default();
        let (path, pen) = (journal.path().to_owned(), journal.pen());
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            if moment.wait(&path, &ended) {
                pen.note(Verb::Struck, 0, "", "");
                strike();
            }
        });
        Self { over, thread }
    }

    /// Waits for the strike, or gives it up where its moment cannot come any more.
    pub(crate) async fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        tokio::task::spawn_blocking(|| self.thread.join())
            .await
            .unwrap()
            .unwrap();
    }
}

/// Where in their work processes were struck, and how often.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<&'static str, usize>);

impl Table {
    /// Counts the strike that `entries` show.
    pub(crate) fn count(&mut self, entries: &[Entry]) {
        let struck = entries.iter().position(|entry| entry.verb == Verb::Struck);
        let phase = struck.map_or("never", |struck| phase(&entries[..struck]));
        *self.0.entry(phase).or_default() += 1;
    }
}

/// What a process was doing after these entries.
fn phase(before: &[Entry]) -> &'static str {
    let Some(last) = before.last() else {
        return "before all";
    };
    match (last.verb, last.name.as_str()) {
        (Verb::Settled, _) => "between invocations",
        (Verb::Absent, "start") => "init phase",
        (Verb::Begin, "victim") if last.invocation == 1 => "start of the process",
        (Verb::Begin, "victim") => "on the way to the handler",
        (_, "victim") if last.verb == Verb::Finish => "reply",
        (_, "victim") if last.verb == Verb::Finished => "after the reply",
        (_, "victim" | "init" | "settings") => "begin of the handler",
        (Verb::Begin, "DynamoDB") => "AWS call",
        (Verb::Begin, _) => "begin of a subsegment",
        (Verb::Begun, _) => "in a subsegment",
        (Verb::Finish, _) => "end of a subsegment",
        _ => "between subsegments",
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self
            .0
            .iter()
            .map(|(phase, count)| format!("{count} {phase}"));
        f.write_str(&rows.collect::<Vec<_>>().join(", "))
    }
}

/// Says something to whoever runs the suite, also when the test passes.
pub(crate) fn tell(what: &str, text: impl fmt::Display) {
    use std::io::Write;
    // A closed standard error is no concern of the test.
    let _ = writeln!(std::io::stderr(), "{what}: {text}");
}
