//! Trace context of an SQS message.

use tracestitch_wire::header::TraceHeader;

use super::{fields, message::SqsRecord, names, search, text::carried};
use crate::{
    settings::carriers::{Carrier, Carriers},
    support::diagnostics::Once,
};

/// Returns the first valid header of system attribute, message attribute and body (envelope or
/// embedded field).
pub(crate) fn of_message(message: &impl SqsRecord, carriers: &Carriers) -> Option<TraceHeader> {
    static UNREADABLE: Once = Once::new();
    let system = || {
        let text = message.system(names::SYSTEM)?;
        carried(text).filter(|_| carriers.allow(Carrier::System))
    };
    let attribute = || {
        carriers
            .allow(Carrier::Attribute)
            .then(|| fields::find(|name| message.attribute(name), carriers))?
    };
    let body = || {
        let body = message.body()?;
        if !search::looks_like_json(body) {
            UNREADABLE.warn(format_args!(
                "message {} has no trace header, and its body is not JSON in which one could be: \
                 it is handled in the invocation's trace",
                message.id().unwrap_or("without id").escape_debug()
            ));
            return None;
        }
        search::find_in_body(body.as_bytes(), carriers)
    };
    system().or_else(attribute).or_else(body)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::sqs::{SqsMessage, SqsMessageAttribute};

    use super::*;

    fn header(digit: char) -> String {
        format!("Root=1-5759e988-{};Sampled=1", digit.to_string().repeat(24))
    }

    fn message(system: &str, attribute: &str, body: &str) -> SqsMessage {
        let mut message = SqsMessage::default();
        message
            .attributes
            .insert("AWSTraceHeader".to_owned(), system.to_owned());
        let mut value = SqsMessageAttribute::default();
        value.string_value = Some(attribute.to_owned());
        message
            .message_attributes
            .insert("traceHeader".to_owned(), value);
        message.body = Some(body.to_owned());
        message
    }

    #[test]
    fn first_valid_carrier_wins() {
        let body = format!(r#"{{"_traceId":"{}"}}"#, header('c'));
        for (system, attribute, body, expected, reason) in [
            (
                &*header('a'),
                &*header('b'),
                &*body,
                Some(header('a')),
                "system attribute first",
            ),
            (
                "Root=x",
                &header('b'),
                &body,
                Some(header('b')),
                "then message attribute",
            ),
            ("", "", &body, Some(header('c')), "then body"),
            ("", "", "plain text", None, "a body that is no JSON"),
            ("", "", "", None, "an empty body"),
        ] {
            let found = of_message(&message(system, attribute, body), &Carriers::default());
            assert_eq!(found.map(|header| header.to_string()), expected, "{reason}");
        }
        assert_eq!(
            of_message(&SqsMessage::default(), &Carriers::default()),
            None,
            "nothing at all"
        );
    }

    #[test]
    fn message_attribute_is_found_in_any_case() {
        let w3c = "00-5759e988aaaaaaaaaaaaaaaaaaaaaaaa-53995c3f42cd8ad8-01";
        for (attributes, state, reason) in [
            (
                &[("x-amzn-trace-id", &*header('a'))][..],
                None,
                "as HTTP libraries write it",
            ),
            (&[("TRACEHEADER", &header('a'))], None, "capitals"),
            (
                &[("Traceparent", w3c), ("TraceState", "a=1")],
                Some("a=1"),
                "of the W3C",
            ),
            (
                &[("_TRACEID", &header('b')), ("_traceId", &header('a'))],
                None,
                "as it is written here comes first",
            ),
            (
                &[("_TRACEID", &header('a')), ("_traceid", &header('b'))],
                None,
                "else in the order of the alphabet",
            ),
            (
                &[
                    ("_TRACEID", ""),
                    ("_traceId", "Root=x"),
                    ("traceid", &header('b')),
                ],
                None,
                "none of them is valid",
            ),
        ] {
            let mut message = message("", "", "{}");
            message.message_attributes.clear();
            for (name, text) in attributes {
                let mut value = SqsMessageAttribute::default();
                value.string_value = Some((*text).to_owned());
                message.message_attributes.insert((*name).to_owned(), value);
            }
            let found = of_message(&message, &Carriers::default());
            let root = found.as_ref().map(|header| header.root.to_string());
            let expected = format!("1-5759e988-{}", "a".repeat(24));
            let expected = (!reason.starts_with("none")).then_some(expected);
            assert_eq!(root, expected, "{reason}");
            let found = found.as_ref().and_then(TraceHeader::state);
            assert_eq!(found, state, "{reason}");
        }
    }

    #[test]
    fn binary_attribute_carries_nothing() {
        let mut message = message("", "", "{}");
        let mut value = SqsMessageAttribute::default();
        value.data_type = Some("Binary".to_owned());
        message
            .message_attributes
            .insert("_traceId".to_owned(), value);
        assert_eq!(of_message(&message, &Carriers::default()), None);
    }
}
