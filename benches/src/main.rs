//! Cost of tracing: instructions and time for a subsegment and for an AWS SDK call, beside
//! xray-lite, the other X-Ray library for Rust.
//!
//! `cargo cost` prints a table of instructions and CPU time. Callgrind counts the instructions
//! (user space, repeatable to a few instructions), as the difference between many and few
//! repetitions, so that start-up does not count. CPU time is the median of interleaved rounds.
//! `cargo cost --check` fails if a row has more instructions than its bar.
//!
//! Needs valgrind. The measured work runs in this same binary, started again as a child with the
//! environment of a Lambda function.

#![expect(
    clippy::print_stdout,
    reason = "a table on standard output is what it is for"
)]

mod measure;
mod post_reply;
mod rows;
mod start;
mod work;

use std::env;
use std::process::ExitCode;

use crate::rows::ROWS;

/// Number of rounds of the time measurement.
const ROUNDS: usize = 31;

fn main() -> ExitCode {
    if let Ok(work) = env::var("BENCH_WORK") {
        work::run(&work);
        return ExitCode::SUCCESS;
    }
    if post_reply::was_bare_extension() {
        return ExitCode::SUCCESS;
    }
    if env::args().nth(1).as_deref() == Some("post-reply") {
        return post_reply::run();
    }
    if env::args().nth(1).as_deref() == Some("start") {
        return start::run();
    }
    let check = env::args().any(|argument| argument == "--check");
    let instructions: Vec<u64> = ROWS.iter().map(measure::instructions).collect();
    let times = times(if check { 1 } else { ROUNDS });
    let mut passed = true;
    println!(
        "{:<50}{:>14}{:>10}{:>10}",
        "", "instructions", "bar", "CPU ns"
    );
    for (index, row) in ROWS.iter().enumerate() {
        let base = row
            .over
            .and_then(|name| ROWS.iter().position(|row| row.name == name));
        let count = instructions[index] - base.map_or(0, |base| instructions[base]);
        let time = median(times.iter().map(|round| {
            // From the same round: a busy moment of the machine affects both.
            round[index] - base.map_or(0.0, |base| round[base])
        }));
        let name = format!("{}{}", if base.is_some() { "+ " } else { "" }, row.name);
        let bar = row.bar.map_or_else(String::new, |bar| bar.to_string());
        let over = row.bar.is_some_and(|bar| count > bar);
        passed &= !over;
        println!(
            "{name:<50}{count:>14}{bar:>10}{time:>10.0}{}",
            if over { "  OVER" } else { "" }
        );
    }
    println!("rows with + show what is added to the bare row above them");
    if check && !passed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Returns the time of each row in each round.
fn times(rounds: usize) -> Vec<Vec<f64>> {
    let round = |_| ROWS.iter().map(measure::nanoseconds).collect();
    (0..rounds).map(round).collect()
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
