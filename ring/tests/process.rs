//! Real processes that are killed while they write or read, and a fork. The processes are this one,
//! started again.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, PipeReader, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Signal, set_parent_process_death_signal};
use tracestitch_ring::{Reader, Refused, Writer};

const THREADS: usize = 3;

/// Bytes of data: small, so that the ring wraps and fills up many times.
const CAPACITY: usize = 16 * 1024;

/// Time after which a condition that is waited for counts as missed.
const DEADLINE: Duration = Duration::from_secs(60);

/// Kinds of memory, as arguments.
const KINDS: [&str; 2] = ["sealed", "unlinked"];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [_, "writer", kind, folder] => write(kind, Path::new(folder)),
        [_, "reader"] => return read(),
        _ => {
            // While there is one thread: a fork has no other.
            forked_process_cannot_write();
            for kind in KINDS {
                for round in 0..20 {
                    everything_that_a_killed_process_published_arrives(kind, round);
                    nothing_is_lost_with_a_killed_reader(kind, round);
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn create(kind: &str, folder: &Path) -> Writer {
    match kind {
        "sealed" => Writer::sealed(CAPACITY),
        _ => Writer::unlinked(CAPACITY, folder),
    }
    .unwrap()
}

fn forked_process_cannot_write() {
    let writer = Writer::sealed(CAPACITY).unwrap();
    assert!(writer.push(&[b"parent"]).is_ok());
    // SAFETY: this process has one thread, so the child can do everything that it could.
    #[expect(unsafe_code, reason = "the subject of the test")]
    let fork = unsafe { fork() }.unwrap();
    match fork {
        ForkResult::Child => {
            let refused = writer.push(&[b"child"]) == Err(Refused::Forked);
            let refused = refused && writer.is_forked() && writer.reclaim().is_empty();
            let code = i32::from(!refused);
            std::process::exit(code);
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    assert!(!writer.is_forked());
    assert!(writer.push(&[b"parent again"]).is_ok());
    assert_eq!(writer.reclaim(), [&b"parent"[..], b"parent again"]);
}

/// A process that is killed when the value is dropped.
struct Process {
    child: Child,
    socket: UnixStream,
}

impl Process {
    /// Starts this program with `arguments`, and a socket as its standard input.
    fn start(arguments: &[&str], output: impl Into<std::process::Stdio>) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(OwnedFd::from(theirs))
            .stdout(output)
            .spawn()
            .unwrap();
        Self { child, socket }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes `file` over `socket`.
fn pass(socket: impl AsFd, file: BorrowedFd<'_>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    sendmsg(
        socket,
        &[IoSlice::new(b"!")],
        &mut control,
        SendFlags::empty(),
    )
    .unwrap();
}

/// Receives a file over `socket`.
fn receive(socket: impl AsFd) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        flags,
    )
    .unwrap();
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    file.expect("a message with a file")
}

/// The bytes of a frame: its thread and number, then bytes that depend on both.
fn frame(thread: usize, number: u64) -> Vec<u8> {
    let length = (number * 37 + thread as u64) % 700;
    let fill = (0..length).map(|at| (at + number) as u8);
    let head = [thread as u8].into_iter().chain(number.to_ne_bytes());
    head.chain(fill).collect()
}

/// The thread and number of a frame, which must be whole.
fn parse(bytes: &[u8]) -> (usize, u64) {
    let (thread, rest) = bytes.split_first().unwrap();
    let number = u64::from_ne_bytes(*rest.first_chunk().unwrap());
    let thread = usize::from(*thread);
    assert_eq!(bytes, frame(thread, number));
    (thread, number)
}

/// File in which each thread of the writer counts the frames that were accepted.
fn progress(folder: &Path) -> PathBuf {
    folder.join("progress")
}

/// Writes frames until it is killed.
fn write(kind: &str, folder: &Path) {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let progress = OpenOptions::new()
        .write(true)
        .open(progress(folder))
        .unwrap();
    let writer = create(kind, folder);
    pass(io::stdin(), writer.as_fd());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (writer, progress) = (&writer, &progress);
            scope.spawn(move || {
                for number in 0.. {
                    let frame = frame(thread, number);
                    let (head, tail) = frame.split_at(9);
                    while let Err(refused) = writer.push(&[head, tail]) {
                        assert_eq!(refused, Refused::Full);
                        thread::yield_now();
                    }
                    let accepted = (number + 1).to_ne_bytes();
                    progress.write_all_at(&accepted, thread as u64 * 8).unwrap();
                }
            });
        }
    });
}

fn everything_that_a_killed_process_published_arrives(kind: &str, round: u64) {
    let mut random = fastrand::Rng::with_seed(round);
    let folder = tempfile::tempdir().unwrap();
    let path = progress(folder.path());
    std::fs::write(&path, [0; THREADS * 8]).unwrap();
    let arguments = ["writer", kind, folder.path().to_str().unwrap()];
    let mut process = Process::start(&arguments, std::process::Stdio::inherit());
    let mut reader = Reader::open(receive(&process.socket)).unwrap();
    assert_eq!(reader.is_mapped(), kind == "sealed");
    let mut next = [0; THREADS];
    let mut read = || {
        let read = reader.read(|bytes| {
            let (thread, number) = parse(bytes);
            assert_eq!(number, next[thread], "thread {thread}: in order, each once");
            next[thread] += 1;
        });
        let count = read.unwrap();
        reader.release().unwrap();
        count
    };
    let enough = random.usize(..1_000);
    let deadline = Instant::now() + DEADLINE;
    let mut count = 0;
    while count < enough {
        count += read();
        assert!(process.is_running() && Instant::now() < deadline);
    }
    process.kill();
    read();
    let progress = File::open(&path).unwrap();
    for (thread, received) in next.into_iter().enumerate() {
        let mut accepted = [0; 8];
        progress
            .read_exact_at(&mut accepted, thread as u64 * 8)
            .unwrap();
        let accepted = u64::from_ne_bytes(accepted);
        // The last one may have been accepted and not counted.
        assert!(
            received == accepted || received == accepted + 1,
            "thread {thread}: {accepted} were accepted, {received} arrived"
        );
    }
}

/// Marker in the reader's output: all frames before it are released.
const RELEASED: u64 = u64::MAX;

/// Reads frames and passes their numbers on, until it is killed.
fn read() -> ExitCode {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let mut reader = Reader::open(receive(io::stdin())).unwrap();
    let mut output = io::stdout().lock();
    loop {
        let mut passed_on = Ok(());
        let read = reader.read(|bytes| {
            let (_, number) = parse(bytes);
            let written = output.write_all(&number.to_ne_bytes());
            passed_on = std::mem::replace(&mut passed_on, Ok(())).and(written);
        });
        let count = read.unwrap();
        if passed_on.and_then(|()| output.flush()).is_err() {
            return ExitCode::FAILURE;
        }
        reader.release().unwrap();
        if count > 0 && output.write_all(&RELEASED.to_ne_bytes()).is_err() {
            return ExitCode::FAILURE;
        }
        thread::yield_now();
    }
}

/// The numbers that a reader wrote, until it died.
fn numbers(mut output: PipeReader, numbers: &Mutex<Vec<u64>>) {
    let mut number = [0; 8];
    while output.read_exact(&mut number).is_ok() {
        numbers.lock().unwrap().push(u64::from_ne_bytes(number));
    }
}

fn nothing_is_lost_with_a_killed_reader(kind: &str, round: u64) {
    let mut random = fastrand::Rng::with_seed(round);
    let folder = tempfile::tempdir().unwrap();
    let writer = create(kind, folder.path());
    let (output, theirs) = io::pipe().unwrap();
    let mut process = Process::start(&["reader"], theirs);
    pass(&process.socket, writer.as_fd());
    let written = Mutex::new(Vec::new());
    let enough = random.usize(..1_000);
    let deadline = Instant::now() + DEADLINE;
    let mut accepted = 0;
    thread::scope(|scope| {
        let numbers = scope.spawn(|| numbers(output, &written));
        let mut push = || {
            if writer.push(&[&frame(0, accepted)]).is_ok() {
                accepted += 1;
            } else {
                thread::yield_now();
            }
        };
        while written.lock().unwrap().len() < enough {
            push();
            if !process.is_running() || Instant::now() > deadline {
                break;
            }
        }
        // The reader has just written. It is killed at any place of its work.
        (0..random.usize(..500)).for_each(|_| push());
        process.kill();
        numbers.join().unwrap();
    });
    // Frames that the killed reader cannot have seen.
    for _ in 0..3 {
        accepted += u64::from(writer.push(&[&frame(0, accepted)]).is_ok());
    }
    let mut left = Vec::new();
    let mut keep = |bytes: &[u8]| left.push(parse(bytes).1);
    if round.is_multiple_of(2) {
        writer.reclaim().iter().for_each(|bytes| keep(bytes));
    } else {
        let file = writer.as_fd().try_clone_to_owned().unwrap();
        Reader::open(file).unwrap().read(keep).unwrap();
    }
    let written = written.into_inner().unwrap();
    assert!(written.len() >= enough, "the reader died by itself");
    let last_release = written.iter().rposition(|number| *number == RELEASED);
    let is_frame = |number: &&u64| **number != RELEASED;
    let released = written[..last_release.unwrap_or(0)]
        .iter()
        .filter(is_frame)
        .count() as u64;
    let passed_on: Vec<_> = written.iter().filter(is_frame).copied().collect();
    let passed_on_count = passed_on.len() as u64;
    assert!(passed_on.into_iter().eq(0..passed_on_count));
    // The reader may have released more than it could write down.
    let first_left = left.first().copied().unwrap_or(accepted);
    assert!((released..=passed_on_count).contains(&first_left));
    assert!(left.into_iter().eq(first_left..accepted));
}
