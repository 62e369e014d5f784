//! Fetches AWS's Runtime Interface Emulator, checks it and keeps it in the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::binaries::target_dir;

/// The Python package that contains the emulator as a static binary; it is not published alone.
const PACKAGE: &str = "aws-sam-cli==1.170.0";

/// Member of the wheel and its SHA-256, by architecture.
const EMULATOR: (&str, &str) = if cfg!(target_arch = "x86_64") {
    (
        "samcli/local/rapid/aws-lambda-rie-x86_64",
        "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    )
} else {
    (
        "samcli/local/rapid/aws-lambda-rie-arm64",
        "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
    )
};

/// Extracts one member from the wheel in a folder and checks its digest.
const EXTRACT: &str = r#"
import glob, hashlib, os, sys, zipfile
folder, member, expected, out = sys.argv[1:]
[wheel] = glob.glob(os.path.join(folder, "*.whl"))
data = zipfile.ZipFile(wheel).read(member)
found = hashlib.sha256(data).hexdigest()
if found != expected:
    sys.exit(f"{member} in {wheel} has SHA-256 {found}, expected {expected}")
with open(out, "wb") as file:
    file.write(data)
os.chmod(out, 0o755)
"#;

/// Returns the path of the emulator, which is fetched at the first use.
///
/// # Panics
/// When it is missing and cannot be fetched; the message says what is needed.
pub fn rie() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        fetch().unwrap_or_else(|problem| {
            panic!(
                "The Runtime Interface Emulator is missing: {problem}\n\
                 The end-to-end tests take it from the Python package {PACKAGE}. This needs \
                 python3 with pip and access to a package index (or set PIP_INDEX_URL)."
            )
        })
    })
}

fn fetch() -> Result<PathBuf, String> {
    let (member, digest) = EMULATOR;
    let folder = target_dir().join("tools");
    // The name contains the digest, so another version is another file.
    let emulator = folder.join(format!("aws-lambda-rie-{}", &digest[..16]));
    if emulator.is_file() {
        return Ok(emulator);
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = folder.join("lock");
    // Held until this function returns: one of several test processes fetches, the others wait.
    let _lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| format!("{}: {error}", lock.display()))?;
    if emulator.is_file() {
        return Ok(emulator);
    }
    let scratch = tempfile::tempdir_in(&folder).map_err(|error| error.to_string())?;
    let unpacked = scratch.path().join("emulator");
    let download = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        PACKAGE,
        "--dest",
    ];
    python(Command::new("python3").args(download).arg(scratch.path()))?;
    python(
        Command::new("python3")
            .args(["-c", EXTRACT])
            .arg(scratch.path())
            .args([member, digest])
            .arg(&unpacked),
    )?;
    fs::rename(&unpacked, &emulator).map_err(|error| format!("{}: {error}", emulator.display()))?;
    Ok(emulator)
}

fn python(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("python3 does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "python3 failed: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    ))
}
