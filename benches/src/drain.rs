//! Documents that the extension sends in a second: `cargo cost drain`.

use std::io;

use crate::build;

/// Runs the bench of the extension with the program that is in the layer.
pub(crate) fn table() -> io::Result<String> {
    let extension = build::extension()?;
    let mut command = build::command();
    command
        .args([
            "bench",
            "--package",
            "tracestitch-extension",
            "--bench",
            "drain",
        ])
        .env("TRACESTITCH_TEST_EXTENSION", extension);
    build::output(&mut command).map(|output| build::table_in(&output))
}
