//! The command line.

mod extension;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracestitch_local::command::{
    CheckOptions, FollowOptions, MapOptions, ServeOptions, StatsOptions, TraceOptions,
    TracesOptions, VerifyOptions,
};
use tracestitch_local::demo::{self, Unmet};
use tracestitch_local::error::Result;
use tracestitch_local::run::RunOptions;

/// Reads X-Ray traces, and runs Lambda functions with their queues and tables on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "tracestitch",
    version,
    after_help = "\
Exit code: 0 success, 1 negative result (nothing found, a check failed), 2 error.

Examples:
  tracestitch serve                        # X-Ray on this machine, at 127.0.0.1:2000
  tracestitch traces --last 1h
  tracestitch follow 'annotation.order_id = \"A-1003\"'
  tracestitch run target/debug/orders event.json"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the X-Ray API and the daemon's port on this machine
    Serve(ServeOptions),
    /// Lists traces
    Traces(TracesOptions),
    /// Prints one trace as a tree
    Trace(TraceOptions),
    /// Prints what happened to one request, across queues
    Follow(FollowOptions),
    /// Prints counts, rates and percentiles, and what changed
    Stats(StatsOptions),
    /// Prints the services and their connections
    Map(MapOptions),
    /// Checks documents against X-Ray's rules
    Check(CheckOptions),
    /// Checks that a deployed chain is complete, and names the setting that is missing
    Verify(VerifyOptions),
    /// Runs a function of yours with the extension, and prints its answers and traces
    ///
    /// Invokes it once for each EVENT, or keeps it up behind HTTP.
    Run(RunOptions),
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
    /// Writes the completions of a shell, for `source <(tracestitch completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Writes the manual page, for `tracestitch man | man -l -`
    Man,
}

impl Command {
    /// Writes the completions of a shell.
    fn completions(shell: Shell, out: &mut impl Write) -> Result<bool> {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut CommandLine::command(), "tracestitch", &mut text);
        out.write_all(&text)?;
        Ok(true)
    }

    /// Writes the manual page.
    fn manual(out: &mut impl Write) -> Result<bool> {
        clap_mangen::Man::new(CommandLine::command()).render(out)?;
        Ok(true)
    }
}

/// Exit code after an error.
const ERROR: u8 = 2;
/// Exit code of a process that SIGINT ended, in the convention of shells.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    if extension::is_wanted() {
        return extension::run();
    }
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(command()),
        Err(error) => report("tracestitch", Err(error.into())),
    }
}

async fn command() -> ExitCode {
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
    let out = &mut io::stdout();
    let (name, ended) = match command {
        Command::Serve(options) => ("serve", options.run(out).await),
        Command::Traces(options) => ("traces", options.run(out).await),
        Command::Trace(options) => ("trace", options.run(out).await),
        Command::Follow(options) => ("follow", options.run(out).await),
        Command::Stats(options) => ("stats", options.run(out).await),
        Command::Map(options) => ("map", options.run(out).await),
        Command::Check(options) => ("check", options.run(out)),
        Command::Verify(options) => ("verify", options.run(out).await),
        Command::Run(options) => ("run", options.run(out).await),
        Command::Completions { shell } => ("completions", Command::completions(shell, out)),
        Command::Man => ("man", Command::manual(out)),
        Command::Demo { chain: true, .. } => ("demo", demo::chain().await.map(|()| true)),
        Command::Demo { serve, .. } => ("demo", demo::orders(serve).await.map(|()| true)),
    };
    report(name, ended)
}

fn report(command: &str, ended: Result<bool>) -> ExitCode {
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let broken_pipe = error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
            if broken_pipe {
                // The reader, such as `head`, has what it wanted.
                return ExitCode::SUCCESS;
            }
            // Fails without a standard error; the exit code remains.
            let _ = writeln!(io::stderr(), "{command}: {error}");
            if error.is::<Unmet>() {
                return ExitCode::FAILURE;
            }
            ExitCode::from(ERROR)
        }
    }
}
