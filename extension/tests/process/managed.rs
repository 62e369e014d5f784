//! Lambda Managed Instances: no invocation events, no freeze, many invocations at a time.

use std::collections::BTreeMap;

use tracestitch_wire::handoff::Message;

use super::support::{World, segment};

const INVOCATIONS: u64 = 40;
const PROCESSES: u64 = 3;

fn id(process: u64, invocation: u64, part: u64) -> String {
    format!("{:016x}", process << 32 | invocation << 8 | part | 1 << 60)
}

#[test]
fn concurrent_invocations_of_several_processes_arrive() {
    let mut world = World::new();
    world.refuse_invoke();
    world.start(&[("TRACESTITCH_LOG", "info")]);
    world.wait_until_asked(1);
    let mut functions: Vec<_> = (0..PROCESSES).map(|_| world.function()).collect();
    let mut expected = BTreeMap::new();
    // All invocations begin, then all continue, then all but the last end: the steps of one are
    // interleaved with the steps of all others.
    for part in 0..4 {
        for invocation in 0..INVOCATIONS {
            for (process, function) in functions.iter_mut().enumerate() {
                let process = process as u64;
                let (handler, call) = (id(process, invocation, 0), id(process, invocation, 2));
                match part {
                    0 => function.open(&handler),
                    1 => function.open(&call),
                    2 => function.close(&call),
                    _ if invocation == INVOCATIONS - 1 => {
                        expected.insert(handler.clone(), true);
                        expected.insert(call, false);
                        continue;
                    }
                    _ => {
                        function.close(&handler);
                        function.end(&format!("r-{process}-{invocation}"));
                        expected.insert(handler, false);
                        expected.insert(call, false);
                    }
                }
            }
        }
    }
    let mut received = BTreeMap::new();
    let mut take = |document: serde_json::Value| {
        let id = document["id"].as_str().unwrap().to_owned();
        let fault = document["fault"] == true;
        assert_eq!(received.insert(id, fault), None, "sent twice: {document}");
    };
    // Without an end and without a signal, finished documents leave within the interval.
    let interrupted = PROCESSES as usize;
    for _ in 0..expected.len() - interrupted {
        take(world.document());
    }
    assert_eq!(world.asked(), 1, "only the shutdown is asked for");
    drop(functions);
    world.shutdown("spindown");
    for _ in 0..interrupted {
        take(world.document());
    }
    assert_eq!(received, expected);
    let (status, log) = world.end();
    assert!(status.success(), "{status}");
    let report: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
    let counts = &report["tracestitch"];
    assert_eq!(counts["sent"], expected.len());
    assert_eq!(counts["interrupted"], interrupted);
}

#[test]
fn call_without_an_end_is_closed_when_its_process_is_replaced() {
    let mut world = World::new();
    world.refuse_invoke();
    world.start(&[]);
    world.wait_until_asked(1);
    let mut first = world.function();
    first.open(&id(1, 1, 0));
    first.publish(&Message::Discard {
        ids: vec![segment(&id(1, 1, 9))],
    });
    drop(first);
    let _second = world.function();
    let document = world.document();
    let exception = &document["cause"]["exceptions"][0];
    assert_eq!(exception["type"], "FunctionLost");
    world.spin_down();
}
