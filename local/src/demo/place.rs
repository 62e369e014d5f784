//! A client that places orders.

use std::time::Duration;

use serde_json::json;
use tracestitch_wire::header::{NAME, TraceHeader};

use crate::client;
use crate::error::Result;

/// Time for each step that waits for a condition.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// An order to place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// The client's `User-Agent`.
    pub(super) client: &'static str,
    pub(super) id: &'static str,
    pub(super) item: &'static str,
    /// An order of 0 fails in order-worker.
    pub(super) quantity: i64,
}

impl Order {
    /// Sends the order to order-api, and returns the id of the trace that the gateway began for
    /// it.
    pub(super) async fn place(&self, gateway: &str) -> Result<String> {
        let url = format!("{gateway}/orders");
        let body = json!({"orderId": self.id, "item": self.item, "quantity": self.quantity});
        let headers = [("user-agent", self.client)];
        let answer = tokio::time::timeout(DEADLINE, client::post_json(&url, &headers, &body));
        let id = self.id;
        let answer = answer
            .await
            .map_err(|_| format!("order-api did not answer order {id} within {DEADLINE:?}"))??;
        if answer.status != 202 {
            let (status, body) = (answer.status, answer.body);
            let problem = format!("order-api answered order {id} with {status} {body}");
            return Err(format!("{problem}, expected 202").into());
        }
        let header = answer
            .headers
            .get(NAME)
            .and_then(|header| header.to_str().ok());
        let header: TraceHeader = header.unwrap_or_default().parse()?;
        Ok(header.root.to_string())
    }
}
