//! Reads the facts of terraform/main.tf without Terraform, which would need an AWS account.

use anyhow::{Context, Result, ensure};
use hcl::expr::{Expression, ObjectKey, TraversalOperator};
use hcl::{Block, Body};
use serde_json::{Map, Number, Value};

use super::vocabulary::{FUNCTIONS, Facts, list};

/// Reads the facts of the text of a configuration.
pub(super) fn facts(text: &str) -> Result<Facts> {
    let body: Body = hcl::from_str(text)?;
    let file = File(&body);
    let mut facts = Facts::new();
    for name in FUNCTIONS {
        file.function(name, &mut facts)?;
    }
    file.source(&mut facts)?;
    let table = file.resource("aws_dynamodb_table", None)?;
    facts.insert(
        "table: deleted with the stack".into(),
        is_deleted(table).to_string(),
    );
    let table = Scope::of(&file, table, "");
    for (question, answer) in [
        ("key", table.get("hash_key")),
        ("billing", table.get("billing_mode")),
        (
            "recovery",
            table.nested("point_in_time_recovery", "enabled"),
        ),
        (
            "encrypted",
            table.nested("server_side_encryption", "enabled"),
        ),
    ] {
        facts.insert(format!("table: {question}"), text_of(&answer));
    }
    let layer = file.resource("aws_lambda_layer_version", None)?;
    let layer = Scope::of(&file, layer, "");
    for (question, key) in [
        ("runtimes", "compatible_runtimes"),
        ("kept", "skip_destroy"),
    ] {
        facts.insert(format!("layer: {question}"), text_of(&layer.get(key)));
    }
    let architecture = file.block("variable", "architecture")?;
    let validation = Scope::of(&file, architecture, "").nested("validation", "condition");
    facts.insert("processors".into(), text_of(&validation["contains"][0]));
    Ok(facts)
}

/// Returns true if Terraform deletes a resource with the others.
fn is_deleted(resource: &Block) -> bool {
    let body = resource.body();
    let keeps = |body: &Body, names: &[&str]| {
        let mut attributes = body.attributes();
        attributes.any(|found| names.contains(&found.key()) && *found.expr() != false.into())
    };
    let lifecycle = body
        .blocks()
        .find(|inner| inner.identifier() == "lifecycle");
    !keeps(body, &["skip_destroy", "deletion_protection_enabled"])
        && !lifecycle.is_some_and(|block| keeps(block.body(), &["prevent_destroy"]))
}

struct File<'a>(&'a Body);

impl<'a> File<'a> {
    fn blocks(&self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.0
            .blocks()
            .filter(move |block| block.identifier() == kind)
    }

    fn block(&self, kind: &'a str, label: &str) -> Result<&'a Block> {
        self.blocks(kind)
            .find(|block| {
                block
                    .labels()
                    .first()
                    .is_some_and(|first| first.as_str() == label)
            })
            .with_context(|| format!("no {kind} {label:?}"))
    }

    /// Finds the resource of a type and, if given, a name.
    fn resource(&self, kind: &str, name: Option<&str>) -> Result<&'a Block> {
        self.blocks("resource")
            .find(|block| {
                let mut labels = block.labels().iter().map(|label| label.as_str());
                labels.next() == Some(kind) && (name.is_none() || labels.next() == name)
            })
            .with_context(|| format!("no {kind} {}", name.unwrap_or_default()))
    }

    fn function(&self, name: &str, facts: &mut Facts) -> Result<()> {
        let mut fact = |question: &str, answer: Value| {
            facts.insert(format!("{name}: {question}"), text_of(&answer));
        };
        let function = Scope::of(self, self.resource("aws_lambda_function", None)?, name);
        for (question, key) in [
            ("runtime", "runtime"),
            ("entry", "handler"),
            ("memory", "memory_size"),
            ("timeout", "timeout"),
        ] {
            fact(question, function.get(key));
        }
        fact("tracing", function.nested("tracing_config", "mode"));
        let layers = function.get("layers");
        fact("layers", layers.as_array().map_or(0, Vec::len).into());
        let variables = function.nested("environment", "variables");
        let variables = variables.as_object().into_iter().flat_map(Map::keys);
        fact("variables", list(variables.cloned()).into());
        let logs = self.resource("aws_cloudwatch_log_group", None)?;
        fact(
            "days of logs",
            Scope::of(self, logs, name).get("retention_in_days"),
        );
        fact("logs deleted with the stack", is_deleted(logs).into());
        let policy = self.resource("aws_iam_role_policy", None)?;
        let policy = Scope::of(self, policy, name).get("policy");
        let statements = policy["Statement"].as_array().context("no statements")?;
        let actions = statements
            .iter()
            .flat_map(|statement| statement["Action"].as_array().into_iter().flatten());
        fact("permissions", list(actions.map(text_of)).into());
        Ok(())
    }

    fn source(&self, facts: &mut Facts) -> Result<()> {
        let mapping = self.resource("aws_lambda_event_source_mapping", None)?;
        let mapping = Scope::of(self, mapping, "");
        let function = text_of(&mapping.get("function_name"));
        let name = function.split('"').nth(1);
        let name = name.with_context(|| format!("{function} does not refer to a function"))?;
        ensure!(FUNCTIONS.contains(&name), "unknown function {name}");
        let mut fact = |question: &str, answer: &Value| {
            facts.insert(format!("{name}{question}"), text_of(answer));
        };
        fact(": batch", &mapping.get("batch_size"));
        fact(": answers", &mapping.get("function_response_types"));
        let concurrency = mapping.nested("scaling_config", "maximum_concurrency");
        fact(": concurrency", &concurrency);
        let queue = self.queue(&mapping.get("event_source_arn"))?;
        let redrive = queue.get("redrive_policy");
        fact("'s queue: deliveries", &redrive["maxReceiveCount"]);
        let dead = self.queue(&redrive["deadLetterTargetArn"])?;
        for (queue, which) in [(queue, "queue"), (dead, "dead letters")] {
            for (question, key) in [
                ("invisible", "visibility_timeout_seconds"),
                ("kept", "message_retention_seconds"),
                ("encrypted", "sqs_managed_sse_enabled"),
            ] {
                fact(&format!("'s {which}: {question}"), &queue.get(key));
            }
        }
        Ok(())
    }

    /// Finds the queue that `aws_sqs_queue.name.arn` refers to.
    fn queue(&self, reference: &Value) -> Result<Scope<'_>> {
        let reference = text_of(reference);
        let name = reference
            .strip_prefix("aws_sqs_queue.")
            .and_then(|rest| rest.strip_suffix(".arn"));
        let name = name.with_context(|| format!("{reference} does not refer to a queue"))?;
        Ok(Scope::of(
            self,
            self.resource("aws_sqs_queue", Some(name))?,
            "",
        ))
    }
}

/// A block, read for one key of its `for_each`.
struct Scope<'a> {
    file: &'a File<'a>,
    body: &'a Body,
    key: &'a str,
}

impl<'a> Scope<'a> {
    fn of(file: &'a File<'_>, block: &'a Block, key: &'a str) -> Self {
        Self {
            file,
            body: block.body(),
            key,
        }
    }

    /// Returns the value of an attribute, or null if it is missing.
    fn get(&self, name: &str) -> Value {
        self.attribute(self.body, name)
    }

    /// Returns the value of an attribute in a nested block, or null if either is missing.
    fn nested(&self, block: &str, name: &str) -> Value {
        let inner = self.body.blocks().find(|inner| inner.identifier() == block);
        inner.map_or(Value::Null, |inner| self.attribute(inner.body(), name))
    }

    fn attribute(&self, body: &Body, name: &str) -> Value {
        let found = body.attributes().find(|found| found.key() == name);
        found.map_or(Value::Null, |found| self.value(found.expr()))
    }

    /// Evaluates an expression. A value that only AWS can provide stays the text of the expression.
    fn value(&self, expression: &Expression) -> Value {
        match expression {
            Expression::Null => Value::Null,
            Expression::Bool(value) => Value::Bool(*value),
            Expression::Number(number) => {
                let number = number.as_i64().map(Number::from);
                number.map_or_else(|| plain(expression), Value::Number)
            }
            Expression::String(text) => Value::String(text.clone()),
            Expression::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Expression::Object(entries) => entries
                .iter()
                .map(|(key, value)| {
                    let key = match key {
                        ObjectKey::Identifier(name) => name.to_string(),
                        other => other.to_string(),
                    };
                    (key, self.value(value))
                })
                .collect(),
            Expression::FuncCall(call) => {
                let mut arguments = call.args.iter().map(|argument| self.value(argument));
                match call.name.name.as_str() {
                    "jsonencode" => arguments.next().unwrap_or_default(),
                    "concat" => arguments
                        .flat_map(|list| list.as_array().cloned().unwrap_or_default())
                        .collect(),
                    "merge" => arguments
                        .flat_map(|object| object.as_object().cloned().unwrap_or_default())
                        .collect(),
                    name => [(name.to_owned(), arguments.collect::<Value>())]
                        .into_iter()
                        .collect(),
                }
            }
            Expression::Traversal(path) => {
                let known = match plain(expression).as_str().unwrap_or_default() {
                    "each.value" => self.local("functions", Some(self.key)),
                    text if text.starts_with("local.") => match path.operators.first() {
                        Some(TraversalOperator::GetAttr(name)) => {
                            self.local(name, (path.operators.len() > 1).then_some(self.key))
                        }
                        _ => None,
                    },
                    text => text.strip_prefix("var.").and_then(|name| {
                        let variable = self.file.block("variable", name).ok()?;
                        Some(self.attribute(variable.body(), "default"))
                    }),
                };
                known.unwrap_or_else(|| plain(expression))
            }
            _ => plain(expression),
        }
    }

    /// Returns a local value, or its entry with the key.
    fn local(&self, name: &str, key: Option<&str>) -> Option<Value> {
        let locals = self.file.blocks("locals").next()?;
        let value = self.attribute(locals.body(), name);
        Some(key.map_or_else(|| value.clone(), |key| value[key].clone()))
    }
}

/// Returns the text of an expression.
fn plain(expression: &Expression) -> Value {
    hcl::format::to_string(expression).map_or(Value::Null, Value::String)
}

/// Converts a value to text: strings without quotes, lists in alphabetical order.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => list(items.iter().map(text_of)),
        other => other.to_string(),
    }
}
