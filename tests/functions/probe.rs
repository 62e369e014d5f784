//! A wrapped function that does what its event demands.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};
use tracestitch::aws::TraceInterceptor;

/// The event: `{"do": "echo"}` and so on.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Task {
    /// Answers with the trace header that the runtime got.
    Echo,
    /// The handler returns an error.
    Fail { message: String },
    /// The handler panics.
    Panic { message: String },
    /// The process ends.
    Exit { code: i32 },
    /// The handler sleeps.
    Sleep { millis: u64 },
    /// Records `count` subsegments, one after another, each with an annotation.
    Subsegments { count: u32 },
    /// Records subsegments inside each other, of which the innermost fails.
    Nested { depth: u32 },
    /// Makes an AWS call.
    Call { operation: Operation },
    /// Makes an AWS call and cancels it after a time.
    Cancel {
        operation: Operation,
        after_millis: u64,
    },
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Operation {
    PutItem,
    GetItem,
    SendMessage,
    SendMessageBatch,
}

/// AWS clients, created in the init phase.
#[derive(Debug)]
struct Clients {
    table: aws_sdk_dynamodb::Client,
    queue: aws_sdk_sqs::Client,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let clients = Clients {
        table: aws_sdk_dynamodb::Client::from_conf(
            aws_sdk_dynamodb::config::Builder::from(&shared)
                .interceptor(TraceInterceptor::new())
                .build(),
        ),
        queue: aws_sdk_sqs::Client::from_conf(
            aws_sdk_sqs::config::Builder::from(&shared)
                .interceptor(TraceInterceptor::new())
                .build(),
        ),
    };
    let clients = &clients;
    tracestitch::run(service_fn(|event| handler(clients, event))).await
}

async fn handler(clients: &Clients, event: LambdaEvent<Task>) -> Result<Value, Error> {
    match event.payload {
        Task::Echo => {}
        Task::Fail { message } => return Err(message.into()),
        Task::Panic { message } => panic!("{message}"),
        Task::Exit { code } => std::process::exit(code),
        Task::Sleep { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
        Task::Subsegments { count } => {
            for number in 0..count {
                tracestitch::capture("step", async {
                    tracestitch::annotate("number", i64::from(number));
                })
                .await;
            }
        }
        Task::Nested { depth } => {
            // The innermost subsegment fails, not the handler.
            let _ = nested(depth).await;
        }
        Task::Call { operation } => call(clients, operation).await?,
        Task::Cancel {
            operation,
            after_millis,
        } => {
            let limit = Duration::from_millis(after_millis);
            let _ = tokio::time::timeout(limit, call(clients, operation)).await;
        }
    }
    Ok(json!({ "trace": event.context.xray_trace_id }))
}

async fn nested(depth: u32) -> Result<(), Error> {
    let level = format!("level {depth}");
    tracestitch::try_capture(level, async {
        if depth == 0 {
            Err("the innermost fails".into())
        } else {
            Box::pin(nested(depth - 1)).await
        }
    })
    .await
}

async fn call(clients: &Clients, operation: Operation) -> Result<(), Error> {
    let table = std::env::var("TABLE_NAME")?;
    let queue = std::env::var("QUEUE_URL")?;
    let key = AttributeValue::S("o-1".to_owned());
    match operation {
        Operation::PutItem => {
            clients
                .table
                .put_item()
                .table_name(table)
                .item("orderId", key)
                .send()
                .await?;
        }
        Operation::GetItem => {
            clients
                .table
                .get_item()
                .table_name(table)
                .key("orderId", key)
                .send()
                .await?;
        }
        Operation::SendMessage => {
            clients
                .queue
                .send_message()
                .queue_url(queue)
                .message_body("{}")
                .send()
                .await?;
        }
        Operation::SendMessageBatch => {
            let entry = |id: &str| {
                SendMessageBatchRequestEntry::builder()
                    .id(id)
                    .message_body("{}")
                    .build()
            };
            let batch = clients.queue.send_message_batch().queue_url(queue);
            batch
                .entries(entry("a")?)
                .entries(entry("b")?)
                .send()
                .await?;
        }
    }
    Ok(())
}
