//! `ReceiveMessage` returns a message's trace header and group only on request.

use aws_sdk_sqs::{
    operation::receive_message::ReceiveMessageInput,
    types::{MessageSystemAttributeName, QueueAttributeName},
};
use aws_smithy_runtime_api::client::interceptors::context::Input;

/// Requests the trace header and, for a FIFO queue, group and sequence number, which a consumer
/// needs to keep the order. Attributes that the user requests already are not repeated. Other operations are unchanged.
pub(super) fn ask_for_attributes(input: &mut Input) {
    let Some(input) = input.downcast_mut::<ReceiveMessageInput>() else {
        return;
    };
    ask(input, MessageSystemAttributeName::AwsTraceHeader);
    // Only names of FIFO queues have this suffix (SQS developer guide, "FIFO queues").
    if input.queue_url().is_some_and(|url| url.ends_with(".fifo")) {
        ask(input, MessageSystemAttributeName::MessageGroupId);
        ask(input, MessageSystemAttributeName::SequenceNumber);
    }
}

fn ask(input: &mut ReceiveMessageInput, wanted: MessageSystemAttributeName) {
    #[expect(deprecated, reason = "users may still ask by the older parameter")]
    let older = input.attribute_names().iter();
    let asked = input
        .message_system_attribute_names()
        .iter()
        .map(MessageSystemAttributeName::as_str)
        .chain(older.map(QueueAttributeName::as_str))
        .any(|name| name == wanted.as_str() || name == "All");
    if !asked {
        let names = &mut input.message_system_attribute_names;
        names.get_or_insert_default().push(wanted);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};

    use crate::outgoing::aws::TraceInterceptor;

    /// Returns the body of the request that a real client sends.
    fn sent(queue: &str, asked: &[&str], older: &[&str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
            // The body of this request ends with a brace.
            while !request.ends_with(b"}") {
                let read = stream.read(&mut bytes).unwrap();
                request.extend_from_slice(&bytes[..read]);
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .unwrap();
            String::from_utf8(request).unwrap()
        });
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .endpoint_url(url)
            .interceptor(TraceInterceptor::new())
            .build();
        let mut call = aws_sdk_sqs::Client::from_conf(config)
            .receive_message()
            .queue_url(format!("http://q/1/{queue}"));
        for name in asked {
            call = call.message_system_attribute_names((*name).into());
        }
        for name in older {
            #[expect(deprecated, reason = "users may still use it")]
            {
                call = call.attribute_names((*name).into());
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(call.send()).unwrap();
        let request = server.join().unwrap();
        request.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    #[test]
    fn needed_attributes_are_requested_unless_the_user_did() {
        for (queue, asked, older, expected) in [
            ("orders", &[][..], &[][..], Some(r#"["AWSTraceHeader"]"#)),
            (
                "orders",
                &["SentTimestamp"],
                &[],
                Some(r#"["SentTimestamp","AWSTraceHeader"]"#),
            ),
            ("orders", &["All"], &[], Some(r#"["All"]"#)),
            (
                "orders",
                &["AWSTraceHeader"],
                &[],
                Some(r#"["AWSTraceHeader"]"#),
            ),
            ("orders", &[], &["All"], None),
            (
                "orders.fifo",
                &[],
                &[],
                Some(r#"["AWSTraceHeader","MessageGroupId","SequenceNumber"]"#),
            ),
            (
                "orders.fifo",
                &["MessageGroupId"],
                &[],
                Some(r#"["MessageGroupId","AWSTraceHeader","SequenceNumber"]"#),
            ),
            ("orders.fifo", &[], &["All"], None),
        ] {
            let sent = sent(queue, asked, older);
            let body: serde_json::Value = serde_json::from_str(&sent).unwrap();
            let names = body
                .get("MessageSystemAttributeNames")
                .map(|names| names.to_string());
            assert_eq!(names.as_deref(), expected, "{queue} {asked:?} {older:?}");
        }
    }
}
