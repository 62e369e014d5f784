//! Real memory files, in one process.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use tracestitch_ring::{CAPACITY, Error, MIN_CAPACITY, Reader, Refused, Writer};

/// Bytes before the data.
const HEADER: u64 = 4096;

fn file(writer: &Writer) -> OwnedFd {
    writer.as_fd().try_clone_to_owned().unwrap()
}

fn open(writer: &Writer) -> Reader {
    Reader::open(file(writer)).unwrap()
}

fn unlinked(capacity: usize) -> Writer {
    Writer::unlinked(capacity, tempfile::tempdir().unwrap().path()).unwrap()
}

/// A ring of each kind.
fn both(capacity: usize) -> [Writer; 2] {
    [Writer::sealed(capacity).unwrap(), unlinked(capacity)]
}

fn read(reader: &mut Reader) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    reader.read(|frame| frames.push(frame.to_vec())).unwrap();
    frames
}

#[test]
fn frames_arrive_in_either_kind_of_memory() {
    for writer in both(MIN_CAPACITY) {
        let mut reader = open(&writer);
        // Some are cut at the end of the data.
        for number in 0..100_usize {
            let frames = [vec![1; number + 900], vec![2; 7], vec![3; number + 1]];
            for frame in &frames {
                let (head, tail) = frame.split_at(number.min(frame.len()));
                assert!(writer.push(&[head, tail]).is_ok());
            }
            assert_eq!(read(&mut reader), frames);
            if number % 2 == 1 {
                reader.release().unwrap();
            }
        }
    }
}

#[test]
fn frames_survive_their_writer() {
    for writer in both(MIN_CAPACITY) {
        let mut reader = open(&writer);
        assert!(writer.push(&[b"last words"]).is_ok());
        drop(writer);
        assert_eq!(read(&mut reader), [b"last words"]);
        reader.release().unwrap();
    }
}

#[test]
fn next_reader_or_the_writer_gets_what_a_reader_did_not_release() {
    for writer in both(MIN_CAPACITY) {
        let mut first = open(&writer);
        assert!(writer.push(&[b"sent"]).is_ok());
        assert_eq!(read(&mut first), [b"sent"]);
        first.release().unwrap();
        assert!(writer.push(&[b"kept"]).is_ok());
        assert_eq!(read(&mut first), [b"kept"]);
        drop(first);
        let mut second = open(&writer);
        assert_eq!(read(&mut second), [b"kept"]);
        drop(second);
        assert!(writer.push(&[b"unread"]).is_ok());
        assert_eq!(writer.reclaim(), [&b"kept"[..], b"unread"]);
        assert!(read(&mut open(&writer)).is_empty());
    }
}

#[test]
fn full_ring_refuses_frames_until_space_is_released() {
    for writer in both(MIN_CAPACITY) {
        let mut reader = open(&writer);
        let frame = [7; 1000];
        let pushed = || (0..5).map_while(|_| writer.push(&[&frame]).ok()).count();
        assert_eq!(pushed(), 4);
        assert_eq!(writer.push(&[&frame]), Err(Refused::Full));
        assert_eq!(read(&mut reader).len(), 4);
        assert_eq!(writer.push(&[&frame]), Err(Refused::Full));
        reader.release().unwrap();
        assert_eq!(pushed(), 4);
    }
}

#[test]
fn only_memory_of_sealed_size_is_mapped() {
    let [sealed, unsealed] = both(MIN_CAPACITY);
    assert!(sealed.is_sealed() && open(&sealed).is_mapped());
    assert!(!unsealed.is_sealed() && !open(&unsealed).is_mapped());
    for seals in [SealFlags::empty(), SealFlags::SHRINK, SealFlags::GROW] {
        let copy = copy_of(&sealed);
        fcntl_add_seals(&copy, seals).unwrap();
        assert!(!Reader::open(copy.into()).unwrap().is_mapped(), "{seals:?}");
    }
}

/// A memory file without seals, and the content of a ring.
fn copy_of(writer: &Writer) -> File {
    let copy = memfd_create("copy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let mut content = vec![0; HEADER as usize + MIN_CAPACITY];
    let file = File::from(file(writer));
    file.read_exact_at(&mut content, 0).unwrap();
    let copy = File::from(copy);
    copy.write_all_at(&content, 0).unwrap();
    copy
}

#[test]
fn size_of_sealed_memory_cannot_change() {
    let writer = Writer::sealed(MIN_CAPACITY).unwrap();
    let file = File::from(file(&writer));
    for size in [0, HEADER, HEADER + MIN_CAPACITY as u64 + 1] {
        let error = file.set_len(size).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::PERM));
    }
    let error = fcntl_add_seals(&file, SealFlags::WRITE).unwrap_err();
    assert_eq!(error, Errno::PERM, "no seal can be added");
}

#[test]
fn executed_programs_do_not_inherit_the_memory() {
    for writer in both(MIN_CAPACITY) {
        assert!(fcntl_getfd(&writer).unwrap().contains(FdFlags::CLOEXEC));
    }
}

#[test]
fn unlinked_file_has_no_name_and_all_its_space() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::unlinked(CAPACITY, folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let metadata = File::from(file(&writer)).metadata().unwrap();
    assert_eq!(metadata.nlink(), 0);
    assert!(metadata.blocks() * 512 >= CAPACITY as u64);
    assert_eq!(metadata.mode() & 0o777, 0o600);
}

#[test]
fn unlinked_file_in_no_folder_is_an_error() {
    assert!(Writer::unlinked(CAPACITY, Path::new("/nonexistent")).is_err());
}

#[test]
fn capacity_is_a_power_of_two_within_limits() {
    for capacity in [
        0,
        1,
        MIN_CAPACITY - 1,
        MIN_CAPACITY / 2,
        3 * MIN_CAPACITY,
        2 * CAPACITY,
    ] {
        assert!(Writer::sealed(capacity).is_err(), "{capacity}");
    }
}

#[test]
fn file_that_is_truncated_is_an_error_and_no_signal() {
    for size in [0, 64, HEADER, HEADER + 512] {
        let writer = unlinked(MIN_CAPACITY);
        let mut reader = open(&writer);
        assert!(writer.push(&[&[1; 1000]]).is_ok());
        File::from(file(&writer)).set_len(size).unwrap();
        assert!(
            matches!(reader.read(|_| ()), Err(Error::System(_))),
            "{size}"
        );
    }
}

/// Files that are not a ring, or have another version or size.
#[test]
fn invalid_files_are_not_opened() {
    let writer = Writer::sealed(MIN_CAPACITY).unwrap();
    let changed = |at, value: u64| {
        let copy = copy_of(&writer);
        copy.write_all_at(&value.to_ne_bytes(), at).unwrap();
        OwnedFd::from(copy)
    };
    let resized = |size| {
        let copy = copy_of(&writer);
        copy.set_len(size).unwrap();
        OwnedFd::from(copy)
    };
    let size = HEADER + MIN_CAPACITY as u64;
    let (socket, _peer) = UnixStream::pair().unwrap();
    let (pipe, _other) = std::io::pipe().unwrap();
    for (file, reason) in [
        (changed(0, 7), "the magic number is another"),
        (changed(8, 2), "the version is another"),
        (changed(16, 0), "no capacity"),
        (changed(16, 3 * 4096), "the capacity is no power of two"),
        (changed(16, 8192), "the capacity is larger than the file"),
        (changed(16, 1 << 40), "the capacity is above the limit"),
        (changed(256, 8), "more is consumed than published"),
        (resized(0), "empty"),
        (resized(8), "it ends in the header"),
        (resized(size - 1), "it ends in the data"),
        (resized(size + 1), "it continues after the data"),
        (socket.into(), "a socket"),
        (pipe.into(), "a pipe"),
        (File::open("/dev/zero").unwrap().into(), "a device"),
        (File::open("/").unwrap().into(), "a folder"),
    ] {
        let error = Reader::open(file).expect_err(reason);
        assert!(!error.to_string().contains(char::is_control), "{reason}");
    }
    assert!(Reader::open(copy_of(&writer).into()).is_ok());
}

#[test]
fn file_that_cannot_be_written_is_an_error() {
    let [sealed, unsealed] = both(MIN_CAPACITY).map(|writer| {
        assert!(writer.push(&[b"frame"]).is_ok());
        let path = format!("/proc/self/fd/{}", writer.as_fd().as_raw_fd());
        OwnedFd::from(OpenOptions::new().read(true).open(path).unwrap())
    });
    assert!(matches!(Reader::open(sealed), Err(Error::System(_))));
    let mut reader = Reader::open(unsealed).unwrap();
    assert_eq!(read(&mut reader), [b"frame"]);
    assert!(matches!(reader.release(), Err(Error::System(_))));
}

/// Bytes of memory that the ring uses.
fn used(writer: &Writer) -> u64 {
    File::from(file(writer)).metadata().unwrap().blocks() * 512
}

#[test]
fn memory_use_depends_only_on_the_fullest_moment() {
    let writer = Writer::sealed(CAPACITY).unwrap();
    let mut reader = open(&writer);
    let page = rustix::param::page_size() as u64;
    let invocation = |reader: &mut Reader, documents| {
        for _ in 0..documents {
            assert!(writer.push(&[&[0; 500]]).is_ok());
        }
        read(reader);
        reader.release().unwrap();
    };
    // 12 frames of 512 bytes with their lengths, in 6 KiB from the start of the data.
    (0..1_000).for_each(|_| invocation(&mut reader, 12));
    assert!(used(&writer) <= page + (6 * 1024_u64).next_multiple_of(page));
    // 1,000 frames, once.
    invocation(&mut reader, 1_000);
    (0..1_000).for_each(|_| invocation(&mut reader, 12));
    assert!(used(&writer) <= page + (512_000_u64).next_multiple_of(page));
}
