//! A small HTTP client with one connection, which costs little beside the server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            address,
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), "")
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> String {
        self.send(&format!("POST {path} HTTP/1.1\r\n"), body)
    }

    /// Sends a request and returns the body of the answer, which must have a length.
    fn send(&mut self, first_line: &str, body: &str) -> String {
        // moto finds the service by the credential.
        let credential = "Credential=k/20160101/us-east-1/xray/aws4_request";
        let request = format!(
            "{first_line}Host: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0\r\n\r\n\
             {body}",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut length, mut closes) = (0, false);
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let lower = line.trim().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            closes |= lower == "connection: close";
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).unwrap();
        if closes {
            *self = Self::connect(self.address);
        }
        String::from_utf8(answer).unwrap()
    }
}
