//! Journal of this process, kept apart from the tracer: one line for each step, in a file that
//! outlives the process. `tests/src/journal.rs` describes the format and reads it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracestitch::Subsegment;

static FILE: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os("JOURNAL")?;
    let file = OpenOptions::new().append(true).create(true).open(&path);
    Some(file.unwrap_or_else(|error| panic!("JOURNAL={}: {error}", path.display())))
});

/// Pause after each line, from `PACE_MICROS`, so that a test can strike between two lines.
static PACE: LazyLock<Duration> = LazyLock::new(|| {
    let micros = std::env::var("PACE_MICROS").ok();
    Duration::from_micros(micros.and_then(|text| text.parse().ok()).unwrap_or(0))
});

/// Writes a line, with one write: a kill leaves it whole or absent.
pub(crate) fn note(verb: &str, invocation: u64, name: &str, detail: &str) {
    let Some(mut file) = FILE.as_ref() else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = now.unwrap_or_default().as_micros();
    let line = format!("{micros} {verb} {invocation} {name} {detail}\n");
    file.write_all(line.as_bytes())
        .expect("the journal can be written to");
    if !PACE.is_zero() {
        std::thread::sleep(*PACE);
    }
}

/// Notes the facts that are about to be put on the subsegment called `name`.
pub(crate) fn fact(invocation: u64, name: &str, facts: &Value) {
    note("fact", invocation, name, &facts.to_string());
}

/// Begins a subsegment inside the work called `around`, and notes both.
pub(crate) fn begin(invocation: u64, name: &str, around: &str) -> Subsegment {
    note("begin", invocation, name, around);
    let subsegment = Subsegment::begin(name.to_owned());
    let id = subsegment.id().map(|id| id.to_string());
    note("begun", invocation, name, &id.unwrap_or_default());
    subsegment
}

/// Ends a subsegment, and notes that.
pub(crate) fn finish(invocation: u64, name: &str, subsegment: Subsegment) {
    note("finish", invocation, name, "");
    subsegment.finish();
    note("finished", invocation, name, "");
}
