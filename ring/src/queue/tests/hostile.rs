//! Memory and positions that the other process must not write, but may.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread;

use super::super::layout::{BASE, COMPLEMENT, CONSUMED, HEADER, MAX_FRAME, PUBLISHED, footprint};
use super::super::receiver::Receiver;
use super::{frames, read, reader, ring};
use crate::Refused;

/// Changes one word of a ring with two frames of 8 bytes, of which the first has been read.
fn changed(word: usize, value: u64) -> Receiver {
    let (memory, writer) = ring(64);
    let mut reader = reader(&memory).unwrap();
    assert!(writer.push(&[&[1; 8]]).is_ok());
    assert_eq!(frames(&mut reader).len(), 1);
    assert!(writer.push(&[&[2; 8]]).is_ok());
    memory[word].store(value, SeqCst);
    reader
}

#[test]
fn invalid_memory_is_an_error() {
    for (word, value, reason) in [
        (PUBLISHED, 0, "published went back before what was read"),
        (PUBLISHED, 8, "published went back into what was read"),
        (PUBLISHED, 24, "published is inside the frame"),
        (PUBLISHED, 31, "published is not at a word"),
        (PUBLISHED, 72, "more than the ring holds is published"),
        (PUBLISHED, u64::MAX, "published is the largest number"),
        (PUBLISHED, 48, "published follows memory that nothing wrote"),
        (BASE, 4, "the base is not at a word"),
        (BASE, u64::MAX, "the base is the largest number"),
        (HEADER + 2, 0, "the length is zero"),
        (HEADER + 2, 9, "the frame ends after published"),
        (HEADER + 2, MAX_FRAME as u64 + 1, "the length is too long"),
        (HEADER + 2, u64::MAX, "the length is enormous"),
        (HEADER + 2, 1 << 32, "the length has only high bits"),
    ] {
        let (delivered, error) = read(&mut changed(word, value));
        assert!(error.is_some(), "{reason}");
        // Where the second frame itself is valid, it may be delivered before the invalid place.
        assert!(delivered.len() <= 1, "{reason}");
    }
}

#[test]
fn reader_takes_over_only_valid_positions() {
    for (published, consumed, valid) in [
        (32, 0, true),
        (32, 16, true),
        (32, 32, true),
        (32, 40, false),
        (32, 1, false),
        (32, u64::MAX - 7, true),
        (32, u64::MAX - 31, true),
        (32, u64::MAX - 39, false),
        (0, 8, false),
    ] {
        let (memory, _writer) = ring(64);
        memory[PUBLISHED].store(published, SeqCst);
        memory[CONSUMED].store(consumed, SeqCst);
        assert_eq!(
            reader(&memory).is_ok(),
            valid,
            "published {published}, consumed {consumed}"
        );
    }
}

#[test]
fn frames_that_another_reader_released_cannot_be_released() {
    let (memory, writer) = ring(64);
    let [mut first, mut second] = [(); 2].map(|()| reader(&memory).unwrap());
    assert!(writer.push(&[b"frame"]).is_ok());
    assert_eq!(frames(&mut first), frames(&mut second));
    first.release().unwrap();
    assert!(second.release().is_err());
}

#[test]
fn frames_that_were_reclaimed_cannot_be_released() {
    let (memory, writer) = ring(64);
    let mut reader = reader(&memory).unwrap();
    assert!(writer.push(&[b"frame"]).is_ok());
    assert_eq!(frames(&mut reader), [b"frame"]);
    assert_eq!(writer.reclaim(), [b"frame"]);
    assert!(reader.release().is_err());
}

#[test]
fn writer_refuses_frames_after_an_invalid_position_of_the_reader() {
    for (position, reason) in [
        (40, "it is after the published position"),
        (12, "it is not at a word"),
        (8, "it is before the one that the reader wrote last"),
        (u64::MAX, "it is the largest number"),
    ] {
        let (memory, writer) = ring(64);
        let mut reader = reader(&memory).unwrap();
        assert!(writer.push(&[&[1; 8]]).is_ok());
        frames(&mut reader);
        reader.release().unwrap();
        assert!(writer.push(&[&[2; 8]]).is_ok());
        memory[CONSUMED].store(position, SeqCst);
        memory[CONSUMED + COMPLEMENT].store(!position, SeqCst);
        for _ in 0..2 {
            assert_eq!(
                writer.push(&[&[3; 8]]),
                Err(Refused::InvalidReader),
                "{reason}"
            );
        }
        assert_eq!(writer.reclaim(), [[2; 8]], "{reason}");
        assert!(writer.push(&[&[4; 8]]).is_ok(), "{reason}");
        assert_eq!(
            frames(&mut self::reader(&memory).unwrap()),
            [[4; 8]],
            "{reason}"
        );
    }
}

#[test]
fn position_without_its_complement_does_not_count_yet() {
    let (memory, writer) = ring(64);
    assert!(writer.push(&[&[1; 48]]).is_ok());
    memory[CONSUMED].store(56, SeqCst);
    assert_eq!(writer.push(&[&[2; 8]]), Err(Refused::Full));
    memory[CONSUMED + COMPLEMENT].store(!56, SeqCst);
    assert!(writer.push(&[&[2; 8]]).is_ok());
}

#[test]
fn reclaim_returns_the_frames_before_a_change() {
    let (memory, writer) = ring(64);
    for number in 1..4 {
        assert!(writer.push(&[&[number; 8]]).is_ok());
    }
    memory[HEADER + 4].store(0, SeqCst);
    assert_eq!(writer.reclaim(), [[1; 8], [2; 8]]);
    assert_eq!(writer.reclaim(), [[]; 0]);
}

/// A process that writes anything anywhere, at any time.
#[test]
fn memory_that_changes_while_it_is_read_is_harmless() {
    const CAPACITY: usize = 256;
    let writes = if cfg!(miri) { 500 } else { 1_000_000 };
    let (memory, _writer) = ring(CAPACITY);
    thread::scope(|scope| {
        let scribbler = scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..writes {
                let word = if random.bool() {
                    [PUBLISHED, BASE, CONSUMED][random.usize(..3)]
                } else {
                    random.usize(HEADER..memory.len())
                };
                memory[word].store(random.u64(..=CAPACITY as u64) & !7, Relaxed);
            }
        });
        while !scribbler.is_finished() {
            let Ok(mut reader) = reader(&memory) else {
                continue;
            };
            loop {
                let (delivered, error) = read(&mut reader);
                let sizes = delivered.iter().map(|frame| footprint(frame.len()));
                assert!(sizes.sum::<u64>() <= CAPACITY as u64);
                if error.is_some() || delivered.is_empty() || reader.release().is_err() {
                    break;
                }
            }
        }
    });
}
