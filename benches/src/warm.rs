//! A warm invocation of order-api under the emulator, with both halves and with neither:
//! `cargo cost warm`.

use std::io;

use crate::build;

/// Runs the bench of the end-to-end tests, with programs as they are deployed.
pub(crate) fn table() -> io::Result<String> {
    let extension = build::extension()?;
    let function = build::function("order-api", &[])?;
    let mut command = build::command();
    // The harness of the tests; only the two programs are optimised.
    command
        .args([
            "bench",
            "--profile",
            "dev",
            // For a selection of packages cargo would choose other features and compile the AWS
            // SDK a second time.
            "--workspace",
            "--bench",
            "warm",
        ])
        .env("TRACESTITCH_TEST_EXTENSION", extension)
        .env("TRACESTITCH_TEST_FUNCTION", function);
    build::output(&mut command).map(|output| build::table_in(&output))
}
