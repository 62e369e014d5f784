//! Programs that are built for a measurement.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Arguments of the linker, as `cargo layer` has them.
const LINK: [&str; 4] = [
    "-C",
    "link-arg=-Tlayer-build/no-unwinding.ld",
    "-C",
    "link-arg=--pack-dyn-relocs=relr",
];

/// Builds the extension as it is in the layer: static, with the profile and the linker of the layer.
pub(crate) fn extension() -> io::Result<PathBuf> {
    static_program("tracestitch-extension")
}

/// Builds a package as the layer has it. Returns its program.
pub(crate) fn static_program(package: &str) -> io::Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", env::consts::ARCH);
    let linker = target.to_uppercase().replace('-', "_");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = command();
    cargo
        .current_dir(workspace)
        .args(["rustc", "--profile", "layer", "--target", &target])
        .args(["--package", package, "--bin", package, "--"])
        .args(LINK)
        .env(format!("CARGO_TARGET_{linker}_LINKER"), "rust-lld");
    output(&mut cargo)
        .map_err(|error| io::Error::other(format!("{error} (rustup target add {target})")))?;
    Ok(target_folder()?.join(target).join("layer").join(package))
}

/// Builds a function with Cargo's release defaults. Returns its program.
pub(crate) fn function(package: &str, features: &[&str]) -> io::Result<PathBuf> {
    let features = features.join(",");
    let arguments = ["build", "--profile", "bench", "--package", package];
    run(&[&arguments[..], &["--features", &features]].concat())?;
    Ok(target_folder()?.join("release").join(package))
}

/// Runs cargo, and returns what it prints.
pub(crate) fn run(arguments: &[&str]) -> io::Result<String> {
    output(command().args(arguments))
}

/// Returns what cargo prints.
pub(crate) fn output(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(format!("{command:?}: {}", output.status))),
    }
}

/// Returns the cargo that started this program.
pub(crate) fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Returns the lines of a table in the output of a program.
pub(crate) fn table_in(output: &str) -> String {
    let lines = output.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| format!("{line}\n")).collect()
}

fn target_folder() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let folder = program.ancestors().nth(2).unwrap_or_else(|| Path::new("."));
    Ok(folder.to_owned())
}
