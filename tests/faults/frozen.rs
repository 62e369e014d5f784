//! Processes are stopped (SIGSTOP) at a random moment and go on (SIGCONT) a while later, as Lambda
//! freezes and thaws them: nothing is lost, nothing comes twice, nothing is closed that lives on.

use std::time::{Duration, Instant};

use serde_json::json;
use tracestitch_local::emulator::Outcome;

use crate::moments::{Moment, Striker, Table, random, seed, tell, times};
use crate::strikes::freeze;
use crate::victim::{Victim, plenty};

/// Longest freeze: longer than the work of an invocation.
const LONGEST: Duration = Duration::from_millis(30);

#[tokio::test]
async fn function_and_extension_at_random_moments() {
    let mut table = Table::default();
    let lines = Victim::lines(2).await;
    let began = Instant::now();
    let count = times(12, 200);
    for number in 0..count {
        let mut random = random(2_000 + number);
        let moment = Moment::random(&mut random, lines);
        let victim = Victim::at_pace(number).await;
        let strike = freeze(&victim.environment, &mut random, LONGEST);
        let striker = Striker::new(moment, &victim.journal, strike);
        let outcomes = victim.invoke_all(2).await;
        striker.finish().await;
        victim.environment.shutdown().await;
        table.count(&victim.journal.entries());
        let run = format!("FAULTS_SEED={}, freeze {number} at {moment:?}", seed());
        let answered = outcomes.iter().all(|outcome| outcome.is_response());
        assert!(answered, "{run}: {outcomes:?}");
        match victim.documents("nothing").await {
            Ok(documents) => assert_eq!(documents.len(), victim.oracle().certain(), "{run}"),
            Err(problems) => panic!("{run}\n{problems}"),
        }
    }
    let took = began.elapsed();
    tell("frozen", format_args!("{count} times in {took:?}: {table}"));
}

/// The same with more documents than a socket holds, and longer than the function waits for it
/// to be read.
#[tokio::test]
async fn in_a_flood_at_random_moments() {
    const FLOOD: usize = 40;
    let began = Instant::now();
    let count = times(6, 50);
    for number in 0..count {
        let mut random = random(5_000 + number);
        let moment = Moment::random(&mut random, 3 * FLOOD * 8);
        let victim = Victim::start().await;
        let strike = freeze(&victim.environment, &mut random, Duration::from_millis(300));
        let striker = Striker::new(moment, &victim.journal, strike);
        let mut outcomes: Vec<Outcome> = Vec::new();
        for n in 1..=2 {
            let flood = json!({ "steps": FLOOD, "bytes": 8000 });
            outcomes.push(victim.invoke(n, flood).await);
            victim.settled(n).await;
        }
        striker.finish().await;
        outcomes.push(victim.invoke(3, plenty()).await);
        victim.environment.shutdown().await;
        let run = format!("FAULTS_SEED={}, freeze {number} at {moment:?}", seed());
        let answered = outcomes.iter().all(Outcome::is_response);
        assert!(answered, "{run}: {outcomes:?}");
        if let Err(problems) = victim.documents("nothing").await {
            panic!("{run}\n{problems}");
        }
    }
    tell(
        "frozen in a flood",
        format_args!("{count} times in {:?}", began.elapsed()),
    );
}
