//! `GetTraceSummaries`.

use aws_sdk_xray::types::TimeRangeType;
use serde_json::{Value, json};

use crate::support::{START, World, at, segment, trace_id};

#[tokio::test(flavor = "multi_thread")]
async fn summary_has_the_facts_of_the_trace() {
    let world = World::new().await;
    world.put([segment(7)]).await;
    let call = world
        .client
        .get_trace_summaries()
        .start_time(at(START))
        .end_time(at(START + 60.0));
    let answer = call.send().await.unwrap();
    let summaries = answer.trace_summaries();
    assert_eq!(
        (summaries.len(), answer.traces_processed_count()),
        (1, Some(1))
    );
    let summary = &summaries[0];
    assert_eq!(summary.id(), Some(trace_id(7).as_str()));
    assert_eq!(
        (summary.duration(), summary.response_time()),
        (Some(0.25), Some(0.25))
    );
    assert_eq!(
        (summary.is_partial(), summary.has_fault()),
        (Some(false), Some(false))
    );
    let http = summary.http().unwrap();
    assert_eq!(
        (http.http_method(), http.http_status()),
        (Some("POST"), Some(202))
    );
    let values = &summary.annotations().unwrap()["order_id"];
    let text = values[0]
        .annotation_value()
        .unwrap()
        .as_string_value()
        .unwrap();
    assert_eq!(text, "A-7");
    assert_eq!(values[0].service_ids()[0].name(), Some("shop"));
    assert_eq!(summary.users()[0].user_name(), Some("ann"));
    assert_eq!(
        summary.entry_point().unwrap().r#type(),
        Some("AWS::Lambda::Function")
    );
    let mut services: Vec<_> = summary
        .service_ids()
        .iter()
        .map(|it| it.name().unwrap())
        .collect();
    services.sort_unstable();
    assert_eq!(services, ["DynamoDB", "shop"]);
    assert!(summary.revision() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn segment_in_progress_makes_the_trace_partial_until_it_is_complete() {
    let world = World::new().await;
    let mut open = segment(1);
    let members = open.as_object_mut().unwrap();
    members.remove("end_time");
    members.remove("subsegments");
    members.insert("in_progress".to_owned(), true.into());
    let state = async || {
        let call = world
            .client
            .get_trace_summaries()
            .start_time(at(START))
            .end_time(at(START + 9.0));
        let summary = call.send().await.unwrap().trace_summaries()[0].clone();
        (summary.is_partial().unwrap(), summary.revision())
    };
    world.put([open]).await;
    let (is_partial, first) = state().await;
    assert!(is_partial);
    world.put([segment(1)]).await;
    let (is_partial, second) = state().await;
    assert!(!is_partial && second > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_contain_every_trace_once() {
    let world = World::new().await;
    world.put((1..=250).map(segment)).await;
    let call = world
        .client
        .get_trace_summaries()
        .start_time(at(START))
        .end_time(at(START + 999.0));
    let mut pages = call
        .filter_expression("service(\"shop\")")
        .into_paginator()
        .send();
    let (mut ids, mut count) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        ids.extend(
            page.trace_summaries()
                .iter()
                .map(|it| it.id().unwrap().to_owned()),
        );
        count += 1;
    }
    let expected: Vec<_> = (1..=250).rev().map(trace_id).collect();
    assert_eq!(ids, expected);
    assert!(count >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_selects_traces_by_index_and_by_evaluation() {
    let world = World::new().await;
    let mut documents: Vec<Value> = (1..=20).map(segment).collect();
    documents[4]["end_time"] = json!(START + 5.0 + 3.0);
    documents[6]["fault"] = json!(true);
    world.put(documents).await;
    for (filter, expected) in [
        (r#"annotation.order_id = "A-3""#, vec![3]),
        (r#"annotation.order_id = "A-99""#, vec![]),
        ("duration > 2", vec![5]),
        ("annotation.parity = 1 AND duration > 2", vec![5]),
        ("fault", vec![7]),
        (r#"fault OR annotation[order_id] = "A-3""#, vec![7, 3]),
        (
            r#"!(annotation.order_id BEGINSWITH "A-1") AND annotation.parity = 0"#,
            vec![20, 8, 6, 4, 2],
        ),
        (r#"edge("shop", "DynamoDB") AND duration >= 3"#, vec![5]),
    ] {
        let call = world.client.get_trace_summaries().filter_expression(filter);
        let call = call.start_time(at(START)).end_time(at(START + 99.0));
        let answer = call.send().await.unwrap();
        let ids: Vec<_> = answer
            .trace_summaries()
            .iter()
            .map(|it| it.id().unwrap())
            .collect();
        let expected: Vec<_> = expected.into_iter().map(trace_id).collect();
        assert_eq!(ids, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_range_refers_to_start_arrival_or_end() {
    let world = World::new().await;
    world.put([segment(0)]).await;
    let count = async |kind: TimeRangeType, from: f64, to: f64| {
        let call = world.client.get_trace_summaries().time_range_type(kind);
        let answer = call
            .start_time(at(from))
            .end_time(at(to))
            .send()
            .await
            .unwrap();
        answer.trace_summaries().len()
    };
    assert_eq!(count(TimeRangeType::TraceId, START, START + 0.1).await, 1);
    assert_eq!(
        count(TimeRangeType::TraceId, START + 0.1, START + 1.0).await,
        0
    );
    assert_eq!(
        count(TimeRangeType::Service, START + 0.1, START + 1.0).await,
        1
    );
    assert_eq!(count(TimeRangeType::Service, START, START + 0.1).await, 0);
    assert_eq!(count(TimeRangeType::Event, START, START + 1.0).await, 0);
    assert_eq!(count(TimeRangeType::Event, START + 1.0, 9e9).await, 1);
}
