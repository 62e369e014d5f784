//! The server behind `AWS_LAMBDA_RUNTIME_API`: Runtime API and Extensions API on one port.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::Router;
use tokio::{net::TcpListener, task::AbortHandle};

use super::{Function, board::Board, extensions_api, runtime_api};

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    /// Serves on a free port of the loopback address.
    pub(super) async fn start(function: &Function, board: &Arc<Board>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .merge(runtime_api::routes(Arc::clone(board)))
            .merge(extensions_api::routes(function, Arc::clone(board)));
        // `axum::serve` goes on after errors of single connections and never ends by itself.
        let serve = async move { axum::serve(listener, routes).await };
        Ok(Self {
            address,
            task: tokio::spawn(serve).abort_handle(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
