//! Trace context in transports that carry no header: Kinesis records, DynamoDB items, queues of
//! other vendors.
//!
//! [`inject`] adds the current context to a JSON object, [`attribute`] returns it as a message
//! attribute. Wrapped consumers find it in either place; other consumers call [`extract_body`] or
//! [`extract_attribute`].
//!
//! SQS, SNS and EventBridge do not need this: they deliver the header of the call with each
//! message. Do not inject into messages of a FIFO queue with content-based deduplication: the field
//! makes each body unique (SQS developer guide, "Using the message deduplication ID").
//!
//! ```
//! # use tracestitch::embed;
//! let mut order = serde_json::json!({ "orderId": "o-1" });
//! embed::inject(&mut order); // adds "_traceId" inside a traced invocation
//! let found = embed::extract_body(order.to_string().as_bytes());
//! assert!(found.is_none(), "this example runs outside one");
//! ```

use serde_json::Value;
use tracestitch_wire::header::TraceHeader;

pub use super::names::FIELD;
use super::{search, text};
use crate::{settings::carriers::Carriers, trace::context::Context};

/// Adds the header of the current context to an object, as the field [`FIELD`].
///
/// Replaces the field, also under a name in another case: a consumer accepts any case. Returns true
/// if the field was added. Returns false outside a traced invocation and for a value that is not an
/// object, and then leaves the value unchanged.
pub fn inject(value: &mut Value) -> bool {
    match (value, Context::current().trace_header()) {
        (Value::Object(fields), Some(header)) => {
            fields.retain(|name, _| !name.eq_ignore_ascii_case(FIELD));
            fields.insert(FIELD.to_owned(), String::from(&header).into());
            true
        }
        _ => false,
    }
}

/// Returns name and text of a message attribute that carries the current context, or `None` outside
/// a traced invocation.
pub fn attribute() -> Option<(&'static str, String)> {
    Some((FIELD, String::from(&Context::current().trace_header()?)))
}

/// Returns the header that a JSON text carries, in the field of [`inject`] or at any other place
/// where a wrapped consumer finds one. Texts over 1 MiB carry none.
pub fn extract_body(json: &[u8]) -> Option<TraceHeader> {
    with_carriers(|carriers| search::find_in_body(json, carriers))
}

/// Returns the header that the value of a message attribute carries, see [`attribute`].
pub fn extract_attribute(value: &str) -> Option<TraceHeader> {
    text::carried(value)
}

/// Returns the header that a raw event of Lambda carries for the invocation as a whole. A wrapped
/// handler uses it when the runtime has no trace with a decision.
pub fn extract_event(event: &[u8]) -> Option<TraceHeader> {
    with_carriers(|carriers| search::read_event(event, carriers).header)
}

/// Calls `read` with the current invocation's carrier settings, or with the defaults outside one.
pub(crate) fn with_carriers<T>(read: impl FnOnce(&Carriers) -> T) -> T {
    let context = Context::current();
    match context.trace() {
        Some(trace) => read(&trace.tracer.carriers),
        None => read(&Carriers::default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::{header::SAMPLED, kept::Kept};

    #[tokio::test]
    async fn injected_context_is_extracted() {
        let unsampled = SAMPLED.replace("Sampled=1", "Sampled=0;Lineage=a87bd80c:1|68fd508a:5");
        for header in [SAMPLED, &unsampled] {
            Kept::default()
                .invoke(header, async {
                    let expected = Context::current().trace_header();
                    let mut order = json!({ "orderId": "o-1", FIELD: "old" });
                    assert!(inject(&mut order));
                    assert_eq!(extract_body(order.to_string().as_bytes()), expected);
                    let (name, text) = attribute().unwrap();
                    assert_eq!((name, extract_attribute(&text)), (FIELD, expected));
                    assert!(!inject(&mut json!([1])), "not an object");
                })
                .await;
        }
    }

    /// An event of API Gateway and envelopes, each with the context by which it arrived.
    #[tokio::test]
    async fn injected_context_wins_over_carried_ones() {
        let other = SAMPLED.replace("Root=1-5", "Root=1-6");
        for mut carrying in [
            json!({ "X-Amzn-Trace-Id": other }),
            json!({ "Headers": { "X-Amzn-Trace-Id": other } }),
            json!({ "AWSTraceHeader": other, "MessageAttributes": { "traceHeader": other } }),
            json!({ "Message": json!({ FIELD: other }).to_string() }),
        ] {
            let kept = Kept::default();
            let found = kept.invoke(SAMPLED, async {
                assert!(inject(&mut carrying));
                extract_body(carrying.to_string().as_bytes()) == Context::current().trace_header()
            });
            assert!(found.await, "{carrying}");
        }
    }

    #[test]
    fn nothing_is_injected_outside_an_invocation() {
        let mut order = json!({});
        assert!(!inject(&mut order));
        assert_eq!((order, attribute()), (json!({}), None));
    }
}
