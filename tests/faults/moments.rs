//! Moments at which a test strikes: a certain time after a step in the journal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::journal::{Journal, Verb};
use fastrand::Rng;

/// Interval at which the journal is checked.
const LOOK: Duration = Duration::from_micros(30);

/// Pause of the function after each step in every other run, so that a strike can hit each step. In
/// the other runs the function works as fast as it can, and the strike may hit anything.
pub(crate) const PACE_MICROS: &str = "250";

/// Longest time from a step to the strike.
const AFTER: Duration = Duration::from_micros(400);

/// Longest time from the test's own first lines to the strike: the processes start and initialise.
const INIT: Duration = Duration::from_millis(25);

/// Number of lines with which that time is weighted.
const INIT_LINES: usize = 10;

/// Number of lines that the test writes before it starts the processes.
const BEFORE: usize = 3;

/// A time after the journal has a number of lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    lines: usize,
    after: Duration,
}

impl Moment {
    /// Returns a random moment of a run that writes `lines` lines; all lines are equally likely.
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

    /// Waits for the moment, or until `over`. Returns whether it came.
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

/// A thread that strikes at a moment.
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

    /// Waits for the strike, or cancels it if its moment has not come.
    pub(crate) async fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        tokio::task::spawn_blocking(|| self.thread.join())
            .await
            .unwrap()
            .unwrap();
    }
}
