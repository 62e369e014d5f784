//! Entry points of the fuzz targets in `extension/fuzz`, and a test that runs their corpora.
//!
//! Each reads one kind of input from outside and checks what must hold for all of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use lambda_extension::NextEvent;
use tokio::runtime::Runtime;
use tracestitch_ring::{MIN_CAPACITY, Writer, send_file};
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::datagram::{self, MAX_DOCUMENT};
use tracestitch_wire::handoff::{Decoder, Hello, Message, VERSION};
use tracestitch_wire::time::Timestamp;

use crate::api;
use crate::config::Config;
use crate::connections::{Connections, SessionEvent};
use crate::interrupted::{self, Closed, Interruption};
use crate::lifecycle::{Action, Input, Lifecycle};
use crate::log::{Level, Log};
use crate::pending::Pending;

const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);

/// Frames from a function's socket, in pieces whose size the first byte gives, during an
/// invocation `r-1`.
///
/// # Panics
///
/// Panics if frames change by being read and written, a document is lost or sent twice, or the
/// invocation is held without end or released twice.
pub fn frames(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else {
        return;
    };
    let mut decoder = Decoder::default();
    let mut machine = Lifecycle::new(false, Pending::default());
    let mut actions = Vec::new();
    let (mut closed, mut again) = (0, Vec::new());
    let invoke = Input::Invoke {
        request_id: "r-1".to_owned(),
        deadline_ms: 0,
        newcomers: true,
    };
    machine.handle(NOW, invoke, &mut actions);
    'read: for piece in stream.chunks(usize::from(*size) + 1) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => {
                    closed += usize::from(matches!(message, Message::Close { .. }));
                    if let Message::Hello(hello) = &message {
                        settings_of_the_function(hello);
                    }
                    let before = again.len();
                    message.encode(&mut again);
                    check_reads_as(&again[before..], &message);
                    let session = 1;
                    let input = Input::Message { session, message };
                    machine.handle(NOW, input, &mut actions);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().contains(char::is_control));
                    break 'read;
                }
            }
        }
        assert!(decoder.unfinished() <= stream.len());
    }
    machine.handle(NOW, Input::Disconnected { session: 1 }, &mut actions);
    // More timers than a look for a begin message takes.
    (0..8).for_each(|_| machine.handle(NOW, Input::Timer, &mut actions));
    let asked = actions.iter().filter(|a| **a == Action::AskNext).count();
    assert_eq!(asked, 1);
    let why = Interruption::Crash;
    machine.handle(NOW, Input::Shutdown(why), &mut actions);
    machine.handle(NOW, Input::Timer, &mut actions);
    let sent: usize = actions
        .iter()
        .map(|action| match action {
            Action::Send { documents, .. } => documents.len(),
            _ => 0,
        })
        .sum();
    let counts = machine.counts();
    // Some may have been opened as finished ones.
    assert!(counts.received >= closed as u64);
    assert_eq!(
        counts.received + counts.interrupted,
        sent as u64 + counts.delivery.lost.total()
    );
}

fn check_reads_as(frame: &[u8], message: &Message<'_>) {
    let mut decoder = Decoder::default();
    decoder.push(frame);
    match message {
        // A reader does not write frames of an unknown kind.
        Message::Unknown(_) => {}
        known => assert_eq!(decoder.next(), Ok(Some(known.clone()))),
    }
}

fn settings_of_the_function(hello: &Hello) {
    if let Some(daemon) = &hello.daemon {
        address(daemon);
    }
}

fn address(text: &str) {
    if let Ok(address) = text.parse::<DaemonAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

/// Bytes of the fuzzer, taken from the front. Zeros follow the last one.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.take(N);
        let mut bytes = [0; N];
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(self.0.len().min(count));
        self.0 = later;
        now
    }
}

/// A hostile function: a valid hello, and then any sequence of frames, of bytes on the socket, and
/// of changes to the shared memory, between the sweeps of the extension.
///
/// # Panics
///
/// Panics if the system refuses a socket or memory, a sweep does not end, a document is lost or
/// sent twice, the invocation is held without end or released twice, or the session outlives its
/// connection.
pub fn session(input: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap_or_else(|error| panic!("no event loop: {error}"));
    }
    RUNTIME.with(|runtime| {
        let _context = runtime.enter();
        if let Err(error) = run_session(Bytes(input)) {
            panic!("no socket or memory: {error}");
        }
    });
}

fn run_session(mut input: Bytes<'_>) -> io::Result<()> {
    let (mut socket, theirs) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let ring = Writer::sealed(MIN_CAPACITY)?;
    let mut hello = Vec::new();
    let (version, daemon) = (VERSION, None);
    Message::Hello(Hello { version, daemon }).encode(&mut hello);
    send_file(&socket, &hello, &ring)?;
    let memory = File::from(ring.as_fd().try_clone_to_owned()?);

    let mut extension = Hosted {
        connections: Connections::new(None, Log::new(Level::Off)),
        machine: Lifecycle::new(false, Pending::default()),
        sent: 0,
        asked: 0,
    };
    extension
        .connections
        .welcome(tokio::net::UnixStream::from_std(theirs)?);
    let newcomers = true;
    let (request_id, deadline_ms) = ("r-1".to_owned(), 0);
    extension.handle(Input::Invoke {
        request_id,
        deadline_ms,
        newcomers,
    });
    while !input.0.is_empty() {
        let [step, count] = input.next();
        match step % 4 {
            // What the system or the ring refuses is left out.
            0 => drop(ring.push(&[input.take(usize::from(count))])),
            1 => drop(socket.write(input.take(usize::from(count)))),
            2 => {
                let at = u64::from(u16::from_ne_bytes(input.next())) % (2 * MIN_CAPACITY as u64);
                let _ = memory.write_all_at(&input.next::<8>(), at);
            }
            _ if count % 8 == 0 => drop(ring.reclaim()),
            _ => extension.sweep(),
        }
    }
    drop(socket);
    extension.sweep();
    extension.sweep();
    assert!(extension.connections.is_empty());
    // More timers than a look for a begin message takes.
    (0..8).for_each(|_| extension.handle(Input::Timer));
    assert_eq!(extension.asked, 1);
    extension.handle(Input::Shutdown(Interruption::Crash));
    let counts = extension.machine.counts();
    assert_eq!(
        counts.received + counts.interrupted,
        extension.sent + counts.delivery.lost.total()
    );
    Ok(())
}

/// The extension without its process: what is to be sent is counted.
struct Hosted {
    connections: Connections,
    machine: Lifecycle,
    sent: u64,
    asked: u64,
}

impl Hosted {
    fn handle(&mut self, input: Input<'_>) {
        let mut actions = Vec::new();
        self.machine.handle(NOW, input, &mut actions);
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { documents, .. } => self.sent += documents.len() as u64,
                Action::AskNext => self.asked += 1,
                _ => {}
            }
        }
        let machine = &self.machine;
        self.connections
            .release(|session| !machine.has_unsent(session));
    }

    fn sweep(&mut self) {
        self.connections.receive();
        for steps in 0.. {
            assert!(steps < 8, "the sweep does not end");
            let (mut actions, machine) = (Vec::new(), &mut self.machine);
            let more = self.connections.step(&mut |session, event| {
                let input = match event {
                    SessionEvent::Message(message) => Input::Message { session, message },
                    SessionEvent::Disconnected => Input::Disconnected { session },
                };
                machine.handle(NOW, input, &mut actions);
            });
            self.act(actions);
            if !more {
                return;
            }
        }
    }
}

/// A document of the function, which must be closed and fit a datagram whose size the first byte
/// gives.
///
/// # Panics
///
/// Panics if a result is not a document or too large, or if nothing results and nothing is counted.
pub fn document(input: &[u8]) {
    let Some((size, document)) = input.split_first() else {
        return;
    };
    let closed = match interrupted::close(document, NOW, &Interruption::Timeout) {
        Closed::Now(closed) => Some(closed),
        Closed::Already | Closed::Malformed => None,
    };
    if let Some(closed) = &closed {
        let closed: serde_json::Value =
            serde_json::from_slice(closed).unwrap_or_else(|error| panic!("no JSON: {error}"));
        assert!(closed.get("in_progress").is_none() && closed["fault"] == true);
        let time = |key: &str| closed[key].as_f64();
        assert!(time("end_time").is_some() && time("end_time") >= time("start_time"));
    }
    let narrow = 256 + 16 * usize::from(*size);
    for (document, most) in [
        (Some(document.to_vec()), narrow),
        (Some(document.to_vec()), MAX_DOCUMENT),
        (closed, narrow),
    ] {
        let Some(document) = document else { continue };
        let small = document.len() <= most;
        let fitted = datagram::fit_within(document, most);
        assert!(fitted.documents.len() + fitted.lost > 0);
        assert!(fitted.trimmed <= fitted.documents.len());
        for part in &fitted.documents {
            assert!(part.len() <= most);
            assert!(small || serde_json::from_slice::<serde_json::Value>(part).is_ok());
            assert_eq!(datagram::decode(&datagram::encode(part)).ok(), {
                (!part.is_empty()).then_some(part.as_slice())
            });
        }
    }
    // A datagram of another program.
    let _ = datagram::decode(document);
}

/// An answer of the Extensions API.
///
/// # Panics
///
/// Panics if a reason appears unescaped.
pub fn event(input: &[u8]) {
    if let Ok(Some(NextEvent::Shutdown(event))) = api::read_event(input) {
        let why = Interruption::from_shutdown_reason(&event.shutdown_reason);
        assert!(!why.to_string().contains(char::is_control));
        let closed = interrupted::close(b"{}", NOW, &why);
        assert!(matches!(closed, Closed::Now(_)), "{closed:?}");
    }
}

/// An environment, as lines of `NAME=value`.
///
/// # Panics
///
/// Panics if a warning shows a value.
pub fn settings(input: &str) {
    let variables: Vec<_> = input.lines().filter_map(|l| l.split_once('=')).collect();
    let config = Config::read("tracestitch".into(), |name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.into())
    });
    assert!(config.warnings.len() <= 4);
    for (_, value) in variables.iter().filter(|(_, value)| value.len() > 60) {
        assert!(!config.warnings.iter().any(|text| text.contains(value)));
    }
    variables.iter().for_each(|(_, value)| address(value));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Changed inputs of each target, enough to notice a check that became wrong. The targets
    /// themselves run without a limit.
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

    fn run(target: &str, check: impl Fn(&[u8])) {
        let corpus = corpus(target);
        corpus.iter().for_each(|input| check(input));
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..CHANGED {
            let [input, other] = [0, 1].map(|_| &corpus[random.usize(..corpus.len())]);
            check(&change(input, other, &mut random));
        }
    }

    #[test]
    fn frames_of_the_corpus() {
        run("frames", frames);
    }

    #[test]
    fn sessions_of_the_corpus() {
        run("session", session);
    }

    #[test]
    fn documents_of_the_corpus() {
        run("document", document);
    }

    #[test]
    fn events_of_the_corpus() {
        run("event", event);
    }

    #[test]
    fn settings_of_the_corpus() {
        run("settings", |input| {
            settings(&String::from_utf8_lossy(input))
        });
    }
}
