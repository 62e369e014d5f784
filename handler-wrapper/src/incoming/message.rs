//! Properties of an SQS message that this crate reads.

use std::collections::HashMap;

use aws_lambda_events::sqs::SqsMessage;

/// A message received from SQS, in an event of Lambda or by the process itself.
///
/// Implemented for [`SqsMessage`] and, with the feature `sqs-poll`, for
/// `aws_sdk_sqs::types::Message`.
pub trait SqsRecord: sealed::Sealed {
    #[doc(hidden)]
    fn id(&self) -> Option<&str>;
    #[doc(hidden)]
    fn body(&self) -> Option<&str>;
    /// Returns a system attribute, such as `SentTimestamp`.
    #[doc(hidden)]
    fn system(&self, name: &str) -> Option<&str>;
    /// Returns the text of a message attribute, whose name may be in any case.
    #[doc(hidden)]
    fn attribute(&self, name: &str) -> Option<&str>;
    /// Returns the ARN of the queue.
    #[doc(hidden)]
    fn queue(&self) -> Option<&str>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for aws_lambda_events::sqs::SqsMessage {}
    #[cfg(feature = "sqs-poll")]
    impl Sealed for aws_sdk_sqs::types::Message {}
}

/// Looks up an attribute in any case. SQS distinguishes names by case, producers do not; the name
/// in the given case wins.
fn in_any_case<'a, V>(attributes: &'a HashMap<String, V>, name: &str) -> Option<&'a V> {
    attributes.get(name).or_else(|| {
        let named = attributes
            .iter()
            .filter(|(written, _)| written.eq_ignore_ascii_case(name));
        named
            .min_by_key(|(written, _)| written.as_str())
            .map(|(_, value)| value)
    })
}

impl SqsRecord for SqsMessage {
    fn id(&self) -> Option<&str> {
        self.message_id.as_deref()
    }

    fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    fn system(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        in_any_case(&self.message_attributes, name)?
            .string_value
            .as_deref()
    }

    fn queue(&self) -> Option<&str> {
        self.event_source_arn.as_deref()
    }
}

#[cfg(feature = "sqs-poll")]
impl SqsRecord for aws_sdk_sqs::types::Message {
    fn id(&self) -> Option<&str> {
        self.message_id()
    }

    fn body(&self) -> Option<&str> {
        self.body()
    }

    fn system(&self, name: &str) -> Option<&str> {
        let name = aws_sdk_sqs::types::MessageSystemAttributeName::from(name);
        self.attributes()?.get(&name).map(String::as_str)
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        in_any_case(self.message_attributes()?, name)?.string_value()
    }

    /// A message of the SDK does not name its queue.
    fn queue(&self) -> Option<&str> {
        None
    }
}
