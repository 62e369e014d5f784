//! What the operators' docs point to exists.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn links_lead_somewhere() {
    let folder = root().join("docs");
    let mut links = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let found = fs::read_to_string(folder.join(file));
            let found = found.unwrap_or_else(|_| panic!("{}: {target}", path.display()));
            let slug = |line: &str| {
                let line = line.trim_start_matches(['#', ' ']).to_lowercase();
                line.replace(' ', "-").replace([',', '.', '`'], "")
            };
            assert!(
                heading.is_empty() || found.lines().any(|line| slug(line) == heading),
                "{}: no heading {target}",
                path.display()
            );
            links += 1;
        }
    }
    assert!(links > 5);
}

#[test]
fn files_named_as_proof_exist() {
    for document in ["docs/platform.md", "docs/cost.md", "docs/release.md"] {
        let text = read(document);
        for quoted in text.split('`').skip(1).step_by(2) {
            if quoted.contains('/') && quoted.ends_with(".rs") {
                read(quoted);
            }
        }
    }
}

#[test]
fn the_runbook_quotes_what_is_really_said() {
    let runbook = read("docs/runbook.md");
    // Every reason for a loss, as the closing report names it.
    let report = read("extension/src/report.rs");
    let reasons = report.split_once("enum Loss {").unwrap().1;
    let reasons = reasons.split_once("\n}").unwrap().0;
    let mut found = 0;
    for line in reasons.lines().map(str::trim) {
        let Some(reason) = line.strip_suffix(',').filter(|_| !line.starts_with('/')) else {
            continue;
        };
        let mut name = String::new();
        for (at, c) in reason.char_indices() {
            if c.is_uppercase() && at > 0 {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        assert!(
            runbook.contains(&format!("`{name}`")),
            "the runbook lacks {name}"
        );
        found += 1;
    }
    assert!(found > 5);
    for (source, words) in [
        ("extension/src/socket.rs", "another process listens"),
        ("extension/src/connections.rs", "speaks handoff version"),
        ("extension/src/log.rs", "tracestitch-extension"),
        ("extension/src/main.rs", "--check"),
    ] {
        assert!(
            read(source).contains(words) && runbook.contains(words),
            "{words}"
        );
    }
}
