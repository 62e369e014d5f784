//! Runs the work of a row, in the process that is measured.

use std::env;
use std::time::Duration;

use crate::{child, peers, work};

/// Does the work called `name` as often as the environment demands, and prints its CPU time in
/// nanoseconds.
pub(crate) fn run(name: &str) {
    let repeat: u32 = env::var("BENCH_REPEAT")
        .expect("BENCH_REPEAT is set")
        .parse()
        .expect("BENCH_REPEAT is a number");
    let header = env::var("BENCH_HEADER").expect("BENCH_HEADER is set");
    child::wait_for_start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be built").block_on(async {
        let started = cpu_time();
        if !peers::run(name, &header, repeat).await {
            work::run(name, &header, repeat).await;
        }
        println!("{}", (cpu_time() - started).as_nanos());
    });
}

/// Returns the CPU time of this process so far (proc(5), `schedstat`: nanoseconds on a processor).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("the kernel has schedstat");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("schedstat begins with nanoseconds"))
}
