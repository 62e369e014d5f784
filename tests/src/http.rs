//! A minimal HTTP/1.1 server and client with bodies in memory.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A server on a free loopback port. Dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<Infallible>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A handler's request to break the connection (TCP reset) instead of answering.
#[derive(Debug)]
pub(crate) struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the handler breaks the connection")
    }
}

impl std::error::Error for Reset {}

/// Starts a server that answers with `handle` on a free loopback port.
pub(crate) async fn serve<H, F>(handle: H) -> io::Result<Server>
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Bytes>, Reset>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => connections.spawn(connection(stream, handle.clone())),
                // Out of file descriptors, for instance: later attempts may succeed.
                Err(_) => connections.spawn(tokio::time::sleep(Duration::from_millis(10))),
            };
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(Server { address, accepting })
}

async fn connection<H, F>(stream: TcpStream, handle: H)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Bytes>, Reset>> + Send + 'static,
{
    let Ok(stream) = stream.into_std() else {
        return;
    };
    let Ok(same_socket) = stream.try_clone() else {
        return;
    };
    let Ok(stream) = TcpStream::from_std(stream) else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let handle = handle.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
            handle(Request::from_parts(parts, body))
                .await
                .map(|reply| reply.map(Full::new))
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if served.is_err() {
        // With a linger time of zero, closing the socket sends a reset.
        let _ = socket2::SockRef::from(&same_socket).set_linger(Some(Duration::ZERO));
    }
}

/// Sends one request on a new connection; the request's URI is a path.
pub(crate) async fn send(to: SocketAddr, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
    let exchange = async {
        let reply = sender.send_request(request.map(Full::new)).await?;
        let (parts, body) = reply.into_parts();
        Ok::<_, hyper::Error>(Response::from_parts(
            parts,
            body.collect().await?.to_bytes(),
        ))
    };
    tokio::pin!(exchange);
    // Polled here instead of in a task, so that dropping this future closes the connection.
    tokio::select! {
        reply = &mut exchange => reply,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error),
        },
    }
    .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Request<Bytes> {
        Request::get(path)
            .header("host", "test")
            .body(Bytes::new())
            .unwrap()
    }

    #[tokio::test]
    async fn exchange_carries_body_and_headers() {
        let server = serve(|request| async move {
            let path = request.uri().path().to_owned();
            Ok(Response::builder()
                .header("x-path", path)
                .body(request.into_body())
                .unwrap())
        })
        .await
        .unwrap();
        let request = Request::post("/a")
            .header("host", "test")
            .body(Bytes::from("b"))
            .unwrap();

        let reply = send(server.address, request).await.unwrap();

        assert_eq!(
            (reply.headers()["x-path"].as_bytes(), &reply.body()[..]),
            (&b"/a"[..], &b"b"[..])
        );
    }

    #[tokio::test]
    async fn client_sees_a_reset() {
        let server = serve(|_| async { Err(Reset) }).await.unwrap();

        let error = send(server.address, get("/")).await.unwrap_err();

        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        let mut kinds = Vec::new();
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                kinds.push(io.kind());
            }
            cause = error.source();
        }
        assert!(kinds.contains(&io::ErrorKind::ConnectionReset), "{error:?}");
    }
}
