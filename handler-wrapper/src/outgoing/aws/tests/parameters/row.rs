//! A call, and what is recorded of it.

use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::super::*;

/// A call and its recorded members.
pub(super) struct Row {
    pub(super) service: &'static str,
    pub(super) operation: &'static str,
    pub(super) answer: Answer,
    /// Makes the call at a URL.
    pub(super) call: Box<dyn FnOnce(String) -> LocalBoxFuture<'static, ()>>,
    /// Its parameters and results in the `aws` block.
    pub(super) expected: Value,
}

/// The row of a call with `$call` on its builder that is answered by `$body`.
macro_rules! row {
    ($sdk:ident $service:literal $operation:literal, |$client:ident| $call:expr, $body:expr, $expected:tt $(,)?) => {
        Row {
            service: $service,
            operation: $operation,
            answer: Answer::ok($body.to_string()),
            call: Box::new(move |url| {
                Box::pin(async move {
                    let $client = client!($sdk, url);
                    $call.send().await.map(drop).unwrap();
                })
            }),
            expected: json!($expected),
        }
    };
}
pub(super) use row;

impl Row {
    /// Makes the call and compares its whole document.
    pub(super) async fn check(self) {
        let (Answer::Http(_, body) | Answer::With(.., body)) = &self.answer else {
            unreachable!("rows are answered");
        };
        let length = body.len();
        let endpoint = Endpoint::new([self.answer]).await;
        let kept = Kept::default();
        let call = (self.call)(endpoint.url.clone());
        kept.invoke(SAMPLED, call).await;
        let everything = format!("{:?}", kept.events());
        assert!(!everything.contains("s3cr3t"), "{everything}");
        let mut document = kept.one(self.service);
        let fields = document.as_object_mut().unwrap();
        for key in ["id", "start_time", "end_time"] {
            assert!(fields.remove(key).is_some(), "{key} of {}", self.operation);
        }
        let mut aws = self.expected;
        for (key, value) in [
            ("operation", json!(self.operation)),
            ("region", json!("eu-west-1")),
            ("retries", json!(0)),
            ("request_id", json!("req-1")),
        ] {
            aws[key] = value;
        }
        assert_eq!(
            document,
            json!({
                "name": self.service, "namespace": "aws", "type": "subsegment",
                "trace_id": ROOT, "parent_id": kept.one("order-worker")["id"], "aws": aws,
                "http": { "response": { "status": 200, "content_length": length } },
            })
        );
    }
}
