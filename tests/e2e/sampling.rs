//! A trace that is not sampled is not recorded, and goes on as it came.

use e2e::binaries;
use e2e::invocation::Invocation;
use e2e::world::World;

use crate::support::{NOT_SAMPLED, ROOT, order};

#[tokio::test]
async fn not_sampled_sends_nothing_and_passes_the_decision_on() {
    let world = World::start().await;
    let mut rie = world
        .function("order-api", binaries::order_api())
        .start()
        .await;

    let event = Invocation::new(order("o-1", 2).to_string()).traced(NOT_SAMPLED);
    let answer = rie.invoke(event).await;
    assert_eq!(
        answer.json()["statusCode"],
        202,
        "{}\n{}",
        answer.json(),
        rie.logs()
    );
    rie.stop().await;

    assert!(world.sound_documents().await.is_empty());
    let headers: Vec<_> = world
        .aws
        .received()
        .iter()
        .filter_map(|request| request.trace_header())
        .collect();
    assert_eq!(
        headers.len(),
        world.aws.received().len(),
        "each request has one header"
    );
    for header in headers {
        let text = header.to_string();
        assert!(text.starts_with(&format!("Root={ROOT};Parent=")), "{text}");
        assert!(text.ends_with(";Sampled=0"), "{text}");
    }
}
