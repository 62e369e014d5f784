//! The stacks of CDK and Terraform, and the container image, beyond what `src/facts.rs` compares.

use std::fs;

use super::root;

#[test]
fn image_copies_the_files_that_cargo_layer_unpacks() {
    let recipe = fs::read_to_string(root().join("container/Dockerfile")).unwrap();
    let package = fs::read_to_string(root().join("layer-build/src/package.rs")).unwrap();
    assert!(package.contains("const ENTRY: &str = \"extensions/tracestitch\""));
    assert!(recipe.contains("\nCOPY target/layer/${ARCH}/ /\n"));
    assert!(recipe.contains("\nCOPY --from=tracestitch / /opt/\n"));
}

#[test]
fn cdk_is_bootstrapped_and_its_command_is_pinned() {
    let text = fs::read_to_string(root().join("cdk/package.json")).unwrap();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap();
    let version = package["devDependencies"]["aws-cdk"].as_str().unwrap();
    assert!(
        version.starts_with(|c: char| c.is_ascii_digit()),
        "{version}"
    );
    let guide = fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    let bootstrap = guide.find("\nnpx cdk bootstrap").unwrap();
    assert!(bootstrap < guide.find("\nnpx cdk deploy").unwrap());
    assert!(!guide.contains("cdk@") && !text.contains("cdk@"));
}

#[test]
fn cdk_and_terraform_deploy_the_same_zip() {
    let app = fs::read_to_string(root().join("cdk/app.ts")).unwrap();
    assert!(app.contains("\"lambda\", name, \"bootstrap.zip\""));
    let terraform = fs::read_to_string(root().join("terraform/main.tf")).unwrap();
    assert!(terraform.contains("/lambda/${each.key}/bootstrap.zip\""));
}

#[test]
fn terraform_pins_its_provider_and_waits_for_permissions() {
    let text = fs::read_to_string(root().join("terraform/main.tf")).unwrap();
    let lock = fs::read_to_string(root().join("terraform/.terraform.lock.hcl")).unwrap();
    let (_, constraint) = text.split_once("version = \"~> ").unwrap();
    let constraint = constraint.split('"').next().unwrap();
    assert!(lock.contains(&format!("constraints = \"~> {constraint}\"")));
    let (_, version) = lock.split_once("version     = \"").unwrap();
    let number = |text: &str| -> Vec<u32> {
        text.split('"')
            .next()
            .unwrap()
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect()
    };
    let (locked, least) = (number(version), number(constraint));
    assert_eq!(locked[0], least[0], "the next major version may differ");
    assert!(locked >= least);
    // Terraform checks the zip of each platform.
    assert!(lock.matches("\"zh:").count() > 10);
    for resource in ["aws_lambda_function", "aws_lambda_event_source_mapping"] {
        let (_, block) = text
            .split_once(&format!("resource \"{resource}\""))
            .unwrap();
        let block = block.split("\n}\n").next().unwrap();
        let waits = block.lines().any(|line| {
            line.trim().starts_with("depends_on") && line.contains("[aws_iam_role_policy.this]")
        });
        assert!(waits, "{resource} may start without permissions");
    }
}
