//! Processes are stopped (SIGSTOP) at a random moment and go on (SIGCONT) a while later, as Lambda
//! freezes and thaws them: nothing is lost, nothing comes twice, nothing is closed that lives on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::moments::{Moment, Striker, Table, random, seed, tell, times};
use crate::victim::Victim;

/// Longest freeze, in microseconds: longer than the work of an invocation.
const LONGEST: u64 = 30_000;

#[tokio::test]
async fn function_and_extension_at_random_moments() {
    let mut table = Table::default();
    let lines = Victim::lines(2).await;
    let began = Instant::now();
    let count = times(12, 200);
    for number in 0..count {
        let mut random = random(2_000 + number);
        let moment = Moment::random(&mut random, lines);
        let (who, first) = (random.u8(..3), random.bool());
        let (apart, long) = (random.u64(..1_000), random.u64(..LONGEST));
        let victim = Victim::at_pace(number).await;
        let environment = Arc::clone(&victim.environment);
        let striker = Striker::new(moment, &victim.journal, move || {
            let function = environment.function_pid().filter(|_| who != 1);
            let extensions = environment.extension_pids();
            let extension = extensions.first().copied().filter(|_| who != 0);
            let mut pids: Vec<_> = function.into_iter().chain(extension).collect();
            for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
                for pid in &pids {
                    // It may have ended, at the end of the run.
                    let _ = kill(Pid::from_raw(*pid as i32), signal);
                    std::thread::sleep(Duration::from_micros(apart));
                }
                std::thread::sleep(Duration::from_micros(long));
                if first {
                    pids.reverse();
                }
            }
        });
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
