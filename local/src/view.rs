//! The trace viewer: a page on 127.0.0.1 and the JSON that it displays.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tracestitch_traces::model::{Place, Trace};

use crate::daemon::Daemon;
use crate::server::Server;

const PAGE: &str = include_str!("../assets/index.html");

/// A viewer of everything that a daemon has received; it stops when it is dropped.
///
/// `/` is the page; `/traces` is `{"traces": [...], "refused": [...]}`, with the nodes of
/// each trace in the order of the tree, oldest trace first. A web page of another origin gets 403, and so does a request for
/// another host name.
#[derive(Debug)]
pub struct Viewer(Server);

impl Viewer {
    /// Starts a viewer.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub async fn start(daemon: Arc<Daemon>) -> io::Result<Self> {
        let router = Router::new()
            .route("/", get(|| async { Html(PAGE) }))
            .route("/traces", get(traces))
            .with_state(daemon);
        Ok(Self(Server::start(router).await?))
    }

    /// Returns the page's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }
}

async fn traces(State(daemon): State<Arc<Daemon>>) -> Json<Value> {
    Json(daemon.read(|store| {
        let refused: Vec<Value> = store
            .refused()
            .iter()
            .map(|refused| json!({"field": refused.field, "reason": refused.reason}))
            .collect();
        let traces: Vec<Value> = store.traces().iter().map(rows).collect();
        json!({"traces": traces, "refused": refused})
    }))
}

fn rows(trace: &Trace) -> Value {
    let row = |node: &Place| {
        json!({
            "id": node.id, "kind": node.kind, "name": node.name, "class": node.class(),
            "start": node.start, "end": node.end, "fault": node.fault, "error": node.error,
            "throttle": node.throttle, "cause": node.cause(), "facts": node.facts(),
            "links": node.links, "depth": node.depth(), "orphan": node.is_orphan(),
        })
    };
    json!({"id": trace.id, "nodes": trace.nodes().map(row).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::client;

    #[tokio::test]
    async fn page_and_json_show_received_documents() {
        let daemon = Arc::new(Daemon::start().unwrap());
        let viewer = Viewer::start(Arc::clone(&daemon)).await.unwrap();
        let document = concat!(
            "{\"format\":\"json\",\"version\":1}\n",
            r#"{"name":"shop","id":"70de5b6f19ff9a0a","start_time":1.0,"end_time":2.5,"#,
            r#""trace_id":"1-581cf771-a006649127e371903a2de979"}"#
        );
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .send_to(document.as_bytes(), daemon.address())
            .unwrap();
        daemon
            .wait_for(
                |store| store.documents().count() == 1,
                Duration::from_secs(5),
            )
            .await
            .unwrap();
        let answer = client::get(&format!("{}/traces", viewer.url()))
            .await
            .unwrap();
        assert_eq!(answer.body["traces"][0]["nodes"][0]["name"], "shop");
        let page = client::get(&viewer.url()).await.unwrap();
        assert!(
            page.body.as_str().unwrap().contains("/traces"),
            "the page reads the JSON"
        );
    }
}
