//! The copy of the workspace in which the faults are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::edit;
use crate::list::Mutant;

/// Appended to the crate on which all others depend: the switches. A process reads once which
/// fault it has.
const SWITCHES: &str = r#"
/// Switches for planted faults.
pub mod mutant {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ACTIVE: LazyLock<String> = LazyLock::new(|| {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../mutant"))
            .unwrap_or_default()
    });

    /// Returns whether the fault called `name` is switched on.
    pub fn is(name: &str) -> bool {
        *ACTIVE == name
    }

    /// Returns whether it is, for every `nth` caller.
    pub fn every(name: &str, nth: usize) -> bool {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        is(name) && COUNT.fetch_add(1, Ordering::Relaxed) % nth == nth - 1
    }
}
"#;

/// The crate with the switches, by its folder.
const SWITCHES_IN: &str = "wire";

/// Path of the table in the workspace itself.
const DOCUMENT: &str = "docs/mutants.md";

/// Before the table in that file.
const HEAD: &str = "\
# Planted faults

Which test suites find which planted fault, and how many of their tests fail. Written by

```sh
cargo run -p mutants -- --write
```

which plants each fault of `tests/mutants/src/list.rs` in a copy of the workspace and runs the
short versions of the suites.

";

#[derive(Debug)]
pub(crate) struct Tree {
    workspace: PathBuf,
    root: PathBuf,
}

impl Tree {
    /// Copies the workspace as it is in the working directory to `target/mutants`. Files that did
    /// not change are left alone, so that they are not built again.
    pub(crate) fn copy() -> Result<Self, String> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let workspace = workspace.unwrap_or_else(|| Path::new(".")).to_owned();
        let root = workspace.join("target/mutants");
        let tree = Self { workspace, root };
        let files = tree.files()?;
        for path in files.iter().filter(|path| !is_source(path)) {
            tree.put(path, &read(&tree.workspace.join(path))?)?;
        }
        tree.remove_all_but(&files)?;
        Ok(tree)
    }

    /// The root of the copy.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Copies the crates' sources with all faults in them.
    pub(crate) fn plant(&self, mutants: &[Mutant]) -> Result<(), String> {
        let files = self.files()?;
        let mut sources = Vec::new();
        for path in files.into_iter().filter(|path| is_source(path)) {
            let bytes = read(&self.workspace.join(&path))?;
            let text = String::from_utf8(bytes);
            let text = text.map_err(|_| format!("{} is not UTF-8", path.display()))?;
            sources.push((path, text));
        }
        let mut problems = Vec::new();
        for mutant in mutants {
            if let Err(problem) = plant(&mut sources, mutant) {
                problems.push(problem);
            }
        }
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        for (path, text) in &mut sources {
            if path == &Path::new(SWITCHES_IN).join("src/lib.rs") {
                text.push_str(SWITCHES);
            }
            self.put(path, text.as_bytes())?;
        }
        Ok(())
    }

    /// Names the fault that processes have from now on.
    pub(crate) fn switch_on(&self, name: &str) -> Result<(), String> {
        self.put(Path::new("mutant"), name.as_bytes())
    }

    /// Writes the table into the workspace.
    pub(crate) fn write_table(&self, table: &str) -> Result<(), String> {
        let path = self.workspace.join(DOCUMENT);
        fs::write(&path, format!("{HEAD}{table}"))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// All files that git tracks or would track.
    fn files(&self) -> Result<BTreeSet<PathBuf>, String> {
        let output = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(&self.workspace)
            .output()
            .map_err(|error| format!("git does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("git ls-files: {}", output.status));
        }
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        let paths = names.split_terminator('\0').map(PathBuf::from);
        // Deleted files are still in the index.
        let exists = |path: &PathBuf| self.workspace.join(path).is_file();
        Ok(paths.filter(exists).collect())
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        let to = self.root.join(path);
        let named = |error| format!("{}: {error}", to.display());
        if fs::read(&to).is_ok_and(|present| present == bytes) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(named)?;
        }
        fs::write(&to, bytes).map_err(named)?;
        let from = self.workspace.join(path);
        match fs::metadata(&from) {
            Ok(metadata) => fs::set_permissions(&to, metadata.permissions()).map_err(named),
            Err(_) => Ok(()),
        }
    }

    /// Removes files of an earlier copy that the workspace does not have any more.
    fn remove_all_but(&self, files: &BTreeSet<PathBuf>) -> Result<(), String> {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let here = self.root.join(&folder);
            let named = |error| format!("{}: {error}", here.display());
            for entry in fs::read_dir(&here).map_err(named)? {
                let entry = entry.map_err(named)?;
                let path = folder.join(entry.file_name());
                if path == Path::new("target") || path == Path::new("mutant") {
                    continue;
                }
                if entry.path().is_dir() {
                    folders.push(path);
                } else if !files.contains(&path) {
                    fs::remove_file(entry.path()).map_err(named)?;
                }
            }
        }
        Ok(())
    }
}

fn is_source(path: &Path) -> bool {
    let mut parts = path.iter();
    let (_crate, folder) = (parts.next(), parts.next());
    folder.is_some_and(|folder| folder == "src") && path.extension().is_some_and(|e| e == "rs")
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Plants one fault in the sources of its crate.
fn plant(sources: &mut [(PathBuf, String)], mutant: &Mutant) -> Result<(), String> {
    let mut places = Vec::new();
    let mut count = 0;
    let mine = sources.iter().enumerate();
    for (index, (_, text)) in mine.filter(|(_, (path, _))| path.starts_with(mutant.krate)) {
        match edit::find(text, mutant.code) {
            Ok(place) => {
                count += 1;
                places.push((index, place));
            }
            Err(more) => count += more,
        }
    }
    let ([(index, (start, end))], 1) = (&places[..], count) else {
        return Err(format!(
            "{}: expected this code in one place of {}/src, found it in {count}: {}",
            mutant.name, mutant.krate, mutant.code
        ));
    };
    let module = match mutant.krate {
        SWITCHES_IN => "crate::mutant",
        _ => "tracestitch_wire::mutant",
    };
    let code = edit::with_switch(mutant.faulty, module, mutant.name);
    sources[*index].1.replace_range(*start..*end, &code);
    Ok(())
}
