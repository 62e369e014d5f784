//! The test suites that judge the faults.

use std::fmt;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::tree::Tree;

/// Longest time of a suite; it fails when it takes longer. Undisturbed each takes a few minutes.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// Interval at which the end of a suite is checked.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// Arguments of `cargo test`, by command.
    commands: &'static [&'static [&'static str]],
}

pub(crate) const SUITES: [Suite; 4] = [
    Suite {
        name: "unit",
        commands: &[
            &["-p", "tracestitch-wire", "--lib"],
            &["-p", "tracestitch", "--all-features", "--lib"],
            &["-p", "tracestitch-extension", "--lib"],
        ],
    },
    Suite {
        name: "process",
        commands: &[
            &["-p", "tracestitch-extension", "--test", "process"],
            &["-p", "together"],
        ],
    },
    Suite {
        name: "e2e",
        commands: &[&["-p", "e2e", "--test", "e2e"]],
    },
    Suite {
        name: "faults",
        // The soak finds leaks, and a mutant has none.
        commands: &[&["-p", "e2e", "--test", "faults", "--", "--skip", "soak"]],
    },
];

/// Findings of a suite.
#[derive(Debug)]
pub(crate) struct Verdict {
    passed: usize,
    pub(crate) failed: usize,
    names: Vec<String>,
    in_time: bool,
}

impl Verdict {
    /// The table's cell.
    pub(crate) fn count(&self) -> String {
        match (self.failed, self.in_time) {
            (0, _) => "-".to_owned(),
            (_, false) => "hangs".to_owned(),
            (failed, true) => failed.to_string(),
        }
    }

    /// The name of one test that failed.
    pub(crate) fn example(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed) = (self.passed, self.failed);
        let late = if self.in_time { "" } else { ", not in time" };
        let names = self.names.join(" ");
        write!(f, "{passed} tests pass, {failed} fail{late} {names}")
    }
}

impl Suite {
    /// Builds the suite's tests and the programs under test.
    pub(crate) fn build(&self, tree: &Tree) -> Result<(), String> {
        for arguments in self.commands {
            let status = cargo(tree, "--no-run", arguments).status();
            let status = status.map_err(|error| format!("cargo does not start: {error}"))?;
            if !status.success() {
                return Err(format!(
                    "{}: the copy with the faults does not build",
                    self.name
                ));
            }
        }
        Ok(())
    }

    /// Runs the suite to its end, also after failures.
    pub(crate) fn run(&self, tree: &Tree) -> Result<Verdict, String> {
        let mut verdict = Verdict {
            passed: 0,
            failed: 0,
            names: Vec::new(),
            in_time: true,
        };
        for arguments in self.commands {
            let (success, output) = run(&mut cargo(tree, "--no-fail-fast", arguments))?;
            let words = |line: &str| -> Vec<String> {
                line.split_whitespace().map(str::to_owned).collect()
            };
            let (mut passed, mut failed) = (0, 0);
            for line in output.lines().map(words) {
                match &line.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    ["test", .., "ok"] => passed += 1,
                    ["test", name, .., "FAILED"] => {
                        failed += 1;
                        verdict.names.push((*name).to_owned());
                    }
                    _ => {}
                }
            }
            verdict.in_time &= success.is_some();
            // A process that dies, or a suite that hangs, has no count.
            let unknown = success != Some(true) && failed == 0;
            verdict.passed += passed;
            verdict.failed += failed + usize::from(unknown);
        }
        Ok(verdict)
    }
}

fn cargo(tree: &Tree, option: &str, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["test", option])
        .args(arguments)
        .current_dir(tree.root())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("FAULTS");
    command
}

/// Runs a command; its success, `None` if it did not end in time, and its standard output.
fn run(command: &mut Command) -> Result<(Option<bool>, String), String> {
    let mut child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    let mut stdout = child.stdout.take().ok_or("no standard output")?;
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        // What was read before an error is what there is.
        let _ = stdout.read_to_end(&mut output);
        String::from_utf8_lossy(&output).into_owned()
    });
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status.success()),
            Ok(None) if began.elapsed() < LONGEST => std::thread::sleep(LOOK),
            Ok(None) => {
                // With all that it started: those processes keep the pipe open.
                let group = format!("-{}", child.id());
                let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
                killed.map_err(|error| format!("kill does not start: {error}"))?;
                break None;
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let output = reader.join().map_err(|_| "a thread panicked".to_owned())?;
    Ok((status, output))
}
