//! What this process did, written down outside of the tracer: one line for each step, in a file
//! that outlives the process. `tests/src/journal.rs` has the format and reads it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracestitch::Subsegment;

static FILE: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os("JOURNAL")?;
    let file = OpenOptions::new().append(true).create(true).open(&path);
    Some(file.unwrap_or_else(|error| panic!("JOURNAL={}: {error}", path.display())))
});

/// Time after each line, `PACE_MICROS`: so that a test can strike in it.
static PACE: LazyLock<Duration> = LazyLock::new(|| {
    let micros = std::env::var("PACE_MICROS").ok();
    Duration::from_micros(micros.and_then(|text| text.parse().ok()).unwrap_or(0))
});

/// Writes a line. One write for the whole of it: a kill leaves it whole or out.
pub(crate) fn note(verb: &str, invocation: u64, name: &str, id: &str) {
    let Some(mut file) = FILE.as_ref() else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = now.unwrap_or_default().as_micros();
    let line = format!("{micros} {verb} {invocation} {name} {id}\n");
    file.write_all(line.as_bytes())
        .expect("the journal can be written to");
    if !PACE.is_zero() {
        std::thread::sleep(*PACE);
    }
}

/// A subsegment whose begin is written down.
pub(crate) fn begin(invocation: u64, name: &str) -> Subsegment {
    note("begin", invocation, name, "");
    let subsegment = Subsegment::begin(name.to_owned());
    let id = subsegment.id().map(|id| id.to_string());
    note("begun", invocation, name, &id.unwrap_or_default());
    subsegment
}

/// Ends it, and writes that down.
pub(crate) fn finish(invocation: u64, name: &str, subsegment: Subsegment) {
    note("finish", invocation, name, "");
    subsegment.finish();
    note("finished", invocation, name, "");
}
