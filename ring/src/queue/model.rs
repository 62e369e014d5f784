//! All interleavings of a writer and a reader in a small ring, with each value that a load may
//! return:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p tracestitch-ring --lib --target-dir target/loom
//! ```
//!
//! Data is relaxed atomics because a hostile process may access it at any time. Between a writer and
//! a reader that keep the rules, all accesses are ordered, and the model fails if they are not
//! (`sync`): loom alone would not find a copy by the reader that moves after its release.

use std::sync::Arc;

use loom::model::Builder;
use loom::thread;

use super::layout::{HEADER, WORD};
use super::receiver::Receiver;
use super::sender::Sender;
use crate::Refused;
use crate::sync::AtomicU64;

type Memory = Arc<[AtomicU64]>;

/// Explores `model` with at most `switches` preemptions (switches away from a thread that could
/// go on). Two threads need few to reach any fault; loom's authors recommend 2 or 3.
fn explore(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

fn ring(words: usize) -> (Memory, Arc<Sender<Memory>>) {
    let memory: Memory = (0..HEADER + words).map(|_| AtomicU64::new(0)).collect();
    (memory.clone(), Arc::new(Sender::new(memory)))
}

fn reader(memory: &Memory) -> Receiver {
    let capacity = (memory.len() - HEADER) * WORD;
    Receiver::new(Box::new(memory.clone()), capacity as u64).unwrap()
}

/// Pushes frames of `length` bytes, all equal to the frame's number. Returns those that fitted.
fn push(writer: &Sender<Memory>, numbers: std::ops::Range<u8>, length: usize) -> Vec<u8> {
    let fits = |number: &u8| match writer.push(&[&vec![*number; length]]) {
        Ok(_) => true,
        Err(refused) => {
            assert_eq!(refused, Refused::Full);
            false
        }
    };
    numbers.filter(fits).collect()
}

/// Reads once and returns the numbers of the frames, which must be whole.
fn read(reader: &mut Receiver, length: usize) -> Vec<u8> {
    let mut numbers = Vec::new();
    reader
        .read(|frame| {
            assert_eq!(frame, vec![frame[0]; length]);
            numbers.push(frame[0]);
        })
        .unwrap();
    numbers
}

fn read_and_release(reader: &mut Receiver, length: usize) -> Vec<u8> {
    let numbers = read(reader, length);
    reader.release().unwrap();
    numbers
}

/// Frames of `length` bytes in a ring of `words` words: published, read, wrapped around the end,
/// restarted at the beginning, and refused.
fn write_and_read(switches: usize, words: usize, length: usize, frames: u8) {
    explore(switches, move || {
        let (memory, writer) = ring(words);
        let mut reader = reader(&memory);
        let writing = thread::spawn(move || push(&writer, 0..frames, length));
        let mut received = Vec::new();
        for _ in 0..2 {
            received.extend(read_and_release(&mut reader, length));
        }
        let accepted = writing.join().unwrap();
        received.extend(read_and_release(&mut reader, length));
        assert_eq!(received, accepted);
    });
}

#[test]
fn frames_arrive_whole_in_order_and_once() {
    write_and_read(3, 4, 8, 4);
}

/// Three words a frame, so that the third is cut at the end of the data.
#[test]
fn frames_that_are_cut_at_the_end_of_the_data_arrive_whole() {
    write_and_read(2, 8, 16, 4);
}

#[test]
fn frames_of_two_threads_arrive_whole_and_once() {
    explore(2, || {
        let (memory, writer) = ring(4);
        let mut reader = reader(&memory);
        let second = writer.clone();
        let threads = [
            thread::spawn(move || push(&writer, 0..2, 8)),
            thread::spawn(move || push(&second, 2..3, 8)),
        ];
        let mut received = read_and_release(&mut reader, 8);
        let mut accepted = threads.map(|thread| thread.join().unwrap()).concat();
        received.extend(read_and_release(&mut reader, 8));
        assert!(received.iter().filter(|number| **number < 2).is_sorted());
        received.sort_unstable();
        accepted.sort_unstable();
        assert_eq!(received, accepted);
    });
}

/// The first reader dies with frames that it read and did not release.
#[test]
fn second_reader_continues_after_what_the_first_released() {
    explore(2, || {
        let (memory, writer) = ring(8);
        let mut first = reader(&memory);
        let writing = thread::spawn(move || push(&writer, 0..4, 8));
        let mut received = read_and_release(&mut first, 8);
        let unreleased = read(&mut first, 8);
        drop(first);
        let mut second = reader(&memory);
        let again = read_and_release(&mut second, 8);
        assert!(again.starts_with(&unreleased));
        received.extend(again);
        let accepted = writing.join().unwrap();
        received.extend(read_and_release(&mut second, 8));
        assert_eq!(received, accepted);
    });
}

/// The writer learns of the reader's death by the end of a socket, here the end of a thread.
#[test]
fn reclaimed_frames_are_those_that_were_not_released() {
    explore(2, || {
        let (memory, writer) = ring(8);
        let second = writer.clone();
        let writing = thread::spawn(move || push(&second, 0..3, 8));
        let mut reading = reader(&memory);
        let reading = thread::spawn(move || {
            let released = read_and_release(&mut reading, 8);
            read(&mut reading, 8);
            released
        });
        let mut received = reading.join().unwrap();
        let reclaimed = writer.reclaim();
        received.extend(reclaimed.iter().map(|frame| frame[0]));
        let accepted = writing.join().unwrap();
        received.extend(read_and_release(&mut reader(&memory), 8));
        assert_eq!(received, accepted);
    });
}
