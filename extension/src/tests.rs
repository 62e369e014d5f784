//! Tests over several modules.

use std::net::UdpSocket;

use tracestitch_wire::delivery::Counters;
use tracestitch_wire::time::Timestamp;

use crate::documents::Documents;
use crate::flush::Flush;
use crate::interrupted::Interruption;
use crate::log::{Level, Log};
use crate::pending::{Limits, Pending};
use crate::report::Counts;

const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);

/// Generates documents: mostly usual ones, some that must be split or trimmed, and some that cannot
/// be sent or closed.
fn document(random: &mut fastrand::Rng) -> Vec<u8> {
    let filler = "x".repeat(70_000);
    let child = |n: u32| {
        format!(
            r#"{{"name":"c{n}","id":"{n}","k":"{}"}}"#,
            &filler[..40_000]
        )
    };
    match random.u32(0..40) {
        0 => format!(
            r#"{{"id":"1","subsegments":[{},{},7]}}"#,
            child(1),
            child(2)
        ),
        1 => format!(r#"{{"metadata":{{"default":{{"k":"{filler}"}}}}}}"#),
        2 => format!(r#"{{"name":"{filler}"}}"#),
        3 => filler,
        4 => "[]".to_owned(),
        _ => r#"{"start_time":1.0,"in_progress":true}"#.to_owned(),
    }
    .into_bytes()
}

#[tokio::test]
async fn counters_add_up_over_random_histories() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let present = socket.local_addr().unwrap().to_string();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let absent = free.local_addr().unwrap().to_string();
    drop(free);
    let mut random = fastrand::Rng::with_seed(7);
    let mut all = Counts::default();
    for daemon in [&present, &absent, "host.invalid:2000"] {
        for round in 0..20 {
            let mut pending = Pending::with_limits(Limits {
                bytes: 500_000,
                documents: if round % 2 == 0 { 20 } else { 1_000 },
            });
            let mut flush = Flush::new(daemon.parse().ok(), Log::new(Level::Error));
            let take = |pending: &mut Pending| {
                let finished = pending.take_finished();
                let documents = finished.iter().flat_map(|(_, documents)| documents.iter());
                documents.collect::<Documents>()
            };
            for _ in 0..random.usize(..150) {
                let (session, id) = (random.u64(..3), random.u64(1..9));
                let id = format!("{id:016x}").parse().unwrap();
                match random.u32(..20) {
                    0..8 => pending.open(session, id, &document(&mut random)),
                    8..16 => pending.close(session, id, &document(&mut random)),
                    16 => pending.discard(session, id),
                    17 => pending.discard_all(session),
                    18 => pending.interrupt(session, NOW, &Interruption::Crash),
                    _ => flush.send(None, &mut take(&mut pending)).await,
                }
            }
            (0..3).for_each(|session| pending.interrupt(session, NOW, &Interruption::Timeout));
            flush.send(None, &mut take(&mut pending)).await;
            let mut counts = *pending.counts();
            counts.delivery = counts.delivery.and(flush.counts());
            assert_eq!(
                counts.received + counts.interrupted + counts.delivery.split,
                counts.delivery.sent + counts.delivery.lost.total(),
                "{counts:?}"
            );
            all = all.and(&counts);
        }
    }
    let lost = serde_json::to_value(all.delivery.lost).unwrap();
    let reasons = lost.as_object().unwrap().len();
    assert_eq!(reasons, 5, "each reason occurred: {all:?}");
    assert!(
        all.delivery.split > 0 && all.delivery.trimmed > 0 && all.unwatched > 0,
        "{all:?}"
    );
}
