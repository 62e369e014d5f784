//! Installs the Python clients of X-Ray and runs scripts with them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::packages::{installed, run};

/// The packages, with pinned versions.
const REQUIREMENTS: [&str; 3] = ["awscli==1.46.3", "aws-xray-sdk==2.15.0", "boto3==1.44.8"];

/// Returns the folder of the programs of a Python environment with the AWS CLI, boto3 and the
/// X-Ray SDK. The first use installs it in the target directory.
///
/// # Panics
/// When it is missing and cannot be installed; the message names what is needed.
pub fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        install().unwrap_or_else(|problem| {
            panic!(
                "The Python clients of X-Ray are missing: {problem}\n\
                 The tests install {REQUIREMENTS:?}. This needs python3 with venv and pip, and \
                 access to a package index (or set PIP_INDEX_URL)."
            )
        })
    })
}

fn install() -> Result<PathBuf, String> {
    let folder = installed("python-clients", &REQUIREMENTS.join("\n"), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(REQUIREMENTS))
    })?;
    Ok(folder.join("bin"))
}

/// Returns a command of that environment for a client of the X-Ray API at `endpoint`, without the
/// settings and credentials of this user.
#[must_use]
pub fn client(program: &str, endpoint: &str) -> Command {
    let mut command = Command::new(programs().join(program));
    command
        .env_clear()
        .env("PATH", programs())
        .env("HOME", "/nonexistent")
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL_XRAY", endpoint);
    command
}
