//! Process of the extension: configuration, loop, exit code.

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
        // Lambda gives no arguments. Unknown ones must not prevent a trace.
        _ => {}
    }
    let config = Config::from_env();
    let log = config.log();
    // One thread: each further one costs more start-up time than it saves.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            log.error(format_args!("no event loop: {error}; the process ends"));
            log.flush();
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
    // A name that is still being resolved must not delay the exit.
    runtime.shutdown_background();
    log.flush();
    code
}

fn print(text: impl Display, code: ExitCode) -> ExitCode {
    // A closed stdout leaves no place for an error.
    let _ = write!(stdout(), "{text}");
    code
}
