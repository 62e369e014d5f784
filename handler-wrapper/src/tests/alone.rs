//! Tests that change a property of their whole process.

use std::process::Command;

use crate::support::environment;

/// Set in the process that a test has to itself.
const INSIDE: &str = "TRACESTITCH_TEST_ALONE";

/// Runs `work`, the body of the test `name`, in another process, which has one thread.
#[track_caller]
pub(crate) fn alone(name: &str, work: impl FnOnce()) {
    if environment::variable(INSIDE).is_some() {
        return work();
    }
    let inside = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1", name])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&inside.stdout);
    let log = String::from_utf8_lossy(&inside.stderr);
    assert!(out.contains("1 passed"), "{out}{log}");
}
