//! The program as the Lambda extension, so that `tracestitch run` needs no other file.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use tracestitch_extension::{Config, run as run_extension};

/// Returns whether this process was started as an extension: by Lambda or its emulator, in a folder
/// `extensions`.
pub(crate) fn is_wanted() -> bool {
    let program = env::args_os().next().unwrap_or_default();
    let folder = Path::new(&program).parent().and_then(Path::file_name);
    folder.is_some_and(|folder| folder == "extensions")
        && env::var_os("AWS_LAMBDA_RUNTIME_API").is_some()
}

/// Runs the extension until Lambda ends it.
pub(crate) fn run() -> ExitCode {
    let config = Config::from_env();
    let log = config.log();
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => {
            log.error(format_args!("no event loop: {error}; the process ends"));
            log.flush();
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run_extension(config));
    if let Err(error) = &ended {
        log.error(format_args!("{error}; the process ends"));
    }
    // A name that is still being resolved must not delay the exit.
    runtime.shutdown_background();
    log.flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
