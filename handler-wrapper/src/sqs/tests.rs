use serde_json::json;

use super::*;
use crate::testing::{Kept, PARENT, ROOT, SAMPLED};

fn message(id: &str, header: &str) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.message_id = Some(id.to_owned());
    message.event_source_arn = Some("arn:aws:sqs:eu-west-1:123456789012:orders".to_owned());
    message
        .attributes
        .insert("ApproximateReceiveCount".to_owned(), "2".to_owned());
    message
        .attributes
        .insert("SentTimestamp".to_owned(), "1478293361000".to_owned());
    if !header.is_empty() {
        message
            .attributes
            .insert("AWSTraceHeader".to_owned(), header.to_owned());
    }
    message
}

fn batch(messages: impl IntoIterator<Item = SqsMessage>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = messages.into_iter().collect();
    event
}

fn producer(digit: char) -> (String, String) {
    let root = format!("1-5759e988-{}", digit.to_string().repeat(24));
    let parent = digit.to_string().repeat(16);
    (format!("Root={root};Parent={parent};Sampled=1"), root)
}

fn failures(response: &SqsBatchResponse) -> Vec<&str> {
    response
        .batch_item_failures
        .iter()
        .map(|f| &*f.item_identifier)
        .collect()
}

#[tokio::test]
async fn each_message_is_a_segment_in_its_producers_trace() {
    let kept = Kept::default();
    let (a, b) = (producer('a'), producer('b'));
    let event = batch([message("m-a", &a.0), message("m-b", &b.0)]);
    let response = kept
        .invoke(
            SAMPLED,
            each(event, |message| async move {
                let id = message.message_id.unwrap();
                crate::capture(format!("work {id}"), async {}).await;
                Ok::<_, std::fmt::Error>(())
            }),
        )
        .await;
    assert!(failures(&response).is_empty());

    let invocation = kept.closed().pop().unwrap();
    assert_eq!(invocation["trace_id"], ROOT);
    for (id, (_, root), parent) in [("m-a", &a, 'a'), ("m-b", &b, 'b')] {
        let work = kept.one(&format!("work {id}"));
        let documents = kept.closed();
        let find = |id: &Value| documents.iter().find(|d| d["id"] == *id).unwrap();
        let segment = find(&work["parent_id"]);
        assert_eq!(segment["name"], "order-worker");
        assert_eq!(
            (&segment["trace_id"], &work["trace_id"]),
            (&json!(root), &json!(root))
        );
        assert_eq!(segment["parent_id"], json!(parent.to_string().repeat(16)));
        assert_eq!(segment["origin"], "AWS::Lambda::Function");
        assert!(segment.get("type").is_none());
        let facts = &segment["metadata"]["sqs"];
        assert_eq!(
            (&facts["message_id"], &facts["receive_count"]),
            (&json!(id), &json!(2))
        );
        assert!(facts["queue_ms"].as_i64().unwrap() > 0);

        // The two traces point at each other.
        let pointer = find(&segment["links"][0]["id"]);
        assert_eq!(
            (&pointer["name"], &pointer["trace_id"]),
            (&json!("orders"), &json!(ROOT))
        );
        assert_eq!(pointer["parent_id"], invocation["id"]);
        assert_eq!(
            pointer["links"],
            json!([{ "trace_id": root, "id": segment["id"] }])
        );
    }
}

#[tokio::test]
async fn only_what_failed_comes_back() {
    let kept = Kept::default();
    let headers = ['a', 'b', 'c'].map(|digit| producer(digit).0);
    let event = batch(
        headers
            .iter()
            .zip(["ok", "err", "panic"])
            .map(|(h, id)| message(id, h)),
    );
    let response = kept
        .invoke(
            SAMPLED,
            each(event, |message| async move {
                match message.message_id.as_deref() {
                    Some("err") => Err(std::io::Error::other("no stock")),
                    Some("panic") => panic!("poison"),
                    _ => Ok(()),
                }
            }),
        )
        .await;
    assert_eq!(failures(&response), ["err", "panic"]);
    let faults: Vec<_> = kept
        .closed()
        .into_iter()
        .filter(|document| document.get("origin").is_some())
        .map(|document| document["cause"]["exceptions"][0]["message"].clone())
        .collect();
    assert_eq!(faults, [json!(null), json!("no stock"), json!("poison")]);
}

#[tokio::test]
async fn what_is_not_sampled_is_carried_on_and_not_recorded() {
    let kept = Kept::default();
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    for invocation in [SAMPLED.to_owned(), header.clone(), String::new()] {
        let event = batch([message("m", &header)]);
        let expected = &header;
        let response = kept
            .invoke(
                &invocation,
                each(event, |_| async move {
                    let outgoing = Context::current().trace_header().unwrap().to_string();
                    assert_eq!(&outgoing, expected);
                    crate::capture("inner", async {}).await;
                    Ok::<_, std::fmt::Error>(())
                }),
            )
            .await;
        assert!(failures(&response).is_empty());
    }
    assert!(
        kept.closed()
            .iter()
            .all(|d| d["name"] != "inner" && d.get("origin").is_none())
    );
}

#[tokio::test]
async fn without_context_a_message_is_handled_in_the_invocations_trace() {
    let kept = Kept::default();
    kept.invoke(
        SAMPLED,
        each(batch([message("m", "")]), |_| async {
            crate::capture("inner", async {}).await;
            Err::<(), _>("no stock".parse::<i32>().unwrap_err())
        }),
    )
    .await;
    let around = kept.one("orders");
    assert_eq!(kept.one("inner")["parent_id"], around["id"]);
    assert_eq!(
        (&around["trace_id"], &around["fault"]),
        (&json!(ROOT), &json!(true))
    );
}

#[tokio::test]
async fn a_sampled_message_is_recorded_in_an_invocation_without_a_trace() {
    let kept = Kept::default();
    let (header, root) = producer('a');
    kept.invoke(
        "",
        each(batch([message("m", &header)]), |_| async {
            Ok::<_, std::fmt::Error>(())
        }),
    )
    .await;
    let documents = kept.closed();
    assert_eq!(documents.len(), 1, "{documents:?}");
    assert_eq!(documents[0]["trace_id"], json!(root));
}

#[tokio::test]
async fn outside_an_invocation_messages_are_just_handled() {
    let event = batch([message("m-1", &producer('a').0), message("m-2", "")]);
    let response = each(event, |message| async move {
        assert!(Context::current().trace_header().is_none());
        message
            .message_id
            .filter(|id| id == "m-1")
            .ok_or(std::fmt::Error)
    })
    .await;
    assert_eq!(failures(&response), ["m-2"]);
}
