//! The queue over memory of the heap. Miri runs these tests, too.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

mod hostile;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use proptest::prelude::*;

use super::layout::{HEADER, MAX_FRAME, PUBLISHED, WORD, footprint};
use super::receiver::Receiver;
use super::sender::Sender;
use crate::{Error, Pushed, Refused};

type Memory = Arc<[AtomicU64]>;

fn ring(capacity: usize) -> (Memory, Sender<Memory>) {
    let words = HEADER + capacity / WORD;
    let memory: Memory = (0..words).map(|_| AtomicU64::new(0)).collect();
    (memory.clone(), Sender::new(memory))
}

fn reader(memory: &Memory) -> Result<Receiver, Error> {
    let capacity = (memory.len() - HEADER) * WORD;
    Receiver::new(Box::new(memory.clone()), capacity as u64)
}

/// Reads once. Returns the frames, and the error if there was one.
fn read(reader: &mut Receiver) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut frames = Vec::new();
    let result = reader.read(|frame| frames.push(frame.to_vec()));
    if let Ok(count) = result {
        assert_eq!(count, frames.len());
    }
    (frames, result.err())
}

fn frames(reader: &mut Receiver) -> Vec<Vec<u8>> {
    let (frames, error) = read(reader);
    assert!(error.is_none(), "{error:?}");
    frames
}

/// A frame whose bytes depend on its number.
fn frame(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (number * 31 + at) as u8).collect()
}

#[derive(Debug, Clone)]
enum Step {
    /// Pushes a frame of this length, cut into parts at these places.
    Push(usize, [usize; 2]),
    Read,
    Release,
    /// The reader dies, and another one takes over.
    Replace,
    /// The reader dies, the writer takes its frames back, and another one takes over.
    Reclaim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = |length| (length, any::<[usize; 2]>()).prop_map(|(n, cuts)| Step::Push(n, cuts));
    let step = prop_oneof![
        6 => push(1..40_usize),
        2 => push(40..300_usize),
        3 => Just(Step::Read),
        2 => Just(Step::Release),
        1 => Just(Step::Replace),
        1 => Just(Step::Reclaim),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 30 } else { 200 })
}

/// A plain queue with the same rules.
#[derive(Default)]
struct Model {
    queue: VecDeque<Vec<u8>>,
    /// How many frames at its front the reader has read.
    read: usize,
    released: u64,
    asked_at: Option<u64>,
}

impl Model {
    fn used(&self) -> u64 {
        let frames = self.queue.iter();
        frames.map(|frame| footprint(frame.len())).sum()
    }

    fn push(&mut self, frame: Vec<u8>, capacity: u64) -> Result<Pushed, Refused> {
        if self.used() + footprint(frame.len()) > capacity {
            return Err(Refused::Full);
        }
        self.queue.push_back(frame);
        let half_full = self.used() * 2 >= capacity && self.asked_at != Some(self.released);
        if half_full {
            self.asked_at = Some(self.released);
        }
        Ok(Pushed { half_full })
    }

    fn read(&mut self) -> Vec<Vec<u8>> {
        let unread = self.queue.range(self.read..).cloned().collect();
        self.read = self.queue.len();
        unread
    }

    fn release(&mut self) -> Vec<Vec<u8>> {
        let released: Vec<_> = self.queue.drain(..self.read).collect();
        self.read = 0;
        let sizes = released.iter().map(|frame| footprint(frame.len()));
        self.released += sizes.sum::<u64>();
        released
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn ring_behaves_like_a_queue(exponent in 6_u32..11, steps in steps()) {
        let capacity = 1 << exponent;
        let (memory, writer) = ring(capacity);
        let mut reader = reader(&memory).unwrap();
        let mut model = Model::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(length, cuts) => {
                    let frame = frame(number, length);
                    let was_empty = model.queue.is_empty();
                    let mut cuts = cuts.map(|cut| cut % (length + 1));
                    cuts.sort_unstable();
                    let parts = [&frame[..cuts[0]], &frame[cuts[0]..cuts[1]], &frame[cuts[1]..]];
                    let pushed = writer.push(&parts);
                    prop_assert_eq!(pushed, model.push(frame, capacity as u64));
                    if was_empty && pushed.is_ok() {
                        // It begins at the first word of the data.
                        prop_assert_eq!(memory[HEADER].load(SeqCst), length as u64);
                    }
                }
                Step::Read => prop_assert_eq!(frames(&mut reader), model.read()),
                Step::Release => {
                    reader.release().unwrap();
                    model.release();
                }
                Step::Replace => {
                    reader = self::reader(&memory).unwrap();
                    model.read = 0;
                }
                Step::Reclaim => {
                    let reclaimed = writer.reclaim();
                    reader = self::reader(&memory).unwrap();
                    model.read();
                    prop_assert_eq!(reclaimed, model.release());
                    model.asked_at = None;
                }
            }
        }
        prop_assert_eq!(frames(&mut reader), model.read());
    }
}

#[test]
fn frame_of_any_length_arrives_whole() {
    // Miri would need minutes for the longest.
    let longest = if cfg!(miri) { 500 } else { MAX_FRAME };
    let (memory, writer) = ring((4 * longest).next_power_of_two());
    let mut reader = reader(&memory).unwrap();
    let lengths = [1, 7, 8, 9, longest - 1, longest];
    for (number, length) in lengths.iter().enumerate() {
        let frame = frame(number, *length);
        assert!(writer.push(&[&frame]).is_ok());
        assert_eq!(frames(&mut reader), [frame]);
    }
}

#[test]
fn frame_of_invalid_length_is_refused() {
    let (memory, writer) = ring(64);
    for (parts, refused) in [
        (&[][..], Refused::Empty),
        (&[&[][..], &[]], Refused::Empty),
        (&[&[0; MAX_FRAME], &[0]], Refused::TooLong),
    ] {
        assert_eq!(writer.push(parts), Err(refused));
    }
    assert_eq!(memory[PUBLISHED].load(SeqCst), 0);
}

#[test]
fn frame_larger_than_the_ring_does_not_fit() {
    let (_memory, writer) = ring(64);
    assert_eq!(writer.push(&[&[1; 57]]), Err(Refused::Full));
    assert!(writer.push(&[&[1; 56]]).is_ok());
}

#[test]
fn reader_is_woken_again_after_each_release() {
    let (memory, writer) = ring(1024);
    let mut reader = reader(&memory).unwrap();
    for _ in 0..10 {
        let mut asked = 0;
        while let Ok(pushed) = writer.push(&[&[0; 56]]) {
            asked += usize::from(pushed.half_full);
        }
        assert_eq!(asked, 1);
        frames(&mut reader);
        reader.release().unwrap();
    }
}

/// Frames of several threads, each numbered by its thread. Some are refused when the ring is full.
#[test]
fn accepted_frames_of_each_thread_arrive_in_order() {
    const THREADS: u8 = 3;
    let count: usize = if cfg!(miri) { 20 } else { 3_000 };
    let (memory, writer) = ring(1024);
    let mut reader = reader(&memory).unwrap();
    let mut received = [const { Vec::new() }; THREADS as usize];
    let mut receive = || {
        let read = reader.read(|frame| {
            let (thread, rest) = frame.split_first().unwrap();
            let (number, fill) = rest.split_first_chunk().unwrap();
            let number = usize::from_ne_bytes(*number);
            assert_eq!(fill, vec![*thread; number % 90]);
            received[usize::from(*thread)].push(number);
        });
        read.unwrap();
        reader.release().unwrap();
    };
    let accepted = thread::scope(|scope| {
        let writer = &writer;
        let threads = (0..THREADS).map(|thread| {
            scope.spawn(move || {
                let accepted = |number: &usize| {
                    let fill = vec![thread; number % 90];
                    let pushed = writer.push(&[&[thread], &number.to_ne_bytes(), &fill]);
                    if pushed.is_err() {
                        thread::yield_now();
                    }
                    pushed.is_ok()
                };
                (0..count).filter(accepted).collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            receive();
        }
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    receive();
    assert_eq!(accepted, received);
}

#[test]
fn step_ends_after_the_frame_that_completes_it() {
    let (memory, writer) = ring(1024);
    let mut reader = reader(&memory).unwrap();
    // Each takes 24 bytes.
    for number in 0..7 {
        assert!(writer.push(&[&frame(number, 16)]).is_ok());
    }
    let mut frames = Vec::new();
    for (bytes, read) in [(0, 0), (1, 24), (24, 24), (25, 48), (100, 72), (100, 0)] {
        let result = reader.read_some(bytes, |frame| frames.push(frame.to_vec()));
        assert_eq!(result.unwrap(), read, "of {bytes}");
        reader.release().unwrap();
    }
    assert_eq!(frames, (0..7).map(|n| frame(n, 16)).collect::<Vec<_>>());
}
