//! All operations but `GetTraceSummaries`, and the daemon's port.

use aws_sdk_xray::types::SamplingStatisticsDocument;
use serde_json::{Value, json};

use crate::support::{HEADER, START, World, at, segment, trace_id};

#[tokio::test(flavor = "multi_thread")]
async fn compiled_trace_contains_independent_and_inferred_parts() {
    let world = World::new().await;
    let own = json!({
        "trace_id": trace_id(1), "id": "00000000000000cc", "parent_id": format!("{:016x}", 1),
        "type": "subsegment", "name": "check", "start_time": START + 1.0,
        "end_time": START + 1.1, "metadata": { "default": { "deep": [1, { "two": null }] } },
    });
    world.put([own, segment(1)]).await;
    let unknown = trace_id(99);
    let call = world
        .client
        .batch_get_traces()
        .trace_ids(trace_id(1))
        .trace_ids(unknown);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.traces().len(), 1);
    assert_eq!(answer.traces()[0].duration(), Some(0.25));
    let documents: Vec<Value> = answer.traces()[0]
        .segments()
        .iter()
        .map(|segment| serde_json::from_str(segment.document().unwrap()).unwrap())
        .collect();
    assert_eq!(documents.len(), 2, "{documents:#?}");
    let inner = documents[0]["subsegments"].as_array().unwrap();
    let mut names: Vec<_> = inner
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["DynamoDB", "check"]);
    let check = inner.iter().find(|it| it["name"] == "check").unwrap();
    assert_eq!(
        check["metadata"]["default"]["deep"][1],
        json!({ "two": null })
    );
    assert!(check["trace_id"].is_null());
    assert_eq!(documents[1]["inferred"], true);
    assert_eq!(
        documents[1]["parent_id"],
        format!("{:016x}", 0x1_0000_0001u64)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_document_is_named_with_code_and_cause() {
    let world = World::new().await;
    let mut other = segment(2);
    other["trace_id"] = json!("1-581cf771-short");
    let call = world.client.put_trace_segments();
    let call = call.trace_segment_documents(segment(1).to_string());
    let call = call
        .trace_segment_documents(other.to_string())
        .trace_segment_documents("no JSON");
    let answer = call.send().await.unwrap();
    let unprocessed = answer.unprocessed_trace_segments();
    assert_eq!(unprocessed.len(), 2);
    assert_eq!(unprocessed[0].error_code(), Some("InvalidTraceId"));
    assert_eq!(unprocessed[0].id(), Some("0000000000000002"));
    let message = unprocessed[0].message().unwrap();
    assert!(
        message.starts_with("Invalid segment. ErrorCode: InvalidTraceId"),
        "{message}"
    );
    assert_eq!(
        (unprocessed[1].error_code(), unprocessed[1].id()),
        (Some("ParseError"), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_request_has_a_reason_that_the_client_reads() {
    let world = World::new().await;
    let summaries = || {
        world
            .client
            .get_trace_summaries()
            .start_time(at(1.0))
            .end_time(at(2.0))
    };
    let errors = [
        (
            summaries()
                .filter_expression("duration > fast")
                .send()
                .await
                .unwrap_err(),
            "position 12",
        ),
        (
            summaries().next_token("x").send().await.unwrap_err(),
            "NextToken",
        ),
        (
            summaries().end_time(at(0.0)).send().await.unwrap_err(),
            "StartTime",
        ),
        (
            summaries()
                .filter_expression("group(\"none\")")
                .send()
                .await
                .unwrap_err(),
            "",
        ),
    ];
    for (error, part) in errors {
        let error = error.into_service_error();
        assert!(error.is_invalid_request_exception(), "{error:?}");
        let message = error.meta().message().unwrap();
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn graphs_connect_client_service_and_table() {
    let world = World::new().await;
    world.put((1..=3).map(segment)).await;
    let period = world
        .client
        .get_service_graph()
        .start_time(at(START))
        .end_time(at(START + 9.0));
    let services = period.send().await.unwrap().services.unwrap();
    let trace = world
        .client
        .get_trace_graph()
        .trace_ids(trace_id(1))
        .send()
        .await
        .unwrap();
    for (services, count) in [(services.as_slice(), 3), (trace.services(), 1)] {
        let shop = services
            .iter()
            .find(|it| it.r#type() == Some("AWS::Lambda::Function"))
            .unwrap();
        assert_eq!((shop.name(), shop.root()), (Some("shop"), Some(true)));
        assert_eq!(
            shop.summary_statistics().unwrap().total_count(),
            Some(count)
        );
        let table = services
            .iter()
            .find(|it| it.name() == Some("orders"))
            .unwrap();
        assert_eq!(table.r#type(), Some("AWS::DynamoDB::Table"));
        let edge = &shop.edges()[0];
        assert_eq!(edge.reference_id(), table.reference_id());
        assert_eq!(edge.summary_statistics().unwrap().ok_count(), Some(count));
        assert!(services.iter().any(|it| it.r#type() == Some("client")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn series_counts_the_selected_part_of_each_period() {
    let world = World::new().await;
    // Two traces in one minute, one in the next.
    world.put([segment(0), segment(1), segment(60)]).await;
    let series = async |selector: Option<&str>| {
        let call = world.client.get_time_series_service_statistics().period(60);
        let call = call
            .start_time(at(START - 60.0))
            .end_time(at(START + 120.0));
        let call = call.set_entity_selector_expression(selector.map(str::to_owned));
        call.send()
            .await
            .unwrap()
            .time_series_service_statistics
            .unwrap()
    };
    let of_service: Vec<_> = series(Some(
        "service(id(name: \"shop\", type: \"AWS::Lambda::Function\"))",
    ))
    .await
    .iter()
    .map(|entry| {
        entry
            .service_summary_statistics()
            .unwrap()
            .total_count()
            .unwrap()
    })
    .collect();
    assert_eq!(of_service.iter().sum::<i64>(), 3);
    assert_eq!(of_service.len(), 2);
    // Client to shop, and shop to table.
    let of_edges = series(None).await;
    let counts = of_edges
        .iter()
        .map(|it| it.edge_summary_statistics().unwrap().ok_count().unwrap());
    assert_eq!(counts.sum::<i64>(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn group_is_a_named_filter() {
    let world = World::new().await;
    world.put((1..=4).map(segment)).await;
    let client = &world.client;
    let filter = r#"annotation.order_id = "A-2""#;
    let created = client
        .create_group()
        .group_name("second")
        .filter_expression(filter);
    let group = created.clone().send().await.unwrap().group.unwrap();
    let arn = group.group_arn().unwrap().to_owned();
    assert!(arn.ends_with("group/second"), "{arn}");
    assert!(
        created
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_invalid_request_exception()
    );
    let graph = client.get_service_graph().group_name("second");
    let graph = graph
        .start_time(at(START))
        .end_time(at(START + 9.0))
        .send()
        .await
        .unwrap();
    let shop = graph
        .services()
        .iter()
        .find(|it| it.root() == Some(true))
        .unwrap();
    assert_eq!(shop.summary_statistics().unwrap().total_count(), Some(1));
    let update = client
        .update_group()
        .group_arn(&arn)
        .filter_expression("duration > 1");
    update.send().await.unwrap();
    let found = client
        .get_group()
        .group_name("second")
        .send()
        .await
        .unwrap()
        .group
        .unwrap();
    assert_eq!(found.filter_expression(), Some("duration > 1"));
    assert_eq!(client.get_groups().send().await.unwrap().groups().len(), 1);
    client.delete_group().group_arn(&arn).send().await.unwrap();
    let missing = client
        .get_group()
        .group_name("second")
        .send()
        .await
        .unwrap_err();
    assert!(missing.into_service_error().is_invalid_request_exception());
}

#[tokio::test(flavor = "multi_thread")]
async fn sampling_and_settings_have_the_services_defaults() {
    let world = World::new().await;
    let client = &world.client;
    let rules = client.get_sampling_rules().send().await.unwrap();
    let rule = rules.sampling_rule_records()[0].sampling_rule().unwrap();
    assert_eq!((rule.rule_name(), rule.version()), (Some("Default"), 1));
    let statistics = |name: &str| {
        SamplingStatisticsDocument::builder()
            .rule_name(name)
            .client_id("0123456789abcdef01234567")
            .timestamp(at(START))
            .request_count(1)
            .sampled_count(1)
            .build()
            .unwrap()
    };
    let targets = client
        .get_sampling_targets()
        .sampling_statistics_documents(statistics("Default"))
        .sampling_statistics_documents(statistics("Other"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        targets.sampling_target_documents()[0].rule_name(),
        Some("Default")
    );
    assert_eq!(
        targets.unprocessed_statistics()[0].rule_name(),
        Some("Other")
    );
    let summaries = client
        .get_sampling_statistic_summaries()
        .send()
        .await
        .unwrap();
    assert!(summaries.sampling_statistic_summaries().is_empty());
    let encryption = client.get_encryption_config().send().await.unwrap();
    assert_eq!(
        encryption
            .encryption_config()
            .unwrap()
            .status()
            .unwrap()
            .as_str(),
        "ACTIVE"
    );
    let record = aws_sdk_xray::types::TelemetryRecord::builder().timestamp(at(START));
    let record = record.segments_sent_count(3).build().unwrap();
    client
        .put_telemetry_records()
        .telemetry_records(record)
        .send()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn document_that_arrives_by_datagram_is_served() {
    let world = World::new().await;
    world
        .udp()
        .send(format!("{HEADER}{}", segment(5)).as_bytes())
        .unwrap();
    world
        .until("the document", |store| store.counts().stored == 1)
        .await;
    let answer = world
        .client
        .batch_get_traces()
        .trace_ids(trace_id(5))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.traces()[0].id(), Some(trace_id(5).as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn burst_of_datagrams_is_stored_whole() {
    let world = World::new().await;
    let socket = world.udp();
    let datagrams: Vec<_> = (0..10_000)
        .map(|number| format!("{HEADER}{}", segment(number)))
        .collect();
    tokio::task::block_in_place(|| {
        for datagram in &datagrams {
            socket.send(datagram.as_bytes()).unwrap();
        }
    });
    let sent = |store: &tracestitch_traces::store::Store| {
        let counts = store.counts();
        counts.stored + counts.lost >= 10_000
    };
    world.until("10,000 documents", sent).await;
    assert_eq!(world.store.counts().lost, 0);
    let totals = tokio::task::block_in_place(|| world.store.totals().unwrap());
    assert_eq!((totals.traces, totals.documents), (10_000, 10_000));
}
