//! Values and programs that several tests share.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

/// Time for an event that should happen soon, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A trace header as clients send it.
pub(crate) const HEADER: &str =
    "Root=1-581cf771-a006649127e371903a2de979;Parent=70de5b6f19ff9a0a;Sampled=1";

/// Checks once that the interpreter of the test programs is there.
static PYTHON: LazyLock<()> = LazyLock::new(|| {
    let version = Command::new("python3").arg("--version").output();
    let found = version.is_ok_and(|output| output.status.success());
    assert!(found, "install python3: the test programs need it");
});

/// Returns the path of a test program, `bootstrap` or `extension`.
pub(crate) fn program(name: &str) -> PathBuf {
    LazyLock::force(&PYTHON);
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs")).join(name)
}
