//! Compares the three stacks. A linter checks each alone; here their facts are written in the same
//! words, so that a difference shows.

mod cloudformation;
mod terraform;
mod vocabulary;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;

use self::vocabulary::Facts;

/// Compares terraform/ with template.yaml.
///
/// # Errors
///
/// If one cannot be read, or they differ.
pub(crate) fn compare_terraform(root: &Path) -> Result<()> {
    let path = root.join("terraform/main.tf");
    let found = terraform::facts(&read(&path)?).with_context(|| path.display().to_string())?;
    compare(&template(root)?, "terraform/main.tf", &found)
}

/// Compares the template that CDK made for `arch` with template.yaml.
///
/// # Errors
///
/// If one cannot be read, or they differ.
pub(crate) fn compare_cdk(root: &Path, arch: Arch) -> Result<()> {
    let path = root.join("cdk/cdk.out/Orders.template.json");
    let found = cloudformation::of_cdk(&read(&path)?, arch);
    let found = found.with_context(|| path.display().to_string())?;
    compare(&template(root)?, "cdk/app.ts", &found)
}

fn template(root: &Path) -> Result<Facts> {
    let path = root.join("template.yaml");
    cloudformation::of_sam(&read(&path)?).with_context(|| path.display().to_string())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn compare(template: &Facts, other: &str, found: &Facts) -> Result<()> {
    let questions: BTreeSet<_> = template.keys().chain(found.keys()).collect();
    let nothing = "nothing".to_owned();
    let different: Vec<_> = questions
        .into_iter()
        .filter_map(|question| {
            let expected = template.get(question).unwrap_or(&nothing);
            let found = found.get(question).unwrap_or(&nothing);
            (expected != found)
                .then(|| format!("  {question}: template.yaml has {expected}, {other} has {found}"))
        })
        .collect();
    ensure!(
        different.is_empty(),
        "the stacks differ:\n{}",
        different.join("\n")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn terraform_equals_the_template() {
        compare_terraform(root()).unwrap();
    }

    #[test]
    fn template_has_the_settings_that_stitching_needs() {
        let facts = template(root()).unwrap();
        for (question, answer, reason) in [
            ("order-api: tracing", "Active", "else the caller decides"),
            ("order-worker: tracing", "Active", "else the caller decides"),
            (
                "order-worker: answers",
                "ReportBatchItemFailures",
                "else one bad message fails its batch",
            ),
            (
                "order-api: permissions",
                "dynamodb:PutItem logs:CreateLogStream logs:PutLogEvents sqs:SendMessage \
                 xray:PutTelemetryRecords xray:PutTraceSegments",
                "the calls it makes, and no others",
            ),
            (
                "order-worker: permissions",
                "dynamodb:GetItem dynamodb:UpdateItem logs:CreateLogStream logs:PutLogEvents \
                 sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage \
                 xray:PutTelemetryRecords xray:PutTraceSegments",
                "the calls it makes, and no others",
            ),
            (
                "order-worker's queue: deliveries",
                "5",
                "at least 5 for a queue with a function (Lambda developer guide)",
            ),
            (
                "layer: runtimes",
                "provided.al2023",
                "provided.al2 is deprecated",
            ),
            (
                "table: deleted with the stack",
                "true",
                "one policy in all three",
            ),
            (
                "order-api: logs deleted with the stack",
                "true",
                "one policy in all three",
            ),
            ("layer: kept", "true", "a rollback needs the old version"),
            ("processors", "arm64 x86_64", "both have a layer"),
        ] {
            assert_eq!(
                facts.get(question).map(String::as_str),
                Some(answer),
                "{question}: {reason}"
            );
        }
    }

    #[test]
    fn every_difference_is_listed() {
        let template = Facts::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        let other = Facts::from([("a".into(), "1".into()), ("c".into(), "3".into())]);
        compare(&template, "x", &template).unwrap();
        let error = compare(&template, "x", &other).unwrap_err().to_string();
        assert_eq!(
            error,
            "the stacks differ:\n  b: template.yaml has 2, x has nothing\n  c: template.yaml \
             has nothing, x has 3"
        );
    }

    #[test]
    fn change_of_one_stack_is_a_difference() {
        let template = template(root()).unwrap();
        let text = read(&root().join("terraform/main.tf")).unwrap();
        for (old, new, question) in [
            (r#"mode = "Active""#, r#"mode = "PassThrough""#, "tracing"),
            (
                r#"["ReportBatchItemFailures"]"#,
                "[]",
                "order-worker: answers",
            ),
            (
                r#""xray:PutTelemetryRecords""#,
                r#""xray:*""#,
                "order-api: permissions",
            ),
            ("maxReceiveCount = 5", "maxReceiveCount = 4", "deliveries"),
            (
                "retention_in_days = var",
                "skip_destroy = true\n  retention_in_days = var",
                "order-api: logs deleted with the stack",
            ),
            (
                "server_side_encryption {",
                "lifecycle {\n    prevent_destroy = true\n  }\n  server_side_encryption {",
                "table: deleted with the stack",
            ),
            (
                "maximum_concurrency = 10",
                "maximum_concurrency = 11",
                "order-worker: concurrency",
            ),
            (
                "layers           = [aws_lambda_layer_version.tracestitch.arn]",
                "",
                "order-worker: layers",
            ),
            (r#"["x86_64", "arm64"]"#, r#"["x86_64"]"#, "processors"),
        ] {
            assert!(text.contains(old), "{old}");
            let found = terraform::facts(&text.replace(old, new)).unwrap();
            let error = compare(&template, "t", &found).unwrap_err().to_string();
            assert!(error.contains(question), "{old}: {error}");
        }
    }
}
