//! SNS on one machine: topics that deliver to queues, with the trace rules of SNS.
//!
//! Only `Publish` is served. The request's header `X-Amzn-Trace-Id` becomes the attribute
//! `AWSTraceHeader` of each message (X-Ray developer guide, "Amazon SNS and AWS X-Ray"); message
//! attributes have no influence on it. A subscription with raw delivery gets the message alone,
//! others get it in an envelope (SNS developer guide, "Amazon SNS raw message delivery").

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use tracestitch_wire::header::{NAME, TraceHeader};
use uuid::Uuid;

use crate::account::{ACCOUNT, REGION};
use crate::server::Server;
use crate::sqs::{Queue, Sqs, SqsError};

/// A queue that receives published messages.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The queue.
    pub queue: Queue,
    /// True for raw delivery, without SNS's envelope.
    pub raw: bool,
}

/// An SNS endpoint on 127.0.0.1 with one topic; it stops when it is dropped.
#[derive(Debug)]
pub struct Topic {
    /// The topic's ARN, the value for `TopicArn`.
    pub arn: String,
    server: Server,
}

struct Delivery {
    arn: String,
    sqs: Sqs,
    subscriptions: Vec<Subscription>,
}

impl Topic {
    /// Starts an endpoint for the topic `name`.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub async fn start(name: &str, sqs: Sqs, subscriptions: Vec<Subscription>) -> io::Result<Self> {
        let arn = format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}");
        let delivery = Arc::new(Delivery {
            arn: arn.clone(),
            sqs,
            subscriptions,
        });
        let router = Router::new().fallback(answer).with_state(delivery);
        Ok(Self {
            arn,
            server: Server::start(router).await?,
        })
    }

    /// Returns the value for `AWS_ENDPOINT_URL_SNS`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.url()
    }
}

/// Answers a request of the AWS Query protocol: a form, answered by XML.
async fn answer(
    State(delivery): State<Arc<Delivery>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let field = |name: &str| {
        form_urlencoded::parse(&body)
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    let (action, topic) = (field("Action"), field("TopicArn"));
    if action != "Publish" {
        let message = format!("Action is {action:?}: only Publish is served");
        return refuse("InvalidAction", &message);
    }
    if topic != delivery.arn {
        return refuse("NotFound", &format!("Topic {topic:?} does not exist"));
    }
    let header = headers.get(NAME).and_then(|header| header.to_str().ok());
    let id = Uuid::new_v4().to_string();
    match delivery.deliver(&id, &field("Message"), header).await {
        Ok(()) => xml(
            StatusCode::OK,
            &format!(
                "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
                 <PublishResult><MessageId>{id}</MessageId></PublishResult>\
                 <ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
                 </PublishResponse>",
                Uuid::new_v4()
            ),
        ),
        Err(error) => refuse("InternalError", &error.message),
    }
}

impl Delivery {
    async fn deliver(&self, id: &str, message: &str, header: Option<&str>) -> Result<(), SqsError> {
        // An invalid header is dropped.
        let header = header.filter(|header| header.parse::<TraceHeader>().is_ok());
        for subscription in &self.subscriptions {
            let body = if subscription.raw {
                message.to_owned()
            } else {
                self.envelope(id, message)
            };
            let mut input = json!({"QueueUrl": subscription.queue.url, "MessageBody": body});
            if let Some(header) = header {
                input["MessageSystemAttributes"] =
                    json!({"AWSTraceHeader": {"DataType": "String", "StringValue": header}});
            }
            self.sqs.call("SendMessage", input).await?;
        }
        Ok(())
    }

    fn envelope(&self, id: &str, message: &str) -> String {
        json!({
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": self.arn,
            "Message": message,
            "SignatureVersion": "1",
        })
        .to_string()
    }
}

fn refuse(code: &str, message: &str) -> Response {
    let message = message.replace(['<', '>', '&'], "?");
    let body = format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
         <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>{}</RequestId></ErrorResponse>",
        Uuid::new_v4()
    );
    xml(StatusCode::BAD_REQUEST, &body)
}

fn xml(status: StatusCode, body: &str) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/xml")],
        body.to_owned(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::Value;

    use super::*;
    use crate::client;
    use crate::sqs::Settings;

    const HEADER: &str =
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    async fn received(sqs: &Sqs, queue: &Queue) -> Value {
        let input = json!({
            "QueueUrl": queue.url, "MessageSystemAttributeNames": ["All"], "WaitTimeSeconds": 5,
        });
        let mut output = sqs.call("ReceiveMessage", input).await.unwrap();
        output["Messages"][0].take()
    }

    #[tokio::test]
    async fn both_kinds_of_delivery_carry_the_header() {
        let sqs = Sqs::start().await.unwrap();
        let raw = sqs.create("raw", &Settings::default()).await.unwrap();
        let wrapped = sqs.create("wrapped", &Settings::default()).await.unwrap();
        let subscriptions = vec![
            Subscription {
                queue: raw.clone(),
                raw: true,
            },
            Subscription {
                queue: wrapped.clone(),
                raw: false,
            },
        ];
        let topic = Topic::start("orders", sqs.clone(), subscriptions)
            .await
            .unwrap();
        let form: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "Publish")
            .append_pair("TopicArn", &topic.arn)
            .append_pair("Message", "{\"a\": 1}")
            .finish();
        let answer = client::send(Method::POST, &topic.endpoint(), &[(NAME, HEADER)], form).await;
        assert_eq!(answer.unwrap().status, 200);
        for (queue, is_raw) in [(&raw, true), (&wrapped, false)] {
            let message = received(&sqs, queue).await;
            assert_eq!(message["Attributes"]["AWSTraceHeader"], HEADER);
            let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
            if is_raw {
                assert_eq!(body, json!({"a": 1}));
            } else {
                assert_eq!(
                    (&body["Type"], &body["Message"]),
                    (&json!("Notification"), &json!("{\"a\": 1}"))
                );
            }
        }
    }
}
