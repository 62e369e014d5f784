//! The command line.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracestitch_local::demo;
use tracestitch_local::error::Result;
use tracestitch_local::run::RunOptions;

/// Runs Lambda functions, queues, tables and a trace viewer on this machine.
#[derive(Debug, Parser)]
#[command(version, after_help = "Ctrl-C ends it.")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the example functions, prints the traces and checks them
    ///
    /// Sends orders through order-api -> SQS -> order-worker.
    Demo {
        /// Then keeps the functions and a trace viewer up
        #[arg(long, conflicts_with = "chain")]
        serve: bool,
        /// Sends orders through order-api -> SQS -> order-worker -> SNS -> SQS -> order-notifier,
        /// and walks each trace from its leaves to its root
        #[arg(long)]
        chain: bool,
    },
    /// Runs a function of yours with the extension, and prints its answers and traces
    ///
    /// Invokes it once for each EVENT, or keeps it up behind HTTP.
    Run(RunOptions),
}

/// Exit code of a process that SIGINT ended, in the convention of shells.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    // Ends the process with code 2 on an invalid command line.
    let command = CommandLine::parse().command;
    // Ctrl-C does not reach the functions, which have their own process groups. They end when the
    // other branch is dropped.
    tokio::select! {
        code = run(command) => code,
        _ = tokio::signal::ctrl_c() => ExitCode::from(INTERRUPTED),
    }
}

async fn run(command: Command) -> ExitCode {
    let (name, ended) = match command {
        Command::Demo { chain: true, .. } => ("demo", demo::chain().await.map(|()| true)),
        Command::Demo { serve, .. } => ("demo", demo::orders(serve).await.map(|()| true)),
        Command::Run(options) => ("run", options.run(&mut io::stdout()).await),
    };
    report(name, ended)
}

fn report(command: &str, ended: Result<bool>) -> ExitCode {
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Fails without a standard error; the exit code remains.
            let _ = writeln!(io::stderr(), "{command}: {error}");
            ExitCode::FAILURE
        }
    }
}
