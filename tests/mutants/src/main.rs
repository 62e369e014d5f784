//! Plants faults in a copy of the workspace and shows which test suites find them.
//!
//! ```sh
//! cargo run -p mutants                        # every fault, every suite; two hours
//! cargo run -p mutants -- context pace        # the faults whose names contain one of these words
//! cargo run -p mutants -- --suites e2e,faults
//! cargo run -p mutants -- --write             # also writes the table to docs/mutants.md
//! cargo run -p mutants -- --check             # only whether each fault still finds its place
//! ```
//!
//! The copy is in `target/mutants`. All faults are compiled into it at once, each behind a switch
//! that the processes under test read from a file when they start, so one build serves for all of
//! them. The first run has no fault: all suites must pass.
//!
//! The program fails when a fault does not find its place, when a suite fails without a fault, or
//! when no suite finds a fault.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

mod edit;
mod list;
mod suites;
mod tree;

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::list::{MUTANTS, Mutant};
use crate::suites::{SUITES, Suite, Verdict};
use crate::tree::Tree;

/// Name of the row without a fault.
const NONE: &str = "(none)";

#[derive(Debug, Default)]
struct Options {
    words: Vec<String>,
    suites: Vec<String>,
    write: bool,
    check: bool,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--write" => options.write = true,
                "--check" => options.check = true,
                "--suites" => {
                    let names = arguments.next().unwrap_or_default();
                    options.suites = names.split(',').map(str::to_owned).collect();
                }
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ => options.words.push(argument),
            }
        }
        let known = |name: &String| SUITES.iter().any(|suite| suite.name == name);
        match options.suites.iter().find(|name| !known(name)) {
            Some(name) => Err(format!("unknown suite {name}")),
            None => Ok(options),
        }
    }

    fn mutants(&self) -> Vec<&'static Mutant> {
        let wanted = |mutant: &&Mutant| {
            self.words.is_empty() || self.words.iter().any(|word| mutant.name.contains(word))
        };
        MUTANTS.iter().filter(wanted).collect()
    }

    fn suites(&self) -> Vec<&'static Suite> {
        let wanted =
            |suite: &&Suite| self.suites.is_empty() || self.suites.iter().any(|s| s == suite.name);
        SUITES.iter().filter(wanted).collect()
    }
}

fn main() -> ExitCode {
    let result = Options::read(std::env::args().skip(1)).and_then(|options| run(&options));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether each fault was found.
fn run(options: &Options) -> Result<bool, String> {
    let tree = Tree::copy()?;
    tree.plant(MUTANTS)?;
    if options.check {
        println!("{} faults find their place", MUTANTS.len());
        return Ok(true);
    }
    let suites = options.suites();
    let mut table = Table::new(&suites);
    for suite in &suites {
        suite.build(&tree)?;
    }
    let sound = judge(&tree, NONE, &suites)?;
    table.row(NONE, "the unchanged code", &sound);
    if let Some(red) = sound.iter().find(|verdict| verdict.failed > 0) {
        return Err(format!("without a fault, {red} fail"));
    }
    let mut missed = Vec::new();
    for mutant in options.mutants() {
        let verdicts = judge(&tree, mutant.name, &suites)?;
        if verdicts.iter().all(|verdict| verdict.failed == 0) {
            missed.push(mutant.name);
        }
        table.row(mutant.name, mutant.effect, &verdicts);
    }
    if options.write {
        tree.write_table(&table.text)?;
    }
    println!("\n{}", table.text);
    if !missed.is_empty() {
        println!("no suite found {}", missed.join(", "));
    }
    Ok(missed.is_empty())
}

/// Runs all suites with one fault, at the same time: they wait more than they compute.
fn judge(tree: &Tree, mutant: &str, suites: &[&'static Suite]) -> Result<Vec<Verdict>, String> {
    tree.switch_on(mutant)?;
    std::thread::scope(|scope| {
        let run = |suite: &&'static Suite| {
            let suite = *suite;
            scope.spawn(move || {
                let verdict = suite.run(tree)?;
                println!("{mutant}, {}: {verdict}", suite.name);
                Ok(verdict)
            })
        };
        #[expect(
            clippy::needless_collect,
            reason = "all threads start before one is awaited"
        )]
        let running: Vec<_> = suites.iter().map(run).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Verdict, String>>| {
            thread.join().map_err(|_| "a thread panicked".to_owned())?
        };
        running.into_iter().map(join).collect()
    })
}

/// The result, in Markdown.
#[derive(Debug)]
struct Table {
    text: String,
}

impl Table {
    fn new(suites: &[&Suite]) -> Self {
        let names: Vec<_> = suites.iter().map(|suite| suite.name).collect();
        let rule = "---|".repeat(names.len() + 3);
        let text = format!(
            "| fault | what it does | {} | found by, for example |\n|{rule}\n",
            names.join(" | ")
        );
        Self { text }
    }

    fn row(&mut self, name: &str, effect: &str, verdicts: &[Verdict]) {
        let counts: Vec<_> = verdicts.iter().map(Verdict::count).collect();
        let example = verdicts.iter().rev().find_map(|verdict| verdict.example());
        let example = example.map_or_else(String::new, |example| format!("`{example}`"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "| `{name}` | {effect} | {} | {example} |",
            counts.join(" | ")
        );
    }
}
