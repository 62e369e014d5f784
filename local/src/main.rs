//! `tracestitch-local demo [--serve | --chain]`, `tracestitch-local run [OPTION]... PROGRAM [EVENT]...`.

use std::io::Write;
use std::process::ExitCode;

use tracestitch_local::demo;
use tracestitch_local::own::Own;

const USAGE: &str = "usage: tracestitch-local demo [--serve | --chain]
       tracestitch-local run [OPTION]... PROGRAM [EVENT]...

  demo           runs order-api -> SQS -> order-worker on this machine, prints and checks the traces
  demo --serve   and then keeps the functions and a trace viewer up
  demo --chain   runs order-api -> SQS -> order-worker -> SNS -> SQS -> order-notifier and
                 walks each trace from its leaves to its root
  run            runs a function of yours, with the extension, once for each EVENT (a file of JSON),
                 and prints its answers and traces; without an EVENT, keeps it up behind HTTP,
                 with a trace viewer
    --env NAME[=VALUE]   an environment variable of the function, without VALUE as it is here; it
                         has those of Lambda alone, with credentials that AWS does not know
    --timeout SECONDS    the function's timeout, 10 by default
    --trace HEADER       the caller's X-Amzn-Trace-Id; without one the trace is recorded
    --extension PATH     the extension's program, by default built by cargo

Ctrl-C ends it.";

/// As shells count a process that SIGINT has ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The functions are in process groups of their own, where Ctrl-C does not reach them: they end
    // with the work that is dropped here.
    tokio::select! {
        code = run(&arguments) => code,
        _ = tokio::signal::ctrl_c() => ExitCode::from(INTERRUPTED),
    }
}

async fn run(arguments: &[&str]) -> ExitCode {
    let ended = match *arguments {
        ["demo"] => demo::orders(false).await,
        ["demo", "--serve"] => demo::orders(true).await,
        ["demo", "--chain"] => demo::chain().await,
        ["run", ref rest @ ..] => {
            let own = match Own::from_arguments(rest) {
                Ok(own) => own,
                Err(problem) => return say(&format!("run: {problem}\n\n{USAGE}"), 2),
            };
            match own.run(&mut std::io::stdout()).await {
                Ok(true) => Ok(()),
                Ok(false) => return ExitCode::FAILURE,
                Err(error) => Err(error),
            }
        }
        _ => return say(USAGE, 2),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(&format!("{}: {error}", arguments[0]), 1),
    }
}

fn say(message: &str, code: u8) -> ExitCode {
    // Without a standard error the exit code has to do.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}
