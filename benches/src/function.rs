//! Cost of tracestitch in the smallest function: `cargo cost function`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build;
use crate::cold_start;
use crate::table::Table;

const ROUNDS: usize = 61;

const PACKAGE: &str = "smallest-function";

/// Name and features of each function.
const FUNCTIONS: [(&str, &[&str]); 3] = [
    ("`lambda_runtime` alone", &[]),
    ("tracestitch without default features", &["traced"]),
    ("tracestitch", &["default-features-of-tracestitch"]),
];

pub(crate) fn table() -> io::Result<String> {
    let folder = tempfile::tempdir()?;
    let mut programs: Vec<PathBuf> = Vec::new();
    for (index, (_, features)) in FUNCTIONS.iter().enumerate() {
        // The next build replaces the program.
        let program = folder.path().join(index.to_string());
        fs::copy(build::function(PACKAGE, features)?, &program)?;
        programs.push(program);
    }
    let starts = cold_start::medians(&programs, ROUNDS, &as_on_lambda)?;
    let mut table = Table::new(&[
        "function",
        "crates",
        "size, KB",
        "first `next`, ms",
        "CPU time, ms",
        "resident, KB",
    ]);
    for (((name, features), program), start) in FUNCTIONS.iter().zip(&programs).zip(&starts) {
        table.push([
            (*name).to_owned(),
            crates(features)?.to_string(),
            (fs::metadata(program)?.len() / 1000).to_string(),
            format!("{:.2}", start.next),
            format!("{:.2}", start.cpu),
            format!("{:.0}", start.resident),
        ]);
    }
    Ok(table.to_string())
}

/// Sets what Lambda sets, and provides a socket, whose backlog accepts the hand-off.
fn as_on_lambda(command: &mut Command, socket: &Path) -> io::Result<Option<UnixListener>> {
    command.envs([
        ("AWS_LAMBDA_FUNCTION_NAME", "smallest"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
    ]);
    UnixListener::bind(socket).map(Some)
}

/// Returns the number of crates that cargo compiles into the function, without build scripts and
/// procedural macros.
fn crates(features: &[&str]) -> io::Result<usize> {
    let features = features.join(",");
    let arguments = [
        "tree",
        "--package",
        PACKAGE,
        "--edges",
        "normal,no-proc-macro",
    ];
    let format = [
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--features",
        &features,
    ];
    let tree = build::run(&[&arguments[..], &format[..]].concat())?;
    let crates: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty() && !line.starts_with(PACKAGE))
        .collect();
    Ok(crates.len())
}
