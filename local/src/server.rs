//! An HTTP server on a free port of 127.0.0.1 that serves programs of this machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracestitch_traces::api::refuse_foreign;

/// A task that is aborted on drop.
#[derive(Debug)]
pub(crate) struct Task(pub(crate) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A running server; it stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _task: Task,
}

impl Server {
    /// Serves `router`, except for requests that a foreign web page has caused.
    pub(crate) async fn start(router: Router) -> io::Result<Self> {
        let router = router.layer(middleware::from_fn(refuse_foreign));
        Self::run(|listener| async move {
            // Ends only with the task: axum retries a failed accept.
            let _ = axum::serve(listener, router).await;
        })
        .await
    }

    /// Runs a server of another crate, which applies its own rules.
    pub(crate) async fn run<F>(serve: impl FnOnce(TcpListener) -> F) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            address,
            _task: Task(tokio::spawn(serve(listener))),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
