//! An extension that reads on request, over a real socket and real shared memory.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use tracestitch_ring::{Reader, receive_file};
use tracestitch_wire::handoff::{Decoder, Message};

/// A listening process. The socket's folder is removed at the end of the test.
#[derive(Debug)]
pub(crate) struct Extension {
    listener: UnixListener,
    pub(crate) folder: tempfile::TempDir,
}

impl Extension {
    pub(crate) fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = bind(&folder.path().join("s"));
        Self { listener, folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Accepts a connection, which must be there already.
    #[track_caller]
    pub(crate) fn accept(&self) -> Session {
        self.try_accept().expect("no process has connected")
    }

    /// Accepts a connection if there is one.
    pub(crate) fn try_accept(&self) -> Option<Session> {
        match self.listener.accept() {
            Ok((socket, _)) => Some(Session::new(socket)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                None
            }
        }
    }

    /// Ends this process. Another one listens at the same path.
    pub(crate) fn restart(&mut self) {
        fs::remove_file(self.path()).unwrap();
        self.listener = bind(&self.path());
    }
}

fn bind(path: &std::path::Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// A session with a function. Its drop closes the socket after the ring.
#[derive(Debug)]
pub(crate) struct Session {
    // Dropped first: see `Writer::reclaim`.
    reader: Option<Reader>,
    memory: Option<File>,
    socket: UnixStream,
    decoder: Decoder,
}

impl Session {
    fn new(socket: UnixStream) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self {
            reader: None,
            memory: None,
            socket,
            decoder: Decoder::default(),
        }
    }

    /// Returns names of the messages on the socket since the last call.
    pub(crate) fn messages(&mut self) -> Vec<String> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match receive_file(&self.socket, &mut buffer) {
                Ok((0, _)) => break,
                Ok((count, file)) => {
                    self.decoder.push(&buffer[..count]);
                    if let Some(file) = file {
                        self.memory = Some(file.try_clone().unwrap().into());
                        self.reader = Some(Reader::open(file).unwrap());
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        let mut messages = Vec::new();
        while let Some(message) = self.decoder.next().unwrap() {
            messages.push(describe(&message));
        }
        messages
    }

    /// Reads the ring, without releasing it.
    pub(crate) fn peek(&mut self, mut deliver: impl FnMut(Message<'_>)) {
        if self.reader.is_none() {
            self.messages();
        }
        let reader = self.reader.as_mut().expect("no hello with a file");
        reader
            .read(|frame| deliver(Message::decode(frame).unwrap()))
            .unwrap();
    }

    /// Releases what was read.
    pub(crate) fn release(&mut self) {
        self.reader.as_mut().unwrap().release().unwrap();
    }

    /// Reads and releases the ring. Returns names of its messages.
    pub(crate) fn frames(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        self.peek(|message| frames.push(describe(&message)));
        self.release();
        frames
    }

    /// Reads and releases the ring. Returns its finished documents.
    pub(crate) fn closed(&mut self) -> Vec<Vec<u8>> {
        let mut documents = Vec::new();
        self.peek(|message| {
            if let Message::Close { document, .. } = message {
                documents.push(document.to_vec());
            }
        });
        self.release();
        documents
    }

    /// True if the function has closed the socket.
    pub(crate) fn is_over(&mut self) -> bool {
        self.messages();
        matches!(receive_file(&self.socket, &mut [0; 1]), Ok((0, _)))
    }

    /// True if the ring is in memory and not in a file on disk.
    pub(crate) fn is_mapped(&mut self) -> bool {
        self.messages();
        self.reader.as_ref().unwrap().is_mapped()
    }

    /// The memory of the ring.
    pub(crate) fn memory(&mut self) -> &File {
        self.messages();
        self.memory.as_ref().unwrap()
    }
}

/// Returns the name of a message, and the length of its document.
fn describe(message: &Message<'_>) -> String {
    match message {
        Message::Open { document, .. } => format!("open {}", document.len()),
        Message::Close { document, .. } => format!("close {}", document.len()),
        other => {
            let text = format!("{other:?}");
            text.split(['(', ' ']).next().unwrap().to_owned()
        }
    }
}
