//! Standard error of the process.

use super::support::{PATIENCE, World};

/// Lines of thousands of invocations, more than a pipe holds.
#[test]
fn log_that_is_not_read_holds_no_invocation() {
    const INVOCATIONS: usize = 2_000;
    let mut world = World::new();
    world.start(&[("TRACESTITCH_LOG", "debug")]);
    world.wait_until_asked(1);
    let request_id = "r".repeat(100);
    for n in 1..=INVOCATIONS {
        world.invoke(&request_id);
        world.wait_until_asked(n + 1);
    }
    let log = world.spin_down();
    let lines = log.lines().count();
    assert!(
        lines < 2 * INVOCATIONS,
        "the pipe did not fill: {lines} lines"
    );
    assert!(
        log.len() > 30_000,
        "the first lines are there: {}",
        log.len()
    );
}

#[test]
fn dropped_lines_are_counted_once_the_log_is_read_again() {
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    let mut world = World::new();
    world.start(&[("TRACESTITCH_LOG", "debug")]);
    world.wait_until_asked(1);
    let request_id = "r".repeat(3_000);
    for n in 1..=400 {
        world.invoke(&request_id);
        world.wait_until_asked(n + 1);
    }
    let mut lines = BufReader::new(world.take_stderr()).lines();
    let began = Instant::now();
    let dropped = lines.find_map(|line| {
        let line = line.unwrap();
        assert!(began.elapsed() < PATIENCE, "no line was counted as dropped");
        line.contains("lines were dropped").then_some(line)
    });
    let dropped = dropped.expect("a line about dropped lines");
    assert!(dropped.contains("standard error was not read"), "{dropped}");
    world.shutdown("spindown");
}
