//! The extension's process: configuration, loop, exit code.

use std::fmt::Display;
use std::io::{Write, stdout};
use std::process::ExitCode;

use tracestitch_extension::{Check, Config, run};

const VERSION: &str = concat!("tracestitch-extension ", env!("CARGO_PKG_VERSION"), "\n");

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(flag) if flag == "--version" => return print(VERSION, ExitCode::SUCCESS),
        Some(flag) if flag == "--check" => {
            let check = Check::of(&Config::from_env());
            let code = ExitCode::from(u8::from(check.has_problems()));
            return print(check, code);
        }
        // Lambda gives no arguments; whoever gives others must not be kept from a trace.
        _ => {}
    }
    let config = Config::from_env();
    let log = config.log();
    // One thread: each further one would cost more start-up time than it could save.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            log.error(format_args!("no event loop: {error}; the process ends"));
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.error(format_args!("{error}; the process ends"));
            ExitCode::FAILURE
        }
    };
    // A name that is still being resolved must not hold the exit.
    runtime.shutdown_background();
    code
}

fn print(text: impl Display, code: ExitCode) -> ExitCode {
    // Nobody is left to tell when stdout is closed.
    let _ = write!(stdout(), "{text}");
    code
}
