//! Processes that are killed (SIGKILL) at a random moment: in the init phase, during the work,
//! during and after the reply, between invocations.

use std::time::Duration;

use e2e::journal::{Entry, Verb};
use e2e::wait::PROMPT;
use tracestitch_local::emulator::Outcome;

use crate::moments::{Moment, Striker};
use crate::rounds::Rounds;
use crate::strikes::{freeze, kill_extension, kill_function};
use crate::victim::{Victim, plenty};

/// All expected documents arrive, also of the invocation after the kill, in a new process.
#[tokio::test]
async fn function_is_killed_at_random_moments() {
    let lines = Victim::lines(2).await;
    let mut rounds = Rounds::new("function killed", 12, 200);
    for number in rounds.numbers() {
        let moment = Moment::random(&mut rounds.random(number), lines);
        let victim = Victim::at_pace(number).await;
        let strike = kill_function(&victim.environment);
        let striker = Striker::new(moment, &victim.journal, strike);
        victim.invoke_all(2).await;
        striker.finish().await;
        rounds.judge(number, &victim, "FunctionCrash").await;
    }
    rounds.report("");
}

/// The function is killed at one moment; it, its extension or both are frozen at two others.
#[tokio::test]
async fn function_is_killed_among_freezes_at_random_moments() {
    let lines = Victim::lines(3).await;
    let mut rounds = Rounds::new("function killed among freezes", 6, 100);
    for number in rounds.numbers() {
        let mut random = rounds.random(number);
        let moments: [_; 3] = std::array::from_fn(|_| Moment::random(&mut random, lines));
        let victim = Victim::at_pace(number).await;
        let (environment, journal) = (&victim.environment, &victim.journal);
        let mut freeze = || freeze(environment, &mut random, Duration::from_millis(20));
        let strikers = [
            Striker::new(moments[0], journal, kill_function(environment)),
            Striker::new(moments[1], journal, freeze()),
            Striker::new(moments[2], journal, freeze()),
        ];
        victim.invoke_all(3).await;
        for striker in strikers {
            striker.finish().await;
        }
        rounds.judge(number, &victim, "FunctionCrash").await;
    }
    rounds.report("first of ");
}

/// Both are killed at once, as when the machine fails. Of the current invocation and the one before
/// it any documents may arrive that are valid; of earlier invocations all arrive.
#[tokio::test]
async fn function_and_extension_are_killed_at_random_moments() {
    let lines = Victim::lines(3).await;
    let mut rounds = Rounds::new("function and extension killed", 6, 50);
    for number in rounds.numbers() {
        let moment = Moment::random(&mut rounds.random(number), lines);
        let victim = Victim::at_pace(number).await;
        let function = kill_function(&victim.environment);
        let extension = kill_extension(&victim.environment, victim.pen(), false);
        let striker = Striker::new(moment, &victim.journal, || {
            function();
            extension();
        });
        victim.invoke_all(3).await;
        striker.finish().await;
        rounds.judge(number, &victim, "FunctionCrash").await;
    }
    rounds.report("");
}

/// Four invocations run at once (Lambda Managed Instances). The extension gets no event when one
/// begins, and no process is frozen when one has ended.
#[tokio::test]
async fn function_with_concurrent_invocations_is_killed_at_random_moments() {
    const AT_ONCE: usize = 4;
    let lines = Victim::lines(AT_ONCE as u64).await;
    let mut rounds = Rounds::new("function killed with many at work", 6, 50);
    for number in rounds.numbers() {
        let moment = Moment::random(&mut rounds.random(number), lines);
        let victim = Victim::start_with(|function, _| {
            let pace = Victim::pace(number);
            function.env("PACE_MICROS", pace).managed_instances(AT_ONCE)
        })
        .await;
        let strike = kill_function(&victim.environment);
        let striker = Striker::new(moment, &victim.journal, strike);
        for first in [1, 5] {
            tokio::join!(
                victim.invoke(first, plenty()),
                victim.invoke(first + 1, plenty()),
                victim.invoke(first + 2, plenty()),
                victim.invoke(first + 3, plenty()),
            );
        }
        striker.finish().await;
        rounds.judge(number, &victim, "FunctionCrash").await;
    }
    rounds.report("one of four in ");
}

/// The timeout passes at a random moment, before or after the reply: SIGTERM, then SHUTDOWN.
/// Documents that the extension closes name the timeout.
#[tokio::test]
async fn function_times_out_at_random_moments() {
    let mut timed_out = 0;
    let mut rounds = Rounds::new("timeout", 12, 100);
    for number in rounds.numbers() {
        let timeout = Duration::from_micros(rounds.random(number).u64(1_000..30_000));
        let victim = Victim::start_with(|function, _| {
            let pace = Victim::pace(number);
            function.env("PACE_MICROS", pace).timeout(timeout)
        })
        .await;
        let outcomes = victim.invoke_all(2).await;
        let late = outcomes.iter().filter(|outcome| !outcome.is_response());
        timed_out += late.count();
        rounds.judge(number, &victim, "FunctionTimeout").await;
    }
    rounds.report(format_args!("{timed_out} without a reply"));
}

/// The extension dies, and the function answers as usual and as fast. Documents that the extension
/// had read and not sent are lost, and so are those in its socket; they belong to the current
/// invocation. Work that ends after the death arrives by UDP or through the restarted extension;
/// nothing arrives twice.
///
/// Lambda would also end the function (Extensions API, "Error handling"). Here it survives, which
/// is the harder case.
#[tokio::test]
async fn extension_is_killed_at_random_moments() {
    let lines = Victim::lines(3).await;
    let mut slowest = Duration::ZERO;
    let mut rounds = Rounds::new("extension killed", 6, 50);
    for number in rounds.numbers() {
        let mut random = rounds.random(number);
        let moment = Moment::random(&mut random, lines);
        let at_once = random.bool();
        let victim = Victim::start_with(|function, _| {
            let pace = Victim::pace(number);
            function.env("PACE_MICROS", pace).outlive_extensions(true)
        })
        .await;
        let strike = kill_extension(&victim.environment, victim.pen(), at_once);
        let striker = Striker::new(moment, &victim.journal, strike);
        let outcomes = victim.invoke_all(3).await;
        striker.finish().await;
        // One must be there at the end, whether it was restarted at once or only now.
        assert!(victim.environment.start_extensions().await);
        rounds.judge(number, &victim, "nothing").await;
        let name = rounds.name(number);
        let answered = outcomes.iter().all(Outcome::is_response);
        assert!(answered, "{name}: {outcomes:?}");
        slowest = slowest.max(longest_handler(&victim.journal.entries()));
        assert!(slowest < PROMPT, "{name}: {slowest:?} in a handler");
    }
    rounds.report(format_args!("slowest handler {slowest:?}; "));
}

fn longest_handler(entries: &[Entry]) -> Duration {
    let when = |verb, n| {
        let mut found = entries.iter().filter(|entry| entry.verb == verb);
        let entry = found.find(|entry| entry.name == "victim" && entry.invocation == n)?;
        Some(entry.at)
    };
    let took = |n| Some(when(Verb::Finish, n)?.saturating_sub(when(Verb::Begun, n)?));
    let longest = (1..=3).filter_map(took).max();
    Duration::from_micros(longest.expect("a handler ran"))
}
