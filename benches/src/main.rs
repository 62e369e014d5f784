//! What tracing costs: instructions and time for a subsegment and for an AWS SDK call, beside
//! those of xray-lite, the other X-Ray library for Rust.
//!
//! `cargo cost` prints a table: instructions counted by callgrind (user space,
//! repeatable to a few instructions), as the difference between many and few repetitions so that
//! start-up does not count, and CPU time, as the median of interleaved rounds. `cargo cost --check` fails when a row has more instructions than its bar.
//!
//! Needs valgrind. What is measured runs in this same binary, started again as a child whose
//! environment is that of a Lambda function.

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

/// Rounds of the time measurement.
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
            // Of the same round: a busy moment of the machine meets both.
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

/// The time of each row, in each round.
fn times(rounds: usize) -> Vec<Vec<f64>> {
    let round = |_| ROWS.iter().map(measure::nanoseconds).collect();
    (0..rounds).map(round).collect()
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
