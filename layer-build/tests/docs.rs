//! Checks that the files, headings, commands, variables and messages in the documents exist.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lists the paths of all documents.
fn documents() -> Vec<String> {
    let mut paths = ["README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(str::to_owned)
        .to_vec();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        paths.push(format!("docs/{name}"));
    }
    assert!(paths.len() > 9);
    paths
}

/// A surplus cell would not be shown.
#[test]
fn rows_have_as_many_cells_as_the_head_of_their_table() {
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    for path in documents() {
        let mut head = None;
        for line in read(&path).lines() {
            if !line.starts_with('|') {
                head = None;
                continue;
            }
            let expected = *head.get_or_insert_with(|| cells(line));
            assert_eq!(cells(line), expected, "{path}: {line}");
        }
    }
}

/// Rows of tables and blocks of code cannot be wrapped.
#[test]
fn text_is_wrapped_at_100_columns() {
    for path in documents() {
        let mut code = false;
        for (number, line) in (1..).zip(read(&path).lines()) {
            code ^= line.trim_start().starts_with("```");
            let fits = line.chars().count() <= 100;
            assert!(fits || code || line.starts_with('|'), "{path}:{number}");
        }
    }
}

#[test]
fn targets_of_links_exist() {
    let mut links = 0;
    for path in documents() {
        let text = read(&path);
        let folder = root().join(&path).parent().unwrap().to_owned();
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => root().join(&path),
                file => folder.join(file),
            };
            assert!(file.exists(), "{path}: {target}");
            let slug = |line: &str| {
                let line = line.trim_start_matches(['#', ' ']).to_lowercase();
                line.replace(' ', "-")
                    .replace([',', '.', '`', '?', '\''], "")
            };
            if !heading.is_empty() {
                let text = fs::read_to_string(&file).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| slug(line) == heading),
                    "{path}: no heading {target}"
                );
            }
            links += 1;
        }
    }
    assert!(links > 20);
}

#[test]
fn files_named_as_proof_exist() {
    let mut files = 0;
    for document in documents() {
        let text = read(&document);
        for quoted in text.split('`').skip(1).step_by(2) {
            let folders = ["wire/", "extension/", "layer-build/", "local/", "tests/"];
            let source = quoted.ends_with(".rs") && folders.iter().any(|f| quoted.starts_with(f));
            if source || quoted.starts_with("docs/") {
                assert!(root().join(quoted).exists(), "{document}: {quoted}");
                files += 1;
            }
        }
    }
    assert!(files > 8);
}

/// Lists every `cargo …` in the documents, without a remark after it.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut commands = Vec::new();
    for path in documents() {
        let text = read(&path);
        for line in text.lines() {
            for rest in line.split("cargo ").skip(1) {
                let before = &line[..line.len() - rest.len() - "cargo ".len()];
                if !(before.trim().is_empty() || before.ends_with('`')) {
                    continue;
                }
                let command = rest.split(['`', '#']).next().unwrap();
                let words = command.split_whitespace().map(str::to_owned).collect();
                commands.push((format!("{path}: cargo {command}"), words));
            }
        }
    }
    assert!(commands.len() > 20);
    commands
}

/// The names of the workspace's test and bench targets.
fn tests_and_benches() -> BTreeSet<String> {
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
        .flat_map(|package| package["targets"].as_array().unwrap())
        .filter(|target| target["kind"] == json!(["test"]) || target["kind"] == json!(["bench"]))
        .map(|target| target["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn commands_exist() {
    let aliases = read(".cargo/config.toml");
    let manifests: BTreeSet<String> = read("Cargo.lock")
        .split("[[package]]\n")
        .filter(|package| !package.contains("\nsource = "))
        .filter_map(|package| package.lines().next()?.split('"').nth(1).map(str::to_owned))
        .collect();
    let targets = tests_and_benches();
    for (place, words) in commands() {
        let (command, arguments) = words.split_first().unwrap();
        let takes = |source: &str, quoted: fn(&str) -> String| {
            let source = read(source);
            for argument in arguments {
                assert!(source.contains(&quoted(argument)), "{place}");
            }
        };
        // An option of clap has the name of its field, or of its attribute.
        let has_options = |source: &str| {
            let source = read(source);
            for name in arguments.iter().filter_map(|word| word.strip_prefix("--")) {
                let is_field = source.contains(&format!(" {name}: "));
                assert!(
                    is_field || source.contains(&format!("long = \"{name}\"")),
                    "{place}"
                );
            }
        };
        match command.as_str() {
            "layer" => {
                let usage = read("layer-build/src/main.rs");
                let line = format!(
                    "\n{} ",
                    ["cargo layer", &arguments.join(" ")].join(" ").trim()
                );
                let end = format!("\n{}\n", line.trim());
                assert!(usage.contains(&line) || usage.contains(&end), "{place}");
            }
            "demo" => has_options("local/src/main.rs"),
            "local" => has_options("local/src/run/options.rs"),
            "cost" => takes("benches/src/main.rs", |argument| format!("\"{argument}\"")),
            known => {
                let builtin = [
                    "add", "bench", "build", "check", "clean", "clippy", "doc", "fmt", "install",
                    "package", "publish", "run", "test", "update", "yank",
                ];
                let installed = ["deny", "fuzz", "lambda", "miri"];
                assert!(
                    builtin.contains(&known) || installed.contains(&known),
                    "{place}"
                );
                for pair in arguments.windows(2) {
                    match pair[0].as_str() {
                        "-p" | "--package" => assert!(manifests.contains(&pair[1]), "{place}"),
                        "--test" | "--bench" => assert!(targets.contains(&pair[1]), "{place}"),
                        _ => {}
                    }
                }
            }
        }
    }
    for alias in ["layer", "demo", "local", "cost"] {
        assert!(aliases.contains(&format!("\n{alias} = ")), "{alias}");
    }
}

#[test]
fn readme_and_guide_list_the_same_commands() {
    // `cargo layer validate` runs the commands of the guide.
    let guide = read("docs/deploy.md");
    let guide = guide.split_once("\n```sh\n").unwrap().1;
    let without_remark = |line: &str| {
        let command = line.split(" #").next().unwrap();
        command.trim().to_owned()
    };
    let known: BTreeSet<_> = guide
        .split("\n```")
        .next()
        .unwrap()
        .lines()
        .map(without_remark)
        .collect();
    let mut found = 0;
    for line in read("README.md").lines() {
        let command = without_remark(line);
        let about = ["rustup ", "cargo layer", "sam ", "export PATH"];
        let is_command = about.iter().any(|start| command.starts_with(start));
        if is_command && !command.contains('`') {
            assert!(known.contains(&command), "docs/deploy.md lacks {command}");
            found += 1;
        }
    }
    assert!(found >= 2);
}

/// Finds the names of variables in a text; only names after a quote if `quoted`.
fn variables(text: &str, quoted: bool) -> BTreeSet<String> {
    let parts = text.split("TRACESTITCH_");
    let starts = parts.clone().map(|before| !quoted || before.ends_with('"'));
    parts
        .skip(1)
        .zip(starts)
        .filter(|(_, starts)| *starts)
        .map(|(rest, _)| {
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_');
            rest[..end.unwrap_or(rest.len())].to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

/// Lists the Rust sources in a folder.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// Finds the names of variables that the sources in a folder quote, outside of comments and tests.
fn variables_of(folder: &str) -> BTreeSet<String> {
    let is_test = |part: &std::path::Component<'_>| {
        ["tests", "tests.rs"]
            .iter()
            .any(|name| part.as_os_str() == *name)
    };
    let mut found = BTreeSet::new();
    for path in sources(folder) {
        let inside = path.strip_prefix(root().join(folder)).unwrap();
        if !inside.components().any(|part| is_test(&part)) {
            let text = fs::read_to_string(path).unwrap();
            let code = text.split("\nmod tests {").next().unwrap();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            found.extend(lines.flat_map(|line| variables(line, true)));
        }
    }
    found
}

/// The last column of the table of messages in docs/context.md.
#[test]
fn tests_that_the_guide_names_exist() {
    let mut tests = String::new();
    for path in sources("handler-wrapper/src") {
        tests += &fs::read_to_string(path).unwrap();
    }
    let guide = read("docs/context.md");
    let table = guide.split_once("| test |\n|---|---|---|\n").unwrap().1;
    let mut found = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let column = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
        for name in column.split('`').skip(1).step_by(2) {
            let is_file = name.ends_with(".rs");
            let exists = match is_file {
                true => root().join("handler-wrapper/src").join(name).exists(),
                false => tests.contains(&format!("fn {name}(")),
            };
            assert!(exists, "docs/context.md names {name}");
            found += 1;
        }
    }
    assert!(found > 15);
}

#[test]
fn readme_lists_the_variables_that_are_read() {
    let shared = variables_of("wire/src");
    let mut function = variables_of("handler-wrapper/src");
    let mut extension = variables_of("extension/src");
    function.extend(shared.iter().cloned());
    extension.extend(shared);
    let readme = read("README.md");
    let table = readme
        .lines()
        .filter(|line| line.starts_with("| `TRACESTITCH_"));
    let mut listed = BTreeSet::new();
    for line in table {
        let name = variables(line.split('|').nth(1).unwrap(), false);
        let name = name.first().unwrap();
        let readers = line
            .trim_end_matches([' ', '|'])
            .rsplit('|')
            .next()
            .unwrap();
        assert_eq!(
            readers.contains("function"),
            function.contains(name),
            "{line}"
        );
        assert_eq!(
            readers.contains("extension"),
            extension.contains(name),
            "{line}"
        );
        listed.insert(name.clone());
    }
    assert_eq!(listed, function.union(&extension).cloned().collect());
    for path in documents() {
        for name in variables(&read(&path), false) {
            assert!(listed.contains(&name), "{path} names TRACESTITCH_{name}");
        }
    }
    let socket = "/tmp/.tracestitch/handoff.sock";
    assert!(readme.contains(socket) && read("wire/src/handoff.rs").contains(socket));
}

#[test]
fn runbook_quotes_existing_messages() {
    let runbook = read("docs/runbook.md");
    // Every reason for a loss, in the form of the closing report.
    let report = read("wire/src/delivery.rs");
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
    assert!(found >= 5);
    for (source, words) in [
        ("extension/src/socket.rs", "another process listens"),
        ("extension/src/connections.rs", "speaks handoff version"),
        ("extension/src/log.rs", "tracestitch-extension"),
        ("extension/src/main.rs", "--check"),
        ("extension/src/main.rs", "--version"),
    ] {
        assert!(
            read(source).contains(words) && runbook.contains(words),
            "{words}"
        );
    }
}

#[test]
fn runbook_has_a_section_for_every_symptom() {
    let runbook = read("docs/runbook.md");
    for symptom in [
        "No traces at all",
        "A chain is broken",
        "Traces twice",
        "Throttled",
        "No permission",
        "The layer is not loaded",
        "Documents are incomplete",
    ] {
        let section = runbook.split_once(&format!("\n### {symptom}\n"));
        let section = section.unwrap_or_else(|| panic!("no section {symptom}")).1;
        let section = section.split("\n### ").next().unwrap();
        assert!(section.trim().len() > 80, "{symptom}");
    }
}
