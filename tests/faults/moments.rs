//! Moments at which the test strikes: so long after a step that somebody has written down.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::journal::{Journal, Verb};
use fastrand::Rng;

/// How often to look whether the moment has come.
const LOOK: Duration = Duration::from_micros(30);

/// Pause of the function after each step, in every other run: so the strike meets each of them.
/// In the others the function works as fast as it can, and the strike may meet anything.
pub(crate) const PACE_MICROS: &str = "250";

/// Longest time after a step.
const AFTER: Duration = Duration::from_micros(400);

/// The same before the first step: the start of the processes and their init phase.
const INIT: Duration = Duration::from_millis(25);

/// For how many lines that time counts.
const INIT_LINES: usize = 10;

/// Lines that the test writes before it starts the processes.
const BEFORE: usize = 3;

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
