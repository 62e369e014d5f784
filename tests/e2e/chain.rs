//! A function with the extension and without it: each subsegment arrives once.

use std::time::Duration;

use e2e::binaries;
use e2e::outline::outline;
use e2e::world::World;
use serde_json::json;
use tracestitch_local::store::Document;

use crate::support::{ROOT, entities, finish, function_segment, order, sampled, the};

const EXPECTED: &str = "\
order-api
  DynamoDB aws PutItem
  SQS aws SendMessage
";

#[tokio::test]
async fn with_the_extension_every_subsegment_arrives_once() {
    let world = World::start().await;
    let mut rie = world
        .function("order-api", binaries::order_api())
        .start()
        .await;

    let answer = rie.invoke(sampled(order("o-1", 2))).await;
    assert_eq!(
        answer.json()["statusCode"],
        202,
        "{}\n{}",
        answer.json(),
        rie.logs()
    );
    rie.stop().await;

    let traces = world.sound_traces().await;
    assert_eq!(
        traces.iter().map(|trace| &*trace.id).collect::<Vec<_>>(),
        [ROOT],
        "{}",
        rie.logs()
    );
    assert_eq!(outline(&traces[0]), EXPECTED);
    assert_eq!(
        traces[0].orphans().next().unwrap().parent_id,
        Some(function_segment(&answer))
    );
}

#[tokio::test]
async fn handler_is_a_child_of_the_function_segment_of_its_invocation() {
    let world = World::start().await;
    let mut rie = world.probe().start().await;

    let mut expected = Vec::new();
    for _ in 0..3 {
        let answer = rie.invoke(sampled(json!({ "do": "echo" }))).await;
        expected.push(function_segment(&answer));
    }

    let entities = finish(&world, &mut rie).await;
    let mut parents: Vec<_> = entities
        .iter()
        .filter_map(|entity| entity["parent_id"].as_str())
        .collect();
    parents.sort_unstable();
    expected.sort_unstable();
    assert_eq!(parents, expected, "{}", rie.logs());
}

#[tokio::test]
async fn header_of_a_call_names_the_subsegment_of_the_call() {
    let world = World::start().await;
    let mut rie = world.probe().start().await;

    for operation in ["PutItem", "SendMessage", "SendMessageBatch"] {
        rie.invoke(sampled(json!({ "do": "call", "operation": operation })))
            .await;
    }

    let entities = finish(&world, &mut rie).await;
    for operation in ["PutItem", "SendMessage", "SendMessageBatch"] {
        let requests = world.aws.received_for(operation);
        assert_eq!(requests.len(), 1, "{operation}\n{}", rie.logs());
        let header = requests[0].trace_header().expect("a valid header");
        let subsegment = entities
            .iter()
            .find(|entity| entity["aws"]["operation"] == operation)
            .unwrap_or_else(|| panic!("no subsegment of {operation} in {entities:#?}"));
        assert_eq!(
            header.parent.map(|id| id.to_string()).as_deref(),
            subsegment["id"].as_str()
        );
        assert_eq!(header.root.to_string(), ROOT);
    }
}

#[tokio::test]
async fn without_the_extension_the_same_documents_arrive() {
    let with = World::start().await;
    let without = World::start().await;
    let event = json!({ "do": "nested", "depth": 3 });

    let mut shapes = Vec::new();
    for (world, function) in [
        (&with, with.probe()),
        (&without, without.probe().without_extension()),
    ] {
        let mut rie = function.start().await;
        rie.invoke(sampled(event.clone())).await;
        rie.invoke(sampled(json!({ "do": "call", "operation": "PutItem" })))
            .await;
        rie.stop().await;
        shapes.push(shape(&world.sound_documents().await));
    }

    assert!(!shapes[0].is_empty());
    assert_eq!(shapes[0], shapes[1]);
}

/// Returns the names of all documents, each with the name of its root, sorted.
fn shape(documents: &[Document]) -> Vec<String> {
    let traces = tracestitch_traces::model::Trace::build(ROOT, documents);
    let mut lines: Vec<_> = traces
        .orphans()
        .flat_map(|top| {
            traces
                .walk(top)
                .map(|node| format!("{} in {}", node.name, top.name))
        })
        .collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn many_subsegments_arrive_complete() {
    const COUNT: usize = 500;
    let world = World::start().await;
    let mut rie = world.probe().start().await;

    rie.invoke(sampled(json!({ "do": "subsegments", "count": COUNT })))
        .await;

    let entities = finish(&world, &mut rie).await;
    let mut numbers: Vec<_> = entities
        .iter()
        .filter(|entity| entity["name"] == "step")
        .filter_map(|entity| entity["annotations"]["number"].as_u64())
        .collect();
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        (0..COUNT as u64).collect::<Vec<_>>(),
        "{}",
        rie.logs()
    );
}

#[tokio::test]
async fn retried_call_is_one_subsegment_whose_id_each_attempt_carries() {
    use e2e::fake_aws::Reaction::{Answer, Error};
    let world = World::start().await;
    let busy = Error {
        status: 503,
        code: "ServiceUnavailable",
        message: "busy",
    };
    world.aws.script("PutItem", [busy.clone(), busy, Answer]);
    let mut rie = world.probe().start().await;

    rie.invoke(sampled(json!({ "do": "call", "operation": "PutItem" })))
        .await;

    let entities = finish(&world, &mut rie).await;
    let call = the(&entities, "DynamoDB");
    let parents: Vec<_> = world
        .aws
        .received_for("PutItem")
        .iter()
        .map(|request| {
            request
                .trace_header()
                .and_then(|header| header.parent)
                .map(|id| id.to_string())
        })
        .collect();
    assert_eq!(
        parents,
        vec![call["id"].as_str().map(str::to_owned); 3],
        "{}",
        rie.logs()
    );
    assert_eq!(call["aws"]["retries"], 2);
}

#[tokio::test]
async fn call_lasts_until_its_answer_and_the_handler_lasts_longer() {
    use e2e::fake_aws::Reaction::Late;
    const DELAY: Duration = Duration::from_millis(100);
    let world = World::start().await;
    world.aws.script("PutItem", [Late(DELAY)]);
    let mut rie = world.probe().start().await;

    rie.invoke(sampled(json!({ "do": "call", "operation": "PutItem" })))
        .await;

    let entities = finish(&world, &mut rie).await;
    let time = |name, member: &str| the(&entities, name)[member].as_f64().unwrap_or_default();
    let took = time("DynamoDB", "end_time") - time("DynamoDB", "start_time");
    assert!(took >= DELAY.as_secs_f64(), "{took} s");
    assert!(time("probe", "start_time") < time("DynamoDB", "start_time"));
    assert!(time("probe", "end_time") > time("DynamoDB", "end_time"));
}

#[tokio::test]
async fn nested_subsegments_form_a_tree() {
    let world = World::start().await;
    let mut rie = world.probe().start().await;

    rie.invoke(sampled(json!({ "do": "nested", "depth": 2 })))
        .await;
    rie.stop().await;

    let traces = world.sound_traces().await;
    assert_eq!(
        outline(&traces[0]),
        "probe\n  level 2 FAULT\n    level 1 FAULT\n      level 0 FAULT\n",
        "{}",
        rie.logs()
    );
    let entities = entities(&world.sound_documents().await);
    let innermost = &the(&entities, "level 0")["cause"]["exceptions"][0];
    assert_eq!(innermost["message"], "the innermost fails");
}
