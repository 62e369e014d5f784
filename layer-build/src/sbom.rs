//! Lists the crates in the layer's binary as a CycloneDX document.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::arch::Arch;
use crate::compile::Workspace;

const PACKAGE: &str = "tracestitch-extension";

/// Writes `tracestitch.cdx.json` and returns its path and the number of components.
pub(crate) fn write(workspace: &Workspace) -> Result<(PathBuf, usize)> {
    let mut components = BTreeMap::new();
    for arch in Arch::ALL {
        for line in tree(workspace, arch)?.lines() {
            let component = Component::read(line).with_context(|| {
                format!("cargo tree printed {line:?}, expected name v1|license")
            })?;
            components.insert(
                (component.name.clone(), component.version.clone()),
                component,
            );
        }
    }
    let subject = components
        .extract_if(.., |(name, _), _| name == PACKAGE)
        .next()
        .context("cargo tree does not name the extension")?
        .1;
    let path = workspace.output().join("tracestitch.cdx.json");
    let components: Vec<_> = components.into_values().collect();
    fs::write(&path, document(&subject, &components))
        .with_context(|| format!("write {}", path.display()))?;
    Ok((path, components.len()))
}

/// Lists all crates that are linked into the extension, one per line.
fn tree(workspace: &Workspace, arch: Arch) -> Result<String> {
    let done = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace.root())
        .args([
            "tree",
            "--locked",
            "--package",
            PACKAGE,
            "--edges",
            "normal",
        ])
        .args(["--target", arch.target(), "--prefix", "none", "--no-dedupe"])
        .args(["--format", "{p}|{l}"])
        .output()
        .context("start cargo tree")?;
    if !done.status.success() {
        bail!(
            "cargo tree: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    String::from_utf8(done.stdout).context("the output of cargo tree is not UTF-8")
}

#[derive(Debug, PartialEq, Eq)]
struct Component {
    name: String,
    version: String,
    license: String,
}

impl Component {
    /// Reads `name v1.2.3 (something)|license`.
    fn read(line: &str) -> Option<Self> {
        let (package, license) = line.rsplit_once('|')?;
        let mut words = package.split_whitespace();
        Some(Self {
            name: words.next()?.to_owned(),
            version: words.next()?.strip_prefix('v')?.to_owned(),
            // The slash is the older form of `OR`.
            license: license
                .split('/')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" OR "),
        })
    }

    /// Formats the component. No member needs escaping, because names, versions and licences of
    /// crates are plain ASCII.
    fn json(&self, kind: &str) -> String {
        let Self {
            name,
            version,
            license,
        } = self;
        format!(
            r#"{{"type":"{kind}","bom-ref":"pkg:cargo/{name}@{version}","name":"{name}","version":"{version}","purl":"pkg:cargo/{name}@{version}","licenses":[{{"expression":"{license}"}}]}}"#
        )
    }
}

fn document(subject: &Component, components: &[Component]) -> String {
    let components: Vec<_> = components
        .iter()
        .map(|component| component.json("library"))
        .collect();
    let content = format!(
        r#""metadata":{{"component":{}}},"components":[
{}
]"#,
        subject.json("application"),
        components.join(",\n")
    );
    let serial = serial_number(&content);
    format!(
        r#"{{"bomFormat":"CycloneDX","specVersion":"1.5","serialNumber":"{serial}","version":1,{content}}}
"#
    )
}

/// Derives the serial number from the content, so that the same crates give the same bytes. It is a
/// UUID of version 8, whose bits the application chooses (RFC 9562, section 5.8).
fn serial_number(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "urn:uuid:{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tree_are_components() {
        let component = Component::read("tower v0.5.3 (/some/where)|MIT/Apache-2.0").unwrap();
        assert_eq!(component.name, "tower");
        assert_eq!(component.version, "0.5.3");
        assert_eq!(component.license, "MIT OR Apache-2.0");
        assert_eq!(Component::read("tower"), None);
    }

    #[test]
    fn document_is_json() {
        let component = || Component::read("a v1.0.0|MIT").unwrap();
        let text = document(&component(), &[component(), component()]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["components"][1]["purl"], "pkg:cargo/a@1.0.0");
    }

    /// `actions/attest` refuses a document without one of these members.
    #[test]
    fn document_has_what_an_attestation_needs() {
        let document = |version| {
            let component = Component::read(&format!("a v{version}|MIT")).unwrap();
            let text = document(&component, &[]);
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let json = document("1.0.0");
        assert_eq!(json["bomFormat"], "CycloneDX");
        assert_eq!(json["specVersion"], "1.5");
        let serial = json["serialNumber"].as_str().unwrap();
        let uuid = serial.strip_prefix("urn:uuid:").unwrap();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'8');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]));
        assert_eq!(json, document("1.0.0"), "the same crates, the same bytes");
        assert_ne!(json["serialNumber"], document("1.0.1")["serialNumber"]);
    }
}
