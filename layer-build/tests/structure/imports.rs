//! Which file takes which name from which other file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::{Crate, Mention};

/// Names that one file takes from another.
#[derive(Debug)]
pub(crate) struct Import<'a> {
    pub(crate) from: &'a Path,
    /// The first line that takes something.
    pub(crate) line: usize,
    /// The file that defines the names, however many modules re-export them.
    pub(crate) to: &'a Path,
    pub(crate) names: BTreeSet<String>,
    /// True if only a test build compiles the importing file.
    pub(crate) test: bool,
}

/// Lists the imports between files of a crate, in the order of paths and lines.
pub(crate) fn imports(source: &Crate) -> Vec<Import<'_>> {
    let mut imports: BTreeMap<(&Path, &Path), Import<'_>> = BTreeMap::new();
    for (module, parsed) in source.modules.iter().enumerate() {
        for mention in &parsed.mentions {
            let Some(Found::In(file)) = source.resolve_mention(module, mention) else {
                continue;
            };
            let (from, to) = (&source.files[parsed.file], &source.files[file]);
            // A variable may have the name of something that is imported for tests.
            if file == parsed.file || (to.test && !from.test) {
                continue;
            }
            let import = imports
                .entry((&from.path, &to.path))
                .or_insert_with(|| Import {
                    from: &from.path,
                    line: mention.line,
                    to: &to.path,
                    names: BTreeSet::new(),
                    test: from.test,
                });
            import.line = import.line.min(mention.line);
            import.names.insert(defined_name(mention));
        }
    }
    let mut imports: Vec<_> = imports.into_values().collect();
    imports.sort_by_key(|import| (import.from, import.line));
    imports
}

/// The type in `Type::function`, else the last name of the path.
fn defined_name(mention: &Mention) -> String {
    let is_type = |name: &&String| name.starts_with(|c: char| c.is_ascii_uppercase());
    let found = mention.path.iter().find(is_type);
    found
        .unwrap_or_else(|| mention.path.last().unwrap())
        .clone()
}

/// Target of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Module(usize),
    /// Something that this file defines, or takes from another crate.
    In(usize),
}

/// Lookups under way, so that re-exports in a circle end: module, name, whether it is the last.
type Visited = BTreeSet<(usize, String, bool)>;

impl Crate {
    fn resolve_mention(&self, module: usize, mention: &Mention) -> Option<Found> {
        let found = self.resolve(module, &mention.path, &mut Visited::new());
        if found.is_some() || !mention.is_macro || mention.path.len() > 1 {
            return found;
        }
        // The scope of `macro_rules!` includes the modules below.
        let mut around = self.modules[module].parent;
        while let Some(module) = around {
            let module = &self.modules[module];
            if module.macros.contains(&mention.path[0]) {
                return Some(Found::In(module.file));
            }
            around = module.parent;
        }
        None
    }

    /// Follows a path that is written in `module`. `None`: it leads out of the crate, or its first
    /// name is a variable or a parameter.
    fn resolve(&self, module: usize, path: &[String], visited: &mut Visited) -> Option<Found> {
        let mut at = module;
        let mut inside = false;
        for (position, name) in path.iter().enumerate() {
            match name.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.modules[at].parent?,
                name => {
                    let last = position + 1 == path.len();
                    match self.lookup(at, name, last, visited) {
                        Some(Found::Module(next)) => at = next,
                        // What follows the name of a type are names inside of it.
                        Some(found) => return Some(found),
                        // A macro may have defined it.
                        None if inside => return Some(Found::In(self.modules[at].file)),
                        None => return None,
                    }
                }
            }
            inside = true;
        }
        Some(Found::Module(at))
    }

    /// Finds a name in a module. The last name of a path is a module only if it is nothing else;
    /// a name before it is a module if there is one.
    fn lookup(&self, at: usize, name: &str, last: bool, visited: &mut Visited) -> Option<Found> {
        let lookup = (at, name.to_owned(), last);
        if !visited.insert(lookup.clone()) {
            return None;
        }
        let found = self.lookup_once(at, name, last, visited);
        visited.remove(&lookup);
        found
    }

    fn lookup_once(
        &self,
        at: usize,
        name: &str,
        last: bool,
        visited: &mut Visited,
    ) -> Option<Found> {
        let module = &self.modules[at];
        let child = module.children.get(name).copied().map(Found::Module);
        let defined = module.definitions.contains(name) || module.macros.contains(name);
        let defined = defined.then_some(Found::In(module.file));
        let own = if last { defined } else { child.or(defined) };
        if own.is_some() {
            return own;
        }
        let mut found = Vec::new();
        for (alias, path) in &module.imports {
            if alias == name {
                // What comes from another crate is taken from the file that imports it.
                let imported = self.resolve(at, path, visited);
                found.push(imported.unwrap_or(Found::In(module.file)));
            }
        }
        for path in &module.globs {
            if let Some(Found::Module(from)) = self.resolve(at, path, visited) {
                found.extend(self.lookup(from, name, last, visited));
            }
        }
        let is_module = |found: &&Found| matches!(found, Found::Module(_));
        let preferred = found.iter().find(|found| is_module(found) != last);
        preferred.or_else(|| found.first()).copied().or(child)
    }
}
