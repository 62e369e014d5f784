use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;
use crate::tests::{
    alone::alone,
    extension::{Extension, Session},
};

/// More documents of 1 KB than the ring holds.
const MANY: usize = 10_000;

fn handoff(path: &Path) -> Handoff {
    Handoff::new(&Config::of_tests(path))
}

/// A function and its extension.
fn session() -> (Extension, Handoff, Session) {
    let extension = Extension::listen();
    let handoff = handoff(&extension.path());
    let session = extension.accept();
    (extension, handoff, session)
}

/// Closes documents until the ring is full. Returns how many the ring took.
fn fill(handoff: &mut Handoff) -> usize {
    let full = handoff.counts.ring_full;
    for taken in 0..MANY {
        handoff.close(SegmentId::new(), &[b'x'; 1000]);
        if handoff.counts.ring_full > full {
            return taken;
        }
    }
    panic!("the ring takes everything");
}

/// Opens documents of one byte until the ring has no room for anything.
fn fill_to_the_brim(handoff: &mut Handoff) {
    fill(handoff);
    let untracked = handoff.counts.untracked;
    for _ in 0..MANY {
        handoff.open(SegmentId::new(), b"{");
        if handoff.counts.untracked > untracked {
            return;
        }
    }
    panic!("the ring takes everything");
}

/// Ends invocations until the socket is full.
fn fill_socket(handoff: &mut Handoff) {
    for n in 0..MANY {
        handoff.end(&format!("a-request-id-of-the-usual-36-bytes-{n}"));
        if !handoff.is_up() {
            return;
        }
    }
    panic!("the socket takes everything");
}

#[test]
fn documents_are_published_and_only_the_end_is_sent() {
    let (_extension, mut handoff, mut session) = session();
    assert!(handoff.begin().is_empty());
    assert!(handoff.announce("r-1").is_empty());
    let id = SegmentId::new();
    assert!(handoff.open(id, b"{}").is_empty());
    assert!(handoff.close(id, b"{..}").is_empty());
    assert!(handoff.discard(&[id, id]).is_empty());
    assert_eq!(session.messages(), ["Hello"], "nothing wakes the extension");
    assert!(handoff.end("r-1").is_empty());
    assert_eq!(session.messages(), ["End"]);
    let frames = session.frames();
    // One frame for all: the process may be killed between two.
    assert_eq!(frames, ["Begin", "open 2", "close 4", "Discard"]);
    assert_eq!(handoff.counts().handed, 1);
    assert!(session.is_mapped());
}

#[test]
fn process_without_an_extension_shares_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut handoff = handoff(&folder.path().join("absent"));
    assert!(handoff.begin().is_empty());
    assert!(handoff.open(SegmentId::new(), b"{}").is_empty());
    assert_eq!(handoff.close(SegmentId::new(), b"{}"), [b"{}".to_vec()]);
    assert!(handoff.end("r-1").is_empty());
    assert!(handoff.ring.is_none());
    assert_eq!(handoff.counts(), Counts::default());
}

#[test]
fn late_extension_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut handoff = handoff(&path);
    let listener = UnixListener::bind(&path).unwrap();
    handoff.begin();
    assert!(handoff.close(SegmentId::new(), b"{}").is_empty());
    listener.accept().unwrap();
}

#[test]
fn half_full_ring_is_signalled_once() {
    let (_extension, mut handoff, mut session) = session();
    for round in 1..3 {
        let taken = fill(&mut handoff);
        let messages = session.messages();
        let drains = messages.iter().filter(|name| *name == "Drain");
        assert_eq!(drains.count(), 1, "round {round}: {messages:?}");
        assert_eq!(session.closed().len(), taken, "round {round}");
        assert!(handoff.is_up());
    }
}

#[test]
fn document_without_room_is_returned_and_never_closed_as_interrupted() {
    let (_extension, mut handoff, mut session) = session();
    let id = SegmentId::new();
    assert!(handoff.open(id, b"{}").is_empty());
    fill(&mut handoff);
    let large = [b'x'; 60_000];
    assert_eq!(handoff.close(id, &large), [large.to_vec()]);
    assert!(handoff.open(SegmentId::new(), &large).is_empty());
    let counts = handoff.counts();
    assert_eq!((counts.ring_full, counts.untracked), (2, 1));

    let mut last = None;
    session.peek(|message| {
        if let Message::Discard { ids } = message {
            last = Some(ids);
        }
    });
    assert_eq!(last, Some(vec![id]));
    session.release();
    assert!(handoff.close(id, &large).is_empty(), "there is room again");
}

#[test]
fn discard_is_sent_if_the_ring_has_no_room_for_it() {
    let (_extension, mut handoff, mut session) = session();
    fill_to_the_brim(&mut handoff);
    session.messages();
    let [one, other] = [(); 2].map(|()| SegmentId::new());
    assert!(handoff.discard(&[one]).is_empty());
    assert_eq!(handoff.close(other, b"{}").len(), 1);
    assert_eq!(session.messages(), ["Discard", "Discard"]);
    assert!(handoff.is_up());
}

#[test]
fn extension_that_reads_neither_ring_nor_socket_is_given_up() {
    let (_extension, mut handoff, mut session) = session();
    fill_to_the_brim(&mut handoff);
    for _ in 0..MANY {
        handoff.discard(&[SegmentId::new()]);
    }
    assert_eq!(handoff.counts().gave_up, 1);
    assert_eq!(session.messages().last().unwrap(), "Leave");
}

#[test]
fn published_documents_remain_with_an_extension_that_is_given_up() {
    let (_extension, mut handoff, mut session) = session();
    handoff.open(SegmentId::new(), b"{}");
    assert!(handoff.close(SegmentId::new(), b"{}").is_empty());
    fill_socket(&mut handoff);
    assert_eq!(handoff.close(SegmentId::new(), b"{..}").len(), 1);
    assert!(handoff.begin().is_empty(), "it has not closed its socket");
    assert_eq!(session.messages().last().unwrap(), "Leave");
    assert_eq!(session.frames(), ["open 2", "close 2"]);
}

#[test]
fn given_up_extension_is_used_again_after_it_closed_the_session() {
    let (extension, mut handoff, mut session) = session();
    fill_socket(&mut handoff);
    assert!(handoff.begin().is_empty());
    assert!(extension.try_accept().is_none(), "it still hangs");
    session.frames();
    drop(session);
    assert!(handoff.begin().is_empty());
    let mut session = extension.accept();
    assert!(handoff.close(SegmentId::new(), b"{}").is_empty());
    assert_eq!(session.frames(), ["close 2"]);
}

#[test]
fn documents_that_a_dead_extension_did_not_release_are_returned() {
    let (mut extension, mut handoff, mut session) = session();
    let document = |n: u8| vec![n; 10];
    for n in [1, 2] {
        assert!(handoff.close(SegmentId::new(), &document(n)).is_empty());
    }
    assert_eq!(session.closed(), [document(1), document(2)]);
    handoff.open(SegmentId::new(), b"{}");
    assert!(handoff.close(SegmentId::new(), &document(3)).is_empty());
    session.peek(|_| {});
    assert!(handoff.close(SegmentId::new(), &document(4)).is_empty());
    drop(session);
    // Nothing has noticed yet.
    assert!(handoff.close(SegmentId::new(), &document(5)).is_empty());
    assert_eq!(handoff.end("r-1"), [3, 4, 5].map(document));
    assert_eq!(handoff.end("r-1"), [[0; 0]; 0], "once");
    assert_eq!(handoff.close(SegmentId::new(), b"{}").len(), 1);
    let counts = handoff.counts();
    assert_eq!((counts.handed, counts.taken_back), (5, 3));

    assert!(handoff.begin().is_empty());
    assert!(extension.try_accept().is_none(), "it is dead");
    extension.restart();
    assert!(handoff.begin().is_empty());
    let mut session = extension.accept();
    assert!(handoff.close(SegmentId::new(), &document(6)).is_empty());
    assert_eq!(session.closed(), [document(6)]);
}

#[test]
fn dead_extension_is_noticed_by_a_drain() {
    let (_extension, mut handoff, session) = session();
    drop(session);
    let mut returned = 0;
    for closed in 1..MANY {
        returned += handoff.close(SegmentId::new(), &[b'x'; 1000]).len();
        if returned > 0 {
            assert_eq!(returned, closed, "all of them");
            assert!(!handoff.is_up());
            return;
        }
    }
    panic!("nothing has noticed");
}

#[test]
fn documents_unread_by_a_given_up_extension_are_returned_when_it_dies() {
    let (_extension, mut handoff, session) = session();
    assert!(handoff.close(SegmentId::new(), b"{}").is_empty());
    fill_socket(&mut handoff);
    drop(session);
    assert_eq!(handoff.begin(), [b"{}".to_vec()]);
}

#[test]
fn refused_hello_is_detected_before_the_first_document() {
    let (mut extension, mut handoff, session) = session();
    drop(session);
    assert!(handoff.begin().is_empty());
    assert_eq!(handoff.close(SegmentId::new(), b"{}").len(), 1);
    for _ in 0..3 {
        assert!(handoff.begin().is_empty());
        assert!(extension.try_accept().is_none(), "it is not asked again");
    }
    extension.restart();
    assert!(handoff.begin().is_empty());
    assert!(extension.try_accept().is_some(), "another one is asked");
}

#[test]
fn confirmed_session_is_not_checked_again() {
    let (_extension, mut handoff, session) = session();
    handoff.begin();
    handoff.end("r-1");
    drop(session);
    assert!(handoff.begin().is_empty());
    assert!(handoff.is_up(), "only the end notices");
    handoff.end("r-2");
    assert!(!handoff.is_up());
}

#[test]
fn foreign_socket_is_rejected() {
    let extension = Extension::listen();
    let [file, link] = ["file", "link"].map(|name| extension.folder.path().join(name));
    fs::write(&file, "").unwrap();
    symlink(extension.path(), &link).unwrap();
    for (path, reason) in [
        (&file, "a regular file"),
        (&link, "a link, even to our socket"),
    ] {
        assert!(!handoff(path).is_up(), "{reason}");
    }
}

#[test]
fn folder_writable_by_others_is_rejected() {
    let extension = Extension::listen();
    let mode =
        |mode| fs::set_permissions(extension.folder.path(), fs::Permissions::from_mode(mode));
    for (bits, taken, reason) in [
        (0o700, true, "ours alone"),
        (0o755, true, "others may look"),
        (0o770, false, "the group may write"),
        (0o777, false, "all may write"),
    ] {
        mode(bits).unwrap();
        assert_eq!(handoff(&extension.path()).is_up(), taken, "{reason}");
    }
    let link = tempfile::tempdir().unwrap();
    symlink(extension.folder.path(), link.path().join("l")).unwrap();
    mode(0o700).unwrap();
    let linked = handoff(&link.path().join("l/s"));
    assert!(!linked.is_up(), "a link in place of the folder");
}

fn no_file_in_memory(_: usize) -> io::Result<Writer> {
    Err(io::Error::from_raw_os_error(38))
}

fn no_file_in_a_folder(_: usize, _: &Path) -> io::Result<Writer> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

#[test]
fn file_on_disk_serves_where_memory_files_are_refused() {
    let extension = Extension::listen();
    let ways = Ways {
        sealed: no_file_in_memory,
        ..Ways::default()
    };
    let mut handoff = Handoff::with(&Config::of_tests(&extension.path()), ways);
    let mut session = extension.accept();
    assert!(handoff.close(SegmentId::new(), b"{}").is_empty());
    assert_eq!(session.frames(), ["close 2"]);
    assert!(!session.is_mapped());
    let names = fs::read_dir(extension.folder.path()).unwrap().count();
    assert_eq!(names, 1, "the socket's");
    let counts = handoff.counts();
    assert_eq!((counts.no_memory_file, counts.no_ring), (1, 0));
}

#[test]
fn process_that_can_share_no_memory_sends_directly() {
    let extension = Extension::listen();
    let ways = Ways {
        sealed: no_file_in_memory,
        unlinked: no_file_in_a_folder,
    };
    let mut handoff = Handoff::with(&Config::of_tests(&extension.path()), ways);
    for _ in 0..3 {
        assert!(handoff.begin().is_empty());
        assert_eq!(handoff.close(SegmentId::new(), b"{}").len(), 1);
    }
    let counts = handoff.counts();
    assert_eq!((counts.no_memory_file, counts.no_ring), (1, 1), "once");
}

#[test]
fn extension_that_writes_an_invalid_position_is_given_up() {
    let (_extension, mut handoff, mut session) = session();
    assert!(handoff.close(SegmentId::new(), b"{}").is_empty());
    // The consumed position and its complement (`tracestitch_ring`, "Layout").
    let memory = session.memory();
    memory.write_all_at(&4096_u64.to_ne_bytes(), 256).unwrap();
    memory
        .write_all_at(&(!4096_u64).to_ne_bytes(), 264)
        .unwrap();
    assert_eq!(handoff.close(SegmentId::new(), b"{..}"), [b"{..}".to_vec()]);
    assert_eq!(handoff.counts().gave_up, 1);
    assert_eq!(session.messages(), ["Leave"]);
    drop(session);
    assert_eq!(handoff.begin(), [b"{}".to_vec()]);
}

/// A signal that is blocked is kept, even if the process ignores it as the standard library makes
/// it do.
#[test]
fn closed_socket_raises_no_signal() {
    use nix::sys::signal::{SigSet, Signal};

    let is_pending = || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
        let pending = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
        pending & 1 << (Signal::SIGPIPE as u32 - 1) != 0
    };
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGPIPE);
    blocked.thread_block().unwrap();

    let (mut extension, mut handoff, session) = session();
    drop(session);
    handoff.end("r-1");
    extension.restart();
    handoff.begin();
    drop(extension.accept());
    for _ in 0..MANY {
        handoff.close(SegmentId::new(), &[b'x'; 1000]);
    }
    assert_eq!(handoff.counts().gave_up, 2);
    assert!(!is_pending());

    let (one, other) =
        socket2::Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    drop(other);
    one.send(b"x").unwrap_err();
    assert!(is_pending(), "a send without the flag raises it");
}

/// The kernel makes root the owner of `/proc/self` in a process that cannot be dumped (proc(5)).
#[test]
fn process_that_cannot_be_dumped_has_a_session() {
    let name = "transport::handoff::tests::process_that_cannot_be_dumped_has_a_session";
    alone(name, || {
        nix::sys::prctl::set_dumpable(false).unwrap();
        assert!(session().1.is_up());
    });
}
