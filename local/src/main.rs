//! `tracestitch-local demo [--serve]`.

use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: tracestitch-local demo [--serve]

  demo           runs order-api -> SQS -> order-worker on this machine, prints and checks the traces
  demo --serve   and then keeps the functions and a trace viewer up";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let serve = match arguments[..] {
        ["demo"] => false,
        ["demo", "--serve"] => true,
        _ => return say(USAGE, 2),
    };
    match tracestitch_local::demo::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(&format!("demo: {error}"), 1),
    }
}

fn say(message: &str, code: u8) -> ExitCode {
    // Without a standard error the exit code has to do.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}
