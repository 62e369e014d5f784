//! Pauses between datagrams, so that a receiver with default buffers loses none.

use std::time::{Duration, Instant};

/// Bytes that always fit the receiver's buffer. Its default size is 208 KiB
/// (`net.core.rmem_default`), which other senders use, too.
const BURST: usize = 100 * 1024;

/// Time in which a receiver that reads steadily takes [`BURST`] bytes out of its buffer.
const TURN: Duration = Duration::from_millis(2);

/// An estimate of the room in a receiver's buffer.
///
/// The kernel drops datagrams that do not fit the receiver's buffer, without an error to the
/// sender. This estimate adds what was sent and subtracts a fixed rate, about one datagram of 500
/// bytes in 35 µs.
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
    /// Most bytes that can be in the buffer.
    held: usize,
    at: Option<Instant>,
}

impl Pace {
    /// Pause after which a datagram that was not admitted is tried again.
    pub const PAUSE: Duration = TURN;

    /// Returns true if a datagram of `length` bytes may be sent at `now`, and counts it as sent.
    pub fn admits(&mut self, length: usize, now: Instant) -> bool {
        if let Some(at) = self.at.replace(now) {
            let turns = now.saturating_duration_since(at).as_secs_f64() / TURN.as_secs_f64();
            self.held = self.held.saturating_sub((turns * BURST as f64) as usize);
        }
        // Including the kernel's bookkeeping: a datagram of 500 bytes took 1,280.
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

    /// Number of datagrams of `length` bytes that may be sent at once.
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
    fn time_makes_room_for_the_largest_datagram() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.admits(64_000, now));
        assert!(!pace.admits(64_000, now + Pace::PAUSE / 2));
        assert!(pace.admits(64_000, now + 2 * Pace::PAUSE));
    }

    #[test]
    fn two_thousand_documents_are_sent_in_a_tenth_of_a_second() {
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
    fn clock_that_stops_or_runs_backwards_makes_no_room() {
        let now = Instant::now() + Pace::PAUSE;
        let mut pace = Pace::default();
        burst(&mut pace, 500, now);
        assert!(!pace.admits(500, now - Pace::PAUSE));
    }
}
