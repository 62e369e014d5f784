//! Installs packages of another language in the target directory, once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries::target_dir;

/// Returns the folder `name` after `install` has filled it with the packages `wanted`. Does nothing
/// if they are installed.
pub(crate) fn installed(
    name: &str,
    wanted: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = target_dir().join("tools").join(name);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = folder.join("lock");
    // Held until this function returns: one of several test processes installs, the others wait.
    let _lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| format!("{}: {error}", lock.display()))?;
    let mark = folder.join("installed.txt");
    if !fs::read_to_string(&mark).is_ok_and(|text| text == wanted) {
        install(&folder)?;
        fs::write(&mark, wanted).map_err(|error| format!("{}: {error}", mark.display()))?;
    }
    Ok(folder)
}

/// Runs a command of an installation.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?} does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    ))
}
