//! Inside a crate, imports lead one way: no two files import each other, directly or through
//! others, and the rooms of the wrapper import along the floor plan of DESIGN.md.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

mod circles;
mod imports;
mod planted;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use imports::{Import, imports};
use source::Crate;

/// A room (a folder at the root of the sources, or a file there), and the rooms it may import. It
/// may also import what these may.
type Plan = [(&'static str, &'static [&'static str])];

/// The floor plan of `handler-wrapper/src`. Test files are free of it.
const WRAPPER: &Plan = &[
    ("lib", &["layer", "consume", "outgoing", "spans"]),
    ("consume", &["layer", "batch"]),
    ("layer", &["incoming", "spans"]),
    ("batch", &["incoming"]),
    ("outgoing", &["trace"]),
    ("spans", &["trace"]),
    ("incoming", &["trace"]),
    ("trace", &["transport"]),
    ("transport", &["settings"]),
    ("settings", &["support"]),
    ("support", &[]),
];

/// The most files and folders at the root of `handler-wrapper/src`.
const MOST_ENTRIES: usize = 12;

fn workspace() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    folder.canonicalize().unwrap()
}

/// A package of the workspace.
struct Package {
    /// Its `src` folder.
    sources: PathBuf,
    /// The library and the programs in that folder.
    crates: Vec<Crate>,
}

static PACKAGES: LazyLock<Vec<Package>> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(workspace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let packages = packages.map(|package| {
        let sources = Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("src");
        let targets = package["targets"].as_array().unwrap().iter();
        let crates = targets
            .map(|target| Path::new(target["src_path"].as_str().unwrap()))
            .filter(|root| root.starts_with(&sources))
            .map(Crate::read)
            .collect();
        Package { sources, crates }
    });
    packages.collect()
});

fn wrapper() -> PathBuf {
    workspace().join("handler-wrapper/src")
}

/// Describes an import: the place, and which names it takes from where.
fn describe(import: &Import<'_>, root: &Path) -> String {
    let short = |path: &Path| {
        path.strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let (from, to, line) = (short(import.from), short(import.to), import.line);
    let names: Vec<_> = import
        .names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    format!("{from}:{line}: imports {} from {to}", names.join(", "))
}

/// Describes each circle of imports in a crate: its files, and every import that is part of it.
fn circles_in(source: &Crate, root: &Path) -> Vec<String> {
    let imports = imports(source);
    circles::circles(imports.iter().map(|import| (import.from, import.to)))
        .into_iter()
        .map(|files| {
            let inside =
                |import: &&Import<'_>| files.contains(import.from) && files.contains(import.to);
            let lines: Vec<_> = imports
                .iter()
                .filter(inside)
                .map(|it| describe(it, root))
                .collect();
            let count = files.len();
            format!("{count} files import each other:\n  {}", lines.join("\n  "))
        })
        .collect()
}

/// Lists each import of a crate whose sources are in `folder` that leads against the plan, and
/// each file that is in no room of it.
fn against(plan: &Plan, source: &Crate, folder: &Path, root: &Path) -> Vec<String> {
    let next: BTreeMap<&str, BTreeSet<&str>> = plan
        .iter()
        .map(|(room, below)| (*room, below.iter().copied().collect()))
        .collect();
    let room = |path: &Path| {
        let path = path.strip_prefix(folder).unwrap();
        let first = Path::new(path.components().next().unwrap().as_os_str());
        first.with_extension("").display().to_string()
    };
    let mut wrong = Vec::new();
    for file in source.files.iter().filter(|file| !file.test) {
        let room = room(&file.path);
        if !next.contains_key(room.as_str()) {
            let path = file.path.strip_prefix(root).unwrap().display();
            wrong.push(format!("{path}:1: `{room}` is not in the plan"));
        }
    }
    for import in imports(source).iter().filter(|import| !import.test) {
        let (from, to) = (room(import.from), room(import.to));
        let planned = next.contains_key(from.as_str()) && next.contains_key(to.as_str());
        let below = circles::reach(&next, from.as_str());
        if planned && from != to && !below.contains(to.as_str()) {
            let import = describe(import, root);
            wrong.push(format!(
                "{import}: the plan has no way from `{from}` to `{to}`"
            ));
        }
    }
    wrong
}

/// Names the entries of a folder if there are more than `most`.
fn too_many_entries(folder: &Path, most: usize) -> Option<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    (names.len() > most).then(|| {
        let (count, names) = (names.len(), names.join(", "));
        format!(
            "{}: {count} entries, at most {most}: {names}",
            folder.display()
        )
    })
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let root = workspace();
    let found: Vec<_> = PACKAGES
        .iter()
        .flat_map(|package| &package.crates)
        .flat_map(|source| circles_in(source, &root))
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn rooms_of_the_wrapper_import_along_the_plan() {
    let folder = wrapper();
    let source = Crate::read(&folder.join("lib.rs"));
    let found = against(WRAPPER, &source, &folder, &workspace());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_plan_itself_has_no_circle() {
    let arrows = WRAPPER
        .iter()
        .flat_map(|(room, below)| below.iter().map(move |other| (*room, *other)));
    assert!(circles::circles(arrows.clone()).is_empty());
    for (_, room) in arrows {
        let known = WRAPPER.iter().any(|(known, _)| *known == room);
        assert!(known, "`{room}` has no row of its own");
    }
}

#[test]
fn design_shows_the_same_plan() {
    let design = fs::read_to_string(workspace().join("DESIGN.md")).unwrap();
    let drawing = design.split("\n```text\nlib -> ").nth(1).unwrap();
    let drawing = format!("lib -> {}", drawing.split("\n```").next().unwrap());
    let mut drawn = BTreeSet::new();
    for chain in drawing.lines().flat_map(|line| line.split("   ")) {
        let groups: Vec<Vec<_>> = chain
            .split(" -> ")
            .map(|group| group.split(", ").map(str::trim).collect())
            .collect();
        for pair in groups.windows(2) {
            for from in &pair[0] {
                drawn.extend(pair[1].iter().map(|to| (*from, *to)));
            }
        }
    }
    assert!(drawn.remove(&("all", "wire")));
    let planned: BTreeSet<_> = WRAPPER
        .iter()
        .flat_map(|(room, below)| below.iter().map(move |other| (*room, *other)))
        .collect();
    assert_eq!(drawn, planned);
}

#[test]
fn the_root_of_the_wrapper_stays_small() {
    assert_eq!(too_many_entries(&wrapper(), MOST_ENTRIES), None);
}

/// A file that no crate reaches would escape the checks above.
#[test]
fn every_source_file_belongs_to_a_crate() {
    let read: BTreeSet<_> = PACKAGES
        .iter()
        .flat_map(|package| &package.crates)
        .flat_map(|source| &source.files)
        .map(|file| &file.path)
        .collect();
    let folders = PACKAGES.iter().map(|package| package.sources.clone());
    let mut folders: Vec<_> = folders.filter(|folder| folder.exists()).collect();
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                assert!(read.contains(&path), "{}", path.display());
                found += 1;
            }
        }
    }
    assert!(found > 100, "{found}");
}
