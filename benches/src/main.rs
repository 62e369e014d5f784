//! Measures the cost of tracing, beside other tracers for Rust:
//!
//! ```sh
//! cargo cost                # instructions, system calls and CPU time of pieces of work
//! cargo cost --check        # fails when one of them exceeds its bar; measures no times
//! cargo cost function       # what the crate adds to the smallest function
//! cargo cost start          # what the extension costs in a cold start
//! cargo cost warm           # an invocation of real processes, with tracing and without
//! cargo cost post-reply     # how long the extension holds an invocation after its reply
//! cargo cost drain          # how fast the extension sends documents
//! cargo cost --write        # measures all tables and writes them to docs/performance.md
//! cargo cost start --write  # the same for one table
//! ```
//!
//! Needs valgrind. The measured work runs in this same program, started again as a child whose
//! environment is a Lambda function's.

#![expect(
    clippy::print_stdout,
    reason = "a command line program that prints tables"
)]

mod build;
mod child;
mod cold_start;
mod document;
mod drain;
mod function;
mod measure;
mod peers;
mod post_reply;
mod rows;
mod run;
mod start;
mod system_calls;
mod table;
mod warm;
mod work;
mod work_table;

use std::env;
use std::io;
use std::process::ExitCode;

/// Name and measurement of a table.
type Measurement = (&'static str, fn() -> io::Result<String>);

/// The tables. The first one is the default.
const TABLES: [Measurement; 6] = [
    ("work", || Ok(work_table::all())),
    ("function", function::table),
    ("start", start::table),
    ("warm", warm::table),
    ("post-reply", post_reply::table),
    ("drain", drain::table),
];

fn main() -> ExitCode {
    if let Ok(work) = env::var("BENCH_WORK") {
        run::run(&work);
        return ExitCode::SUCCESS;
    }
    if post_reply::was_bare_extension() {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            println!("not measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> io::Result<ExitCode> {
    let (tables, writes) = match arguments {
        [] => (&TABLES[..1], false),
        ["--check"] => {
            let (table, holds) = work_table::check();
            print!("{table}");
            return Ok(if holds {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        ["--write"] => (&TABLES[..], true),
        [name] => (named(name)?, false),
        [name, "--write"] => (named(name)?, true),
        _ => return Err(usage()),
    };
    for (name, measure) in tables {
        let table = measure()?;
        println!("{table}");
        if writes {
            document::write(name, &table)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn named(name: &str) -> io::Result<&'static [Measurement]> {
    let place = TABLES.iter().position(|(table, _)| *table == name);
    place.map(|place| &TABLES[place..=place]).ok_or_else(usage)
}

fn usage() -> io::Error {
    let names = TABLES.map(|(name, _)| name).join(", ");
    io::Error::other(format!("expected --check, or one of {names}, and --write"))
}
