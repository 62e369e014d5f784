//! The trace for transports that carry no header: Kinesis records, DynamoDB items, queues of
//! others.
//!
//! One call puts the current context into a JSON object or beside it as an attribute; wrapped
//! consumers find it there by themselves, and [`extract_body`] is the inverse for others.
//!
//! SQS, SNS and EventBridge need none of this: the header of the call goes with each message. In a
//! FIFO queue with content-based deduplication the field would do harm: it makes every body another
//! (SQS developer guide, "Using the message deduplication ID").
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
use super::{json, text};
use crate::{settings::carriers::Carriers, trace::context::Context};

/// Puts the header of the current context into an object, as the field [`FIELD`].
///
/// True when it is there afterwards. False outside a traced invocation, and for values that are
/// no objects, which stay as they are. A field that is there already is replaced.
pub fn inject(value: &mut Value) -> bool {
    match (value, Context::current().trace_header()) {
        (Value::Object(fields), Some(header)) => {
            fields.insert(FIELD.to_owned(), String::from(&header).into());
            true
        }
        _ => false,
    }
}

/// Name and text of a message attribute that carries the current context; None outside a traced
/// invocation.
pub fn attribute() -> Option<(&'static str, String)> {
    Some((FIELD, String::from(&Context::current().trace_header()?)))
}

/// Returns the header that a JSON text carries: in the field of [`inject`], else wherever a wrapped
/// consumer would find one. Texts over 1 MiB carry none.
pub fn extract_body(json: &[u8]) -> Option<TraceHeader> {
    with_carriers(|carriers| json::find_in_body(json, carriers))
}

/// Returns the header that the value of a message attribute carries, see [`attribute`].
pub fn extract_attribute(value: &str) -> Option<TraceHeader> {
    text::carried(value)
}

/// Returns the header that a raw event of Lambda carries for the invocation as a whole. A wrapped
/// handler uses it when the runtime has no trace with a decision.
pub fn extract_event(event: &[u8]) -> Option<TraceHeader> {
    with_carriers(|carriers| json::find_in_event(event, carriers))
}

/// Calls `read` with the carriers of the current invocation, or outside one with all.
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
    use crate::tests::kept::{Kept, SAMPLED};

    #[tokio::test]
    async fn what_was_put_in_comes_out() {
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

    /// An event of API Gateway, an envelope: each with the context by which it came here.
    #[tokio::test]
    async fn what_was_put_in_comes_out_of_what_carries_another() {
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
    fn outside_an_invocation_nothing_is_written() {
        let mut order = json!({});
        assert!(!inject(&mut order));
        assert_eq!((order, attribute()), (json!({}), None));
    }
}
