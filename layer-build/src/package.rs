//! Packs the binary as a layer: a zip with the same bytes on every machine.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::arch::Arch;
use crate::compile::Workspace;

/// Path of the extension below `/opt`: the folder that Lambda searches, and the name of ours.
pub(crate) const ENTRY: &str = "extensions/tracestitch";

/// Mode of the file in the zip: every user may run it.
const MODE: u32 = 0o755;

/// Most bytes of a zip. Every cold start loads them.
const MAX_SIZE: usize = 700_000;

/// A zip file on disk.
#[derive(Debug)]
pub(crate) struct Layer {
    path: PathBuf,
    size: usize,
    pub(crate) sha256: String,
}

/// Writes the zip of `arch`.
///
/// # Errors
///
/// If it would be larger than 700,000 bytes, or cannot be written.
pub(crate) fn layer(workspace: &Workspace, arch: Arch, binary: &Path) -> Result<Layer> {
    let bytes = fs::read(binary).with_context(|| format!("read {}", binary.display()))?;
    let zip = pack(&bytes).context("pack the layer")?;
    ensure!(
        zip.len() <= MAX_SIZE,
        "{} would have {} bytes, expected at most {MAX_SIZE}",
        arch.zip_name(),
        zip.len()
    );
    let path = workspace.output().join(arch.zip_name());
    File::create(&path)
        .and_then(|mut file| file.write_all(&zip))
        .with_context(|| format!("write {}", path.display()))?;
    let unpacked = workspace.output().join(arch.name());
    unpack(binary, &unpacked).with_context(|| format!("write to {}", unpacked.display()))?;
    Ok(Layer {
        path,
        size: zip.len(),
        sha256: sha256(&zip),
    })
}

/// Writes the files that a layer would put under `/opt`, for container images. Lambda runs an image as
/// another user, so every user may read them, whatever the umask of this process is.
fn unpack(binary: &Path, folder: &Path) -> std::io::Result<()> {
    let entry = folder.join(ENTRY);
    let extensions = entry.parent().unwrap_or(folder);
    fs::create_dir_all(extensions)?;
    fs::copy(binary, &entry)?;
    for path in [folder, extensions, &entry] {
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
    }
    Ok(())
}

fn pack(binary: &[u8]) -> Result<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9))
        // The first day of the zip format, because the bytes must not depend on the time.
        .last_modified_time(DateTime::default())
        .unix_permissions(MODE);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(ENTRY, options)?;
    zip.write_all(binary)?;
    Ok(zip.finish()?.into_inner())
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, size, sha256 } = self;
        write!(f, "{}: {size} bytes, sha256 {sha256}", path.display())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn zip_has_one_executable_entry() {
        let packed = pack(b"\x7fELF").unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(&packed)).unwrap();
        assert_eq!(zip.len(), 1);
        let mut entry = zip.by_name(ENTRY).unwrap();
        assert_eq!(entry.unix_mode().unwrap() & 0o7777, 0o755, "executable");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\x7fELF");
    }

    #[test]
    fn unpacked_files_are_executable_by_all_despite_a_closed_umask() {
        let root = tempfile::tempdir().unwrap();
        let binary = root.path().join("binary");
        fs::write(&binary, "x").unwrap();
        let folder = root.path().join("x86_64");
        let extensions = folder.join("extensions");
        fs::create_dir_all(&extensions).unwrap();
        for path in [&binary, &folder, &extensions] {
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        }
        unpack(&binary, &folder).unwrap();
        for path in [&folder, &extensions, &folder.join(ENTRY)] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o755, "{}", path.display());
        }
    }

    #[test]
    fn equal_input_gives_equal_bytes() {
        // Pinned: a change of the packing changes the digest of every layer.
        assert_eq!(sha256(&pack(b"input").unwrap()), PINNED);
    }

    const PINNED: &str = "b85ee2d2254820bcf758cee9bbb7266091846dd86388291c928eed00d1835475";
}
