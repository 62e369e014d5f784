//! Requests and datagrams that try to harm the server.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tracestitch_traces::api::Server;
use tracestitch_traces::store::{Limits, Store};

use crate::support::{HEADER, START, World, at, segment, trace_id};

const LOCAL: &str = "Host: 127.0.0.1\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn request_of_a_foreign_web_page_is_refused() {
    let world = World::new().await;
    for (headers, status) in [
        (LOCAL, "200"),
        ("Host: localhost:2000\r\n", "200"),
        ("Host: attacker.example\r\n", "403"),
        (
            "Host: 127.0.0.1\r\nOrigin: http://attacker.example\r\n",
            "403",
        ),
        ("Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n", "403"),
        ("Host: 127.0.0.1.attacker.example\r\n", "403"),
    ] {
        let answer = world.post("/GetSamplingRules", headers, "{}").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{headers}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body_above_the_limit_is_refused_and_others_are_served() {
    let world = World::new().await;
    let length = 100 * 1024 * 1024;
    let mut request = format!(
        "POST /TraceSegments HTTP/1.1\r\n{LOCAL}Connection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.resize(length, b' ');
    let (answer, ()) = tokio::join!(world.raw(&request), world.put([segment(1)]));
    // The server may close the connection before the client has read the answer.
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
    // A client that waits for the answer before it sends the body receives it.
    let head = &request[..200];
    let head_end = head.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    let answer = world.raw(&request[..head_end]).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(
        answer.contains("x-amzn-errortype: InvalidRequestException"),
        "{answer}"
    );
    world.put([segment(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_client_errors() {
    let world = World::new().await;
    for (path, body, status) in [
        ("/TraceSummaries", "", "400"),
        ("/TraceSummaries", "not JSON", "400"),
        (
            "/TraceSummaries",
            r#"{"StartTime": NaN, "EndTime": 1}"#,
            "400",
        ),
        (
            "/TraceSummaries",
            r#"{"StartTime": 1e999, "EndTime": 1}"#,
            "400",
        ),
        (
            "/TraceSummaries",
            r#"{"StartTime": 1, "EndTime": 2, "TimeRangeType": "x"}"#,
            "400",
        ),
        ("/TraceSegments", r#"{"TraceSegmentDocuments": "x"}"#, "400"),
        ("/Traces", r#"{"TraceIds": []}"#, "400"),
        (
            "/TraceGraph",
            r#"{"TraceIds": ["'; DROP TABLE traces"]}"#,
            "400",
        ),
        (
            "/TimeSeriesServiceStatistics",
            r#"{"StartTime":1,"EndTime":2,"Period":0}"#,
            "400",
        ),
        ("/GetGroup", "{}", "400"),
        (
            "/CreateGroup",
            r#"{"GroupName": "g", "FilterExpression": "((("}"#,
            "400",
        ),
        ("/Insight", "{}", "404"),
        ("/../../etc/passwd", "{}", "404"),
    ] {
        let answer = world.post(path, LOCAL, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path} {body}: {answer}"
        );
        assert!(answer.contains("\"Message\":"), "{path}: {answer}");
    }
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = world.post("/TraceSegments", LOCAL, &nested).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_and_deep_nesting_in_a_filter_are_no_danger() {
    let world = World::new().await;
    world.put([segment(1)]).await;
    let deep = format!("{}fault{}", "(".repeat(50_000), ")".repeat(50_000));
    let not = format!("{}fault", "!".repeat(50_000));
    let sql = r#"annotation.order_id = "x' OR 1=1; DROP TABLE traces; --""#;
    for filter in [deep.as_str(), not.as_str(), sql] {
        let body = json!({ "StartTime": 0, "EndTime": 9e9, "FilterExpression": filter });
        let answer = world
            .post("/TraceSummaries", LOCAL, &body.to_string())
            .await;
        let is_none = answer.contains("\"TraceSummaries\":[]");
        assert!(answer.starts_with("HTTP/1.1 400") || is_none, "{answer}");
    }
    let answer = world
        .client
        .batch_get_traces()
        .trace_ids(trace_id(1))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.traces().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_of_10_000_subsegments_is_answered_in_documents_of_limited_depth() {
    let world = World::new().await;
    let id = |number: u64| format!("{number:016x}");
    let chain = (1..=10_000).map(|number| {
        json!({
            "trace_id": trace_id(0), "id": id(number), "parent_id": id(number - 1),
            "type": "subsegment", "name": "level", "start_time": START, "end_time": START + 1.0,
        })
    });
    world.put(std::iter::once(segment(0)).chain(chain)).await;
    let answer = world
        .client
        .batch_get_traces()
        .trace_ids(trace_id(0))
        .send()
        .await
        .unwrap();
    let segments = answer.traces()[0].segments();
    let mut count = 0;
    for segment in segments {
        // serde_json refuses more than 128 levels of JSON.
        let document: Value = serde_json::from_str(segment.document().unwrap()).unwrap();
        count += entities(&document);
    }
    // The segment, its call, the inferred table, and the chain.
    assert_eq!(count, 10_003);
}

fn entities(entity: &Value) -> usize {
    let inner = entity["subsegments"].as_array().into_iter().flatten();
    1 + inner.map(entities).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_times_and_long_names_do_not_break_an_answer() {
    let world = World::new().await;
    let mut strange = segment(1);
    strange["end_time"] = json!(253_402_300_799.0);
    strange["name"] = json!("n".repeat(60_000));
    strange["subsegments"][0]["start_time"] = json!(-62_135_596_800.0);
    strange["subsegments"][0]["end_time"] = json!(1e300);
    strange["annotations"]["<script>alert(1)</script>"] = json!("<img src=x onerror=alert(1)>");
    world.put([strange]).await;
    let client = &world.client;
    let (start, end) = (at(0.0), at(9e9));
    let summaries = client.get_trace_summaries().start_time(start).end_time(end);
    let summaries = summaries.send().await.unwrap();
    let name = summaries.trace_summaries()[0]
        .entry_point()
        .unwrap()
        .name()
        .unwrap();
    assert_eq!(name.len(), 200);
    client
        .batch_get_traces()
        .trace_ids(trace_id(1))
        .send()
        .await
        .unwrap();
    client
        .get_service_graph()
        .start_time(start)
        .end_time(end)
        .send()
        .await
        .unwrap();
    let series = client.get_time_series_service_statistics();
    series.start_time(start).end_time(end).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_invalid_datagrams_is_counted_and_delays_no_other_client() {
    let world = World::new().await;
    let socket = world.udp();
    let flood: [&[u8]; 5] = [
        b"no header",
        b"{}\n{}",
        b"\n",
        b"\xff\xfe\n\xff",
        b"{\"format\":\"json\",\"version\":1}\n{",
    ];
    let flooder = std::thread::spawn(move || {
        for number in 0..50_000 {
            let _ = socket.send(flood[number % flood.len()]);
        }
    });
    for number in 0..50 {
        world.put([segment(number)]).await;
        let found = world.client.batch_get_traces().trace_ids(trace_id(number));
        assert_eq!(found.send().await.unwrap().traces().len(), 1);
    }
    flooder.join().unwrap();
    // The kernel reports what it dropped with the next datagram.
    world
        .udp()
        .send(format!("{HEADER}{}", segment(99)).as_bytes())
        .unwrap();
    let all = |store: &Store| {
        let counts = store.counts();
        counts.refused.values().sum::<u64>() + counts.lost >= 50_000
    };
    world.until("the flood", all).await;
    world
        .until("a valid document", |store| store.counts().stored == 51)
        .await;
    let request = format!("GET /status HTTP/1.1\r\n{LOCAL}Connection: close\r\n\r\n");
    let status = world.raw(request.as_bytes()).await;
    assert!(status.contains("\"InvalidDatagram\":"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn address_that_other_machines_reach_is_refused() {
    let store = Arc::new(Store::memory(Limits::default()).unwrap());
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = Server::start(everywhere, store).await.unwrap_err();
    assert!(
        error.to_string().contains("expected a loopback address"),
        "{error}"
    );
}
