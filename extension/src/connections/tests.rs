//! A socket in a temporary folder, for the tests by theme.

mod delivery;
mod greeting;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream as Stream;
use std::time::Duration;

use tokio::time::timeout;
use tracestitch_ring::{CAPACITY, MIN_CAPACITY, Pushed, Writer, send_file};

use super::session::STEP;
use super::*;
use crate::log::Level;

/// A socket in a temporary folder, and the events that were read from it.
struct World {
    connections: Connections,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = Socket::bind(&path).unwrap();
        Self {
            connections: Connections::new(Some(socket), Log::new(Level::Error)),
            path,
            _folder: folder,
        }
    }

    /// Delivers one step of a sweep. Returns its events, and true if there is more.
    fn step(&mut self) -> (Vec<String>, bool) {
        let mut events = Vec::new();
        let more = self.connections.step(&mut |session, event| {
            events.push(match event {
                SessionEvent::Disconnected => format!("{session} gone"),
                SessionEvent::Message(Message::Hello(_)) => format!("{session} hello"),
                SessionEvent::Message(Message::Close { document, .. }) => {
                    format!("{session} close {}", document.len())
                }
                SessionEvent::Message(Message::End { request_id }) => {
                    format!("{session} end {request_id}")
                }
                SessionEvent::Message(other) => format!("{session} {other:?}"),
            });
        });
        (events, more)
    }

    /// Makes a sweep whose documents are sent at once.
    fn sweep(&mut self) -> Vec<String> {
        let events = self.sweep_without_sending();
        self.connections.release(|_| true);
        events
    }

    /// Makes a sweep whose documents are sent only if there are more.
    fn sweep_without_sending(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        self.connections.receive();
        loop {
            let (events, more) = self.step();
            all.extend(events);
            if !more {
                return all;
            }
            self.connections.release(|_| true);
        }
    }

    async fn wakes(&mut self) -> bool {
        timeout(Duration::from_millis(50), self.connections.readable())
            .await
            .is_ok()
    }

    fn raw(&self) -> Stream {
        Stream::connect(&self.path).unwrap()
    }

    fn connect(&self) -> Function {
        self.connect_with(Writer::sealed(CAPACITY).unwrap())
    }

    fn connect_with(&self, ring: Writer) -> Function {
        let socket = self.raw();
        let hello = hello(VERSION);
        assert_eq!(send_file(&socket, &hello, &ring).unwrap(), hello.len());
        Function { ring, socket }
    }
}

/// The function's end of a session.
struct Function {
    ring: Writer,
    socket: Stream,
}

impl Function {
    fn publish(&self, message: &Message<'_>) -> Pushed {
        message
            .with_frame(|parts| self.ring.push(parts))
            .expect("the ring has room")
    }

    fn send(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    fn is_closed(&mut self) -> bool {
        self.socket.write_all(b"x").is_err()
    }

    /// Changes the memory of the ring, as a hostile process could.
    fn scribble(&self, at: u64, word: u64) {
        let file = self.ring.as_fd().try_clone_to_owned().unwrap();
        let word = word.to_ne_bytes();
        File::from(file).write_all_at(&word, at).unwrap();
    }
}

fn hello(version: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::Hello(Hello {
        version,
        daemon: None,
    })
    .encode(&mut bytes);
    bytes
}

fn close(document: &[u8]) -> Message<'_> {
    Message::Close {
        id: "53995c3f42cd8ad8".parse().unwrap(),
        document,
    }
}

const NOTHING: [&str; 0] = [];
