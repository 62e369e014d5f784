//! The trace that an SQS message brings.

use aws_lambda_events::sqs::SqsMessage;
use tracestitch_wire::header::TraceHeader;

use super::{carried, json};

/// Message attributes in which producers put a header by hand.
const ATTRIBUTES: [&str; 4] = [
    "AWSTraceHeader",
    "X-Amzn-Trace-Id",
    "traceHeader",
    "_traceId",
];

/// First valid one of: system attribute, message attribute, body (envelope or embedded field).
pub(crate) fn of_message(message: &SqsMessage) -> Option<TraceHeader> {
    let system = message
        .attributes
        .get("AWSTraceHeader")
        .and_then(|text| carried(text));
    let attribute = || {
        ATTRIBUTES.iter().find_map(|name| {
            carried(
                message
                    .message_attributes
                    .get(*name)?
                    .string_value
                    .as_deref()?,
            )
        })
    };
    let body = || {
        let id = message.message_id.as_deref().unwrap_or("without id");
        json::find_in_body(id, message.body.as_deref()?)
    };
    system.or_else(attribute).or_else(body)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::sqs::SqsMessageAttribute;

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
    fn first_valid_one_wins() {
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
            let found = of_message(&message(system, attribute, body));
            assert_eq!(found.map(|header| header.to_string()), expected, "{reason}");
        }
        assert_eq!(of_message(&SqsMessage::default()), None, "nothing at all");
    }
}
