//! Entry points of the fuzz targets in `ring/fuzz`, and a test that runs their corpora. Each gives a
//! reader or a writer memory that a hostile process could write, and checks what it does.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::queue::layout::{
    BASE, CAPACITY, COMPLEMENT, CONSUMED, HEADER, MAX_FRAME, PUBLISHED, WORD, footprint,
};
use crate::queue::receiver::Receiver;
use crate::queue::sender::Sender;
use crate::{Error, Reader, Refused};

type Memory = Arc<[AtomicU64]>;

/// The words that another process writes, before the data.
const POSITIONS: [usize; 5] = [
    PUBLISHED,
    BASE,
    CONSUMED,
    CONSUMED + COMPLEMENT,
    PUBLISHED + COMPLEMENT,
];

/// Number of times that memory is changed and read at the same time.
const ROUNDS: usize = 20;

/// Takes the fuzzer's bytes from the front. Zeros follow the last one.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (now, later) = self.0.split_at(self.0.len().min(N));
        self.0 = later;
        let mut bytes = [0; N];
        bytes[..now.len()].copy_from_slice(now);
        bytes
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    /// A word: sometimes any number, more often a small one or one near the largest.
    fn word(&mut self) -> u64 {
        match self.byte() {
            0 => u64::from_ne_bytes(self.bytes()),
            1 => u64::from(u16::from_ne_bytes(self.bytes())).wrapping_neg(),
            2 => u64::from(u16::from_ne_bytes(self.bytes())),
            _ => u64::from(self.byte()) * WORD as u64,
        }
    }

    /// Number of words of a ring of 64 bytes to 1 KiB.
    fn words(&mut self) -> usize {
        8 << (self.byte() % 5)
    }
}

fn memory(words: usize) -> Memory {
    (0..HEADER + words).map(|_| AtomicU64::new(0)).collect()
}

fn capacity(memory: &Memory) -> u64 {
    ((memory.len() - HEADER) * WORD) as u64
}

fn receiver(memory: &Memory) -> Result<Receiver, Error> {
    Receiver::new(Box::new(memory.clone()), capacity(memory))
}

/// Changes one word.
fn scribble(memory: &Memory, input: &mut Input<'_>) {
    let place = usize::from(input.byte());
    let word = POSITIONS.get(place).copied();
    let word = word.unwrap_or_else(|| HEADER + place % (memory.len() - HEADER));
    memory[word].store(input.word(), Relaxed);
}

/// Checks the size of what one call delivers.
#[derive(Default)]
struct Delivered(u64);

impl Delivered {
    fn add(&mut self, frame: &[u8]) {
        assert!((1..=MAX_FRAME).contains(&frame.len()));
        self.0 += footprint(frame.len());
    }

    fn check(self, capacity: u64) {
        assert!(self.0 <= capacity, "more than a ring of bytes");
    }
}

fn check_error(error: &Error) {
    assert!(!error.to_string().contains(char::is_control));
}

/// Reads once and releases what was read. Returns false if the session is over.
fn read(receiver: &mut Receiver, capacity: u64) -> bool {
    let mut delivered = Delivered::default();
    let result = receiver.read(|frame| delivered.add(frame));
    delivered.check(capacity);
    match result.and_then(|_| receiver.release()) {
        Ok(()) => true,
        Err(error) => {
            check_error(&error);
            false
        }
    }
}

/// Memory with any content, which changes between the reads of a reader.
///
/// # Panics
///
/// If a reader delivers more than a ring of bytes.
pub fn content(input: &[u8]) {
    let mut input = Input(input);
    let memory = memory(input.words());
    let mut reader = receiver(&memory).ok();
    while !input.is_empty() {
        match (input.byte() % 4, &mut reader) {
            (0, Some(open)) => {
                if !read(open, capacity(&memory)) {
                    reader = None;
                }
            }
            (0, None) => reader = receiver(&memory).ok(),
            _ => scribble(&memory, &mut input),
        }
    }
}

/// Memory that a thread changes while a reader reads it.
///
/// # Panics
///
/// If a reader delivers more than a ring of bytes.
pub fn changing(input: &[u8]) {
    let mut input = Input(input);
    let memory = memory(input.words());
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let mut input = Input(input.0);
                while !input.is_empty() {
                    scribble(&memory, &mut input);
                }
            }
        });
        let mut reader = None;
        for _ in 0..ROUNDS {
            reader = reader.or_else(|| receiver(&memory).ok());
            if !reader
                .as_mut()
                .is_some_and(|open| read(open, capacity(&memory)))
            {
                reader = None;
            }
        }
    });
}

/// A reader that writes anything, from the view of the writer.
///
/// # Panics
///
/// If the writer reclaims more than a ring of bytes, or is not as new afterwards.
pub fn positions(input: &[u8]) {
    let mut input = Input(input);
    let memory = memory(input.words());
    let writer = Sender::new(memory.clone());
    while !input.is_empty() {
        match input.byte() % 6 {
            0 | 1 => {
                let frame = [7; 255];
                let length = usize::from(input.byte());
                let result = writer.push(&[&frame[..length]]);
                assert_eq!(result == Err(Refused::Empty), length == 0);
            }
            2 => {
                let consumed = input.word();
                memory[CONSUMED].store(consumed, Relaxed);
                memory[CONSUMED + COMPLEMENT].store(!consumed, Relaxed);
            }
            3 => {
                if let Ok(mut reader) = receiver(&memory) {
                    read(&mut reader, capacity(&memory));
                }
            }
            4 => reclaim(&memory, &writer),
            _ => scribble(&memory, &mut input),
        }
    }
    reclaim(&memory, &writer);
}

/// Reclaims all frames, then checks that the ring is empty and takes frames again.
fn reclaim(memory: &Memory, writer: &Sender<Memory>) {
    let mut delivered = Delivered::default();
    writer
        .reclaim()
        .iter()
        .for_each(|frame| delivered.add(frame));
    delivered.check(capacity(memory));
    assert!(writer.push(&[b"first"]).is_ok());
    let mut frames = Vec::new();
    let reader = receiver(memory);
    let read = reader.and_then(|mut reader| {
        reader.read(|frame| frames.push(frame.to_vec()))?;
        reader.release()
    });
    assert!(read.is_ok(), "{read:?}");
    assert_eq!(frames, [b"first"]);
}

/// A file with any content, size and seals, whose size may change while it is read.
///
/// # Panics
///
/// If the system has no memory files, or a reader delivers more than a ring of bytes.
pub fn file(input: &[u8]) {
    let mut input = Input(input);
    let [seals, changes] = input.bytes();
    let [size, later] = [input.word(), input.word()].map(|size| size % (4 * CAPACITY as u64));
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("fuzz", flags).map(File::from);
    let file = file.unwrap_or_else(|error| panic!("no memory file: {error}"));
    // Changes that the system refuses are left out.
    let _ = file.write_all_at(input.0, 0);
    if changes & 1 != 0 {
        let _ = file.set_len(size);
    }
    let seals = SealFlags::from_bits_truncate(u32::from(seals));
    let _ = fcntl_add_seals(&file, seals);
    let Ok(theirs) = file.try_clone() else { return };
    match Reader::open(OwnedFd::from(theirs)) {
        Ok(mut reader) => {
            if changes & 2 != 0 {
                let _ = file.set_len(later);
            }
            let mut delivered = Delivered::default();
            let result = reader.read(|frame| delivered.add(frame));
            delivered.check(CAPACITY as u64);
            if let Err(error) = result.and_then(|_| reader.release()) {
                check_error(&error);
            }
        }
        Err(error) => check_error(&error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Changed inputs of each target: enough to notice a check that has become wrong. The targets
    /// themselves run for any time.
    const CHANGED: usize = 3_000;

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 5, "{folder:?} has {} files", files.len());
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// `input` with a few bytes changed, left out, doubled, or taken from `other`.
    fn change(input: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut changed = input.to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..=changed.len());
            match random.u8(0..5) {
                0 if at < changed.len() => changed[at] ^= 1 << random.u8(0..8),
                1 if at < changed.len() => changed[at] = random.u8(..),
                2 => changed.truncate(at),
                3 => changed.insert(at, random.u8(..)),
                _ if !other.is_empty() => {
                    let from = random.usize(..other.len());
                    let to = random.usize(from..=other.len());
                    changed.splice(at..at, other[from..to].iter().copied());
                }
                _ => {}
            }
        }
        changed
    }

    fn run(target: &str, changed: usize, check: impl Fn(&[u8])) {
        let corpus = corpus(target);
        corpus.iter().for_each(|input| check(input));
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..changed {
            let [input, other] = [0, 1].map(|_| &corpus[random.usize(..corpus.len())]);
            check(&change(input, other, &mut random));
        }
    }

    #[test]
    fn corpus_of_content_is_harmless() {
        run("content", CHANGED, content);
    }

    #[test]
    fn corpus_of_changing_memory_is_harmless() {
        // Each starts a thread, for which a busy machine takes its time.
        run("changing", CHANGED / 20, changing);
    }

    #[test]
    fn corpus_of_positions_is_harmless() {
        run("positions", CHANGED, positions);
    }

    #[test]
    fn corpus_of_files_is_harmless() {
        run("file", CHANGED, file);
    }
}
