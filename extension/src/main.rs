//! The extension's process: configuration, loop, exit code.

use std::io::{Write, stdout};
use std::process::ExitCode;

use tracestitch_extension::{Config, run};

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|flag| flag == "--version")
    {
        // Nobody is left to tell when stdout is closed.
        let _ = writeln!(
            stdout(),
            "tracestitch-extension {}",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::SUCCESS;
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
