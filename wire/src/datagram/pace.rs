//! How fast datagrams may follow each other so that a receiver with default buffers gets all.

use std::time::{Duration, Instant};

/// Bytes that a receiver's buffer surely has room for. It has 208 KiB by default
/// (`net.core.rmem_default`), and others send to it, too.
const BURST: usize = 100 * 1024;

/// Time in which a receiver that reads steadily has emptied that.
const TURN: Duration = Duration::from_millis(2);

/// Tells when a datagram may go out.
///
/// Nobody says when a receiver's buffer is full: the kernel drops what does not fit. So the
/// buffer is taken to hold what was sent and to be emptied at a fixed rate, about one datagram
/// of 500 bytes in 35 µs.
///
/// ```
/// use std::time::Instant;
/// use tracestitch_wire::datagram::Pace;
///
/// let mut pace = Pace::default();
/// let now = Instant::now();
/// let sent = (0..1000).take_while(|_| pace.admits(500, now)).count();
/// assert!((50..150).contains(&sent));
/// assert!(pace.admits(500, now + Pace::PAUSE));
/// ```
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes that are in the buffer, at most.
    held: usize,
    at: Option<Instant>,
}

impl Pace {
    /// How long to wait when a datagram was not admitted.
    pub const PAUSE: Duration = TURN;

    /// True when a datagram of `length` bytes may be sent at `now`. It is then taken to be sent.
    pub fn admits(&mut self, length: usize, now: Instant) -> bool {
        if let Some(at) = self.at.replace(now) {
            let turns = now.saturating_duration_since(at).as_secs_f64() / TURN.as_secs_f64();
            self.held = self.held.saturating_sub((turns * BURST as f64) as usize);
        }
        // The kernel's own bookkeeping counts: 500 bytes were seen to take 1,280.
        let room = 2 * length + 768;
        let admitted = self.held == 0 || self.held + room <= BURST;
        if admitted {
            self.held += room;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams of `length` bytes that go out at once.
    fn burst(pace: &mut Pace, length: usize, now: Instant) -> usize {
        (0..10_000).take_while(|_| pace.admits(length, now)).count()
    }

    #[test]
    fn bursts_stay_far_below_a_default_buffer() {
        let now = Instant::now();
        for length in [10, 500, 5_000, 40_000, 64_000] {
            let mut pace = Pace::default();
            let count = burst(&mut pace, length, now);
            assert!(count > 0, "{length} bytes can be sent at all");
            assert!(count * (length + 780) < 150 * 1024, "{length}: {count}");
            assert!(!pace.admits(length, now), "{length}");
        }
    }

    #[test]
    fn time_makes_room_even_for_the_largest() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.admits(64_000, now));
        assert!(!pace.admits(64_000, now + Pace::PAUSE / 2));
        assert!(pace.admits(64_000, now + 2 * Pace::PAUSE));
    }

    #[test]
    fn two_thousand_documents_leave_in_a_tenth_of_a_second() {
        let start = Instant::now();
        let (mut pace, mut now, mut sent) = (Pace::default(), start, 0);
        while sent < 2_000 {
            sent += burst(&mut pace, 529, now);
            now += Pace::PAUSE;
        }
        let took = now - start;
        assert!(took < Duration::from_millis(100), "{took:?}");
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_makes_no_room() {
        let now = Instant::now() + Pace::PAUSE;
        let mut pace = Pace::default();
        burst(&mut pace, 500, now);
        assert!(!pace.admits(500, now - Pace::PAUSE));
    }
}
