//! The workflows run every check, with no more rights than they need.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::fs;
use std::path::Path;

use serde_yaml_ng::Value;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn workflow(name: &str) -> Value {
    serde_yaml_ng::from_str(&read(&format!(".github/workflows/{name}.yml"))).unwrap()
}

fn jobs(workflow: &Value) -> Vec<(&str, &Value)> {
    let jobs = workflow["jobs"].as_mapping().unwrap();
    jobs.iter()
        .map(|(name, job)| (name.as_str().unwrap(), job))
        .collect()
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_sequence().unwrap();
    list.iter().map(|name| name.as_str().unwrap()).collect()
}

/// The words between `name=(` and `)` in `.ci/run`.
fn steps_of_ci_run<'a>(script: &'a str, name: &str) -> Vec<&'a str> {
    let list = script.split_once(&format!("\n{name}=(")).unwrap().1;
    list.split_once(')').unwrap().0.split_whitespace().collect()
}

#[test]
fn every_step_of_ci_run_has_a_job() {
    let ci = workflow("ci");
    let script = read(".ci/run");
    let mut steps = steps_of_ci_run(&script, "steps");
    steps.extend(steps_of_ci_run(&script, "more"));
    assert!(steps.len() > 10);
    assert_eq!(
        names(&ci["jobs"]["check"]["strategy"]["matrix"]["step"]),
        steps
    );
    for step in steps {
        assert!(script.contains(&format!("\n{step}() {{\n")), "{step}");
    }
}

#[test]
fn last_job_of_ci_needs_all_others() {
    let ci = workflow("ci");
    let mut others: Vec<_> = jobs(&ci).iter().map(|(name, _)| *name).collect();
    let last = others.pop().unwrap();
    assert_eq!(names(&ci["jobs"][last]["needs"]), others);
    // Otherwise it would be skipped when one of them fails, and a skipped job counts as passed.
    assert_eq!(ci["jobs"][last]["if"], "always()");
    let condition = ci["jobs"][last]["steps"][0]["if"].as_str().unwrap();
    let successes = vec!["success"; others.len()].join(" ");
    assert!(
        condition.ends_with(&format!("!= '{successes}'")),
        "{condition}"
    );
}

#[test]
fn newer_runs_of_ci_cancel_older_ones() {
    let ci = workflow("ci");
    assert_eq!(ci["concurrency"]["cancel-in-progress"], true);
    let group = ci["concurrency"]["group"].as_str().unwrap();
    assert!(group.contains("github.ref"), "{group}");
}

#[test]
fn jobs_may_read_and_the_draft_may_also_write() {
    for name in ["ci", "release"] {
        let workflow = workflow(name);
        assert_eq!(
            workflow["permissions"],
            Value::Mapping([].into_iter().collect())
        );
        for (job, steps) in jobs(&workflow) {
            let rights = steps["permissions"].as_mapping().unwrap();
            let rights: Vec<_> = rights
                .iter()
                .map(|(right, level)| (right.as_str().unwrap(), level.as_str().unwrap()))
                .collect();
            let expected: &[_] = match (name, job) {
                ("release", "draft") => &[
                    ("contents", "write"),
                    ("id-token", "write"),
                    ("attestations", "write"),
                ],
                ("ci", "passed") => &[],
                _ => &[("contents", "read")],
            };
            assert_eq!(rights, expected, "{name}: {job}");
        }
    }
}

#[test]
fn every_job_ends_in_time_and_leaves_no_credentials() {
    for name in ["ci", "release"] {
        for (job, steps) in jobs(&workflow(name)) {
            assert!(steps["runs-on"].is_string(), "{name}: {job}");
            assert!(steps["timeout-minutes"].is_u64(), "{name}: {job}");
            for step in steps["steps"].as_sequence().unwrap() {
                if step["uses"]
                    .as_str()
                    .is_some_and(|it| it.starts_with("actions/checkout@"))
                {
                    assert_eq!(step["with"]["persist-credentials"], false, "{name}: {job}");
                }
            }
        }
    }
}

#[test]
fn release_is_checked_in_full() {
    let workflow = read(".github/workflows/release.yml");
    for command in [
        "cargo layer --strict",
        "cargo layer validate --full",
        "cargo publish --workspace --dry-run",
        "terraform validate",
        "cargo-deny-action",
        "target/layer/SHA256SUMS",
        "target/layer/tracestitch.cdx.json",
        "target/layer/rustc.txt",
        "target/layer/notes.md",
        "cargo layer notes \"$GITHUB_REF_NAME\"",
        "--notes-file layer/notes.md",
        "layer/rustc.txt\n",
    ] {
        assert!(workflow.contains(command), "release.yml lacks {command}");
    }
    assert!(workflow.contains("needs: [layer, templates, crates]"));
}

/// A tag can be moved to other code, a commit cannot. The remark names the tag of the commit.
#[test]
fn actions_are_pinned_to_commits() {
    let mut pinned = std::collections::BTreeMap::new();
    for name in ["ci", "release"] {
        let text = read(&format!(".github/workflows/{name}.yml"));
        for line in text.lines().filter(|line| line.contains("uses: ")) {
            let (_, action) = line.split_once("uses: ").unwrap();
            let (action, tag) = action
                .split_once(" # v")
                .unwrap_or_else(|| panic!("{name}: no tag: {line}"));
            let (action, commit) = action.split_once('@').unwrap();
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_commit, "{name}: {line}");
            assert_eq!(tag.split('.').count(), 3, "{name}: {line}");
            let known = pinned
                .entry(action.to_owned())
                .or_insert_with(|| commit.to_owned());
            assert_eq!(known, commit, "two versions of {action}");
        }
    }
    assert!(pinned.len() > 5);
}

/// The zips get an attestation of their provenance and one of their components.
#[test]
fn release_attests_the_zips() {
    let release = workflow("release");
    let steps = release["jobs"]["draft"]["steps"].as_sequence().unwrap();
    let attestations: Vec<_> = steps
        .iter()
        .filter(|step| {
            let uses = step["uses"].as_str();
            uses.is_some_and(|uses| uses.starts_with("actions/attest@"))
        })
        .map(|step| {
            assert_eq!(step["with"]["subject-path"], "layer/*.zip");
            step["with"]["sbom-path"].as_str()
        })
        .collect();
    assert_eq!(attestations, [None, Some("layer/tracestitch.cdx.json")]);
}
