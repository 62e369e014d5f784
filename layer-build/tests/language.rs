//! Comments and documents are written in plain language. A doc comment opens with what the item is
//! or does, and text names its subject instead of pointing at it.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Openings that make a reader look for the subject.
const OPENINGS: [&str; 15] = [
    "What", "That", "Those", "The same", "Whose", "Whether", "How", "Where", "When", "As", "It",
    "This", "These", "One that", "Of",
];
/// The most doc comments of a package with such an opening, in percent.
const MOST_OPENINGS: usize = 2;

/// Words that stand for a noun which the reader has to find.
const PHRASES: [&str; 7] = [
    "nobody",
    "whoever",
    "somebody",
    "of its own",
    "as it came",
    "that of",
    "those of",
];
/// The most such words in 10,000 words of comments.
const MOST_PHRASES: usize = 2;

/// The comments of one file.
#[derive(Debug, Default)]
struct Comments {
    /// All comments, with a space between lines.
    text: String,
    /// Start of each line in `text`, and its number in the file.
    lines: Vec<(usize, usize)>,
    /// First lines of doc comments, with their numbers.
    openings: Vec<(usize, String)>,
}

impl Comments {
    fn of_source(source: &str) -> Self {
        let mut comments = Self::default();
        let mut before = None;
        for (number, line) in (1..).zip(source.lines().map(str::trim_start)) {
            let kinds = ["////", "///", "//!", "//"];
            let kind = kinds.into_iter().find(|kind| line.starts_with(kind));
            if let Some(kind) = kind {
                let text = line[kind.len()..].trim();
                comments.add(number, text);
                if ["///", "//!"].contains(&kind) && before != Some(kind) {
                    comments.openings.push((number, text.to_owned()));
                }
            }
            before = kind;
        }
        comments
    }

    /// Treats a whole document as a comment, except for its blocks of code.
    fn of_document(document: &str) -> Self {
        let mut comments = Self::default();
        let mut code = false;
        for (number, line) in (1..).zip(document.lines()) {
            code ^= line.trim_start().starts_with("```");
            if !code {
                comments.add(number, line.trim());
            }
        }
        comments
    }

    fn add(&mut self, number: usize, text: &str) {
        self.lines.push((self.text.len(), number));
        self.text.push_str(text);
        self.text.push(' ');
    }

    fn words(&self) -> usize {
        self.text.split_whitespace().count()
    }

    /// The lines of doc comments that open with one of [`OPENINGS`].
    fn wrong_openings(&self) -> Vec<(usize, String)> {
        let mut wrong = self.openings.clone();
        wrong.retain(|(_, text)| {
            let mut rest = OPENINGS.iter().filter_map(|word| text.strip_prefix(word));
            rest.any(|rest| !rest.starts_with(char::is_alphanumeric))
        });
        wrong
    }

    /// The lines in which one of [`PHRASES`] begins, with the phrase.
    fn phrases(&self) -> Vec<(usize, String)> {
        let text = self.text.to_ascii_lowercase();
        let mut found = Vec::new();
        for phrase in PHRASES {
            for (at, _) in text.match_indices(phrase) {
                let alone = !text[..at].ends_with(char::is_alphanumeric)
                    && !text[at + phrase.len()..].starts_with(char::is_alphanumeric);
                if alone {
                    let line = self.lines.partition_point(|(start, _)| *start <= at) - 1;
                    found.push((self.lines[line].1, format!("\"{phrase}\"")));
                }
            }
        }
        found.sort();
        found
    }
}

/// Describes the findings if there are more than `most`.
fn complaint(of: &str, what: &str, found: &[String], most: usize) -> Option<String> {
    (found.len() > most).then(|| {
        let (count, lines) = (found.len(), found.join("\n  "));
        format!("{of}: {count} {what}, at most {most}:\n  {lines}")
    })
}

fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    folder.canonicalize().unwrap()
}

/// The folders of the workspace's packages.
fn packages() -> Vec<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| Path::new(package["manifest_path"].as_str().unwrap()))
        .map(|manifest| manifest.parent().unwrap().to_owned())
        .collect()
}

/// Source files in `folder`, except in packages inside of it.
fn sources(folder: &Path, packages: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            } else if path.is_dir() && !path.ends_with("target") && !packages.contains(&path) {
                folders.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Puts the path of the file before each finding.
fn placed(path: &Path, found: Vec<(usize, String)>) -> impl Iterator<Item = String> {
    let path = path.strip_prefix(root()).unwrap().display().to_string();
    found
        .into_iter()
        .map(move |(line, text)| format!("{path}:{line}: {text}"))
}

#[test]
fn comments_name_their_subject() {
    let packages = packages();
    let mut complaints = Vec::new();
    for folder in &packages {
        let (mut doc_comments, mut words) = (0, 0);
        let (mut openings, mut phrases) = (Vec::new(), Vec::new());
        for path in sources(folder, &packages) {
            // This file quotes them.
            if path.ends_with("layer-build/tests/language.rs") {
                continue;
            }
            let comments = Comments::of_source(&read(&path));
            doc_comments += comments.openings.len();
            words += comments.words();
            openings.extend(placed(&path, comments.wrong_openings()));
            phrases.extend(placed(&path, comments.phrases()));
        }
        let name = folder.strip_prefix(root()).unwrap().display().to_string();
        let most = doc_comments * MOST_OPENINGS / 100;
        let what = "doc comments that open without a subject";
        complaints.extend(complaint(&name, what, &openings, most));
        let most = words * MOST_PHRASES / 10_000;
        complaints.extend(complaint(&name, "vague words", &phrases, most));
    }
    assert!(packages.len() > 8);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn documents_name_their_subject() {
    let root = root();
    let mut paths: Vec<_> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "DESIGN.md"]
        .map(|name| root.join(name))
        .to_vec();
    let docs = fs::read_dir(root.join("docs")).unwrap();
    paths.extend(docs.map(|entry| entry.unwrap().path()));
    let mut complaints = Vec::new();
    for path in paths {
        let comments = Comments::of_document(&read(&path));
        complaints.extend(placed(&path, comments.phrases()));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn openings_without_a_subject_are_found_with_their_lines() {
    let source = "\
//! What a module is for.
//! Of course.

/// Itself a name.
/// That is a second line.
fn a() {}

    /// One that is indented.
    // When a comment is no doc comment.
    /// The same, after one that is none.
    fn b() {}
";
    let found = Comments::of_source(source).wrong_openings();
    let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 8, 10]);
    assert_eq!(found[0].1, "What a module is for.");
}

#[test]
fn vague_words_are_found_over_the_end_of_a_line() {
    let source =
        "// has a name of its\n// own, like that. Of all\n/// Nobody's\nlet a = \"whoever\";";
    let found = Comments::of_source(source).phrases();
    let expected = [(1, "\"of its own\""), (3, "\"nobody\"")];
    assert_eq!(
        found,
        expected.map(|(line, phrase)| (line, phrase.to_owned()))
    );
    assert!(Comments::of_source("// somebodyish").phrases().is_empty());
}

#[test]
fn code_of_documents_is_left_out() {
    let document = "somebody\n```\nnobody\n```\nwhoever";
    let lines: Vec<_> = Comments::of_document(document)
        .phrases()
        .into_iter()
        .map(|(line, _)| line)
        .collect();
    assert_eq!(lines, [1, 5]);
}

#[test]
fn only_more_than_the_limit_is_a_complaint() {
    let found = ["a:1: x".to_owned(), "b:2: y".to_owned()];
    assert_eq!(complaint("wire", "words", &found, 2), None);
    let complaint = complaint("wire", "words", &found, 1).unwrap();
    assert_eq!(complaint, "wire: 2 words, at most 1:\n  a:1: x\n  b:2: y");
}
