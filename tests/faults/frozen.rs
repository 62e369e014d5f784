//! Processes that are stopped (SIGSTOP) at a random moment and continued (SIGCONT) later, as Lambda
//! freezes and thaws them: nothing is lost, doubled, or closed while it is still at work.

use std::time::Duration;

use serde_json::json;
use tracestitch_local::emulator::Outcome;

use crate::moments::{Moment, Striker};
use crate::rounds::Rounds;
use crate::strikes::freeze;
use crate::victim::{Victim, plenty};

/// Longest freeze: longer than the work of an invocation.
const LONGEST: Duration = Duration::from_millis(30);

#[tokio::test]
async fn processes_are_frozen_at_random_moments() {
    let lines = Victim::lines(2).await;
    let mut rounds = Rounds::new("frozen", 12, 200);
    for number in rounds.numbers() {
        let mut random = rounds.random(number);
        let moment = Moment::random(&mut random, lines);
        let victim = Victim::at_pace(number).await;
        let strike = freeze(&victim.environment, &mut random, LONGEST);
        let striker = Striker::new(moment, &victim.journal, strike);
        let outcomes = victim.invoke_all(2).await;
        striker.finish().await;
        let answered = outcomes.iter().all(Outcome::is_response);
        assert!(answered, "{}: {outcomes:?}", rounds.name(number));
        rounds.judge(number, &victim, "nothing").await;
    }
    rounds.report("");
}

/// The freeze lasts longer than the function waits for the extension, and there are more documents
/// than a socket holds.
#[tokio::test]
async fn processes_are_frozen_in_a_flood_at_random_moments() {
    const FLOOD: usize = 40;
    /// Lines of each step in the journal.
    const LINES: usize = 14;
    let mut rounds = Rounds::new("frozen in a flood", 6, 50);
    for number in rounds.numbers() {
        let mut random = rounds.random(number);
        let moment = Moment::random(&mut random, 2 * FLOOD * LINES);
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
        let answered = outcomes.iter().all(Outcome::is_response);
        assert!(answered, "{}: {outcomes:?}", rounds.name(number));
        rounds.judge(number, &victim, "nothing").await;
    }
    rounds.report("");
}
