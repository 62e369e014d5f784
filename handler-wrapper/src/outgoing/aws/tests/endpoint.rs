//! An HTTP endpoint that sends given responses and returns the requests.

use std::collections::VecDeque;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Behaviour of the endpoint for one request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// Status and body.
    Http(u16, String),
    /// Status, one more header, and body.
    With(u16, (&'static str, &'static str), String),
    /// No answer, on an open connection.
    Hang,
    /// The head of an answer, and then nothing.
    Stall,
    /// The head of an answer of this status, and then the end of the connection.
    Cut(u16),
    /// No answer, the connection is closed.
    Close,
}

impl Answer {
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self::Http(200, body.into())
    }

    pub(super) fn http(status: u16, body: impl Into<String>) -> Self {
        Self::Http(status, body.into())
    }
}

/// Sends the head of an answer.
async fn begin(stream: &mut TcpStream, status: u16) {
    let head = format!("HTTP/1.1 {status} -\r\ncontent-length: 10\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
}

/// A received request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    head: String,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}: ");
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    }

    pub(super) fn trace_header(&self) -> Option<String> {
        self.header("x-amzn-trace-id")
    }
}

/// An endpoint that listens until it is dropped.
pub(super) struct Endpoint {
    pub(super) url: String,
    requests: mpsc::UnboundedReceiver<Request>,
    task: tokio::task::JoinHandle<()>,
}

impl Endpoint {
    /// Starts an endpoint that sends `answers` in the order of requests.
    pub(super) async fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, requests) = mpsc::unbounded_channel();
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Some(answer) = answers.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                // A client that times out disconnects; its response counts as sent.
                let Some(request) = read(&mut stream).await else {
                    continue;
                };
                // The receiver may be dropped.
                let _ = tell.send(request);
                match answer {
                    Answer::Http(status, body) => {
                        respond(&mut stream, status, ("x-extra", "none"), &body).await;
                    }
                    Answer::With(status, header, body) => {
                        respond(&mut stream, status, header, &body).await;
                    }
                    Answer::Hang => held.push(stream),
                    Answer::Stall => {
                        begin(&mut stream, 200).await;
                        held.push(stream);
                    }
                    Answer::Cut(status) => begin(&mut stream, status).await,
                    Answer::Close => {}
                }
            }
            std::future::pending::<()>().await;
        });
        Self {
            url,
            requests,
            task,
        }
    }

    /// Waits for the next request.
    pub(super) async fn request(&mut self) -> Request {
        self.requests.recv().await.unwrap()
    }

    /// Returns the trace headers of all received requests.
    pub(super) fn trace_headers(&mut self) -> Vec<Option<String>> {
        std::iter::from_fn(|| self.requests.try_recv().ok())
            .map(|request| request.trace_header())
            .collect()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a request. Returns `None` if the client disconnects first.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut request = Vec::new();
    let (head, read) = loop {
        more(stream, &mut request).await?;
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(request[..end].to_vec()).unwrap();
            break (head, request.split_off(end + 4));
        }
    };
    let mut request = Request {
        head,
        body: String::new(),
    };
    let length = request
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = read;
    while body.len() < length {
        more(stream, &mut body).await?;
    }
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(buffer).await.ok()?;
    (read > 0).then_some(())
}

async fn respond(stream: &mut TcpStream, status: u16, extra: (&str, &str), body: &str) {
    // S3 has a second id and another name for the first.
    let id = if extra.0 == "x-amz-id-2" {
        "x-amz-request-id"
    } else {
        "x-amzn-requestid"
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{id}: req-1\r\n\
         content-type: application/x-amz-json-1.0\r\n{}: {}\r\nconnection: close\r\n\r\n",
        body.len(),
        extra.0,
        extra.1,
    );
    // The client may have disconnected.
    let _ = stream.write_all((head + body).as_bytes()).await;
}
