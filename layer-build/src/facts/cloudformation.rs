//! Reads template.yaml and the template that CDK makes.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

use crate::arch::Arch;

use super::vocabulary::{FUNCTIONS, Facts, list};

/// Reads the facts of template.yaml, before SAM transforms it.
pub(super) fn of_sam(text: &str) -> Result<Facts> {
    let template = untag(serde_yaml_ng::from_str(text)?)?;
    let template = Template(&template);
    let globals = &template.0["Globals"]["Function"];
    let mut facts = Facts::new();
    for name in FUNCTIONS {
        let (_, resource) = template
            .of_type("AWS::Serverless::Function")
            .find(|(_, resource)| resource["Metadata"]["BuildProperties"]["Binary"] == name)
            .with_context(|| format!("no function is built from {name}"))?;
        let own = &resource["Properties"];
        let property = |key: &str| match &own[key] {
            Value::Null => &globals[key],
            value => value,
        };
        let mut variables = object(&globals["Environment"]["Variables"]);
        variables.extend(object(&own["Environment"]["Variables"]));
        let function = Function {
            name,
            property: &property,
            tracing: property("Tracing"),
            variables,
            role: target(property("Role")),
        };
        function.facts(&template, &mut facts)?;
        for (_, event) in object(&own["Events"]) {
            if event["Type"] == "SQS" {
                template.source(name, &event["Properties"], "Queue", &mut facts)?;
            }
        }
    }
    template.table(&mut facts)?;
    template.layers("AWS::Serverless::LayerVersion", &mut facts);
    let processors = array(&template.0["Parameters"]["Architecture"]["AllowedValues"]);
    facts.insert("processors".into(), list(processors.iter().map(text_of)));
    Ok(facts)
}

/// Reads the facts of the CloudFormation template that CDK makes for `arch`.
pub(super) fn of_cdk(text: &str, arch: Arch) -> Result<Facts> {
    let template: Value = serde_json::from_str(text)?;
    let template = Template(&template);
    let mut facts = Facts::new();
    for name in FUNCTIONS {
        // CDK derives the id from the name.
        let prefix = name.replace('-', "");
        let (id, resource) = template
            .of_type("AWS::Lambda::Function")
            .find(|(id, _)| id.starts_with(&prefix))
            .with_context(|| format!("no function {name}"))?;
        let own = &resource["Properties"];
        ensure!(
            own["Architectures"] == json!([arch.name()]),
            "{name} runs on {}, expected {}",
            own["Architectures"],
            arch.name()
        );
        let property = |key: &str| &own[key];
        let function = Function {
            name,
            property: &property,
            tracing: &own["TracingConfig"]["Mode"],
            variables: object(&own["Environment"]["Variables"]),
            role: target(&own["Role"]),
        };
        function.facts(&template, &mut facts)?;
        for (_, mapping) in template.of_type("AWS::Lambda::EventSourceMapping") {
            let mapping = &mapping["Properties"];
            if target(&mapping["FunctionName"]) == id {
                template.source(name, mapping, "EventSourceArn", &mut facts)?;
            }
        }
    }
    template.table(&mut facts)?;
    template.layers("AWS::Lambda::LayerVersion", &mut facts);
    // The caller makes one template for each processor.
    let processors = Arch::ALL.map(|arch| arch.name().to_owned());
    facts.insert("processors".into(), list(processors));
    Ok(facts)
}

struct Function<'a> {
    name: &'a str,
    property: &'a dyn Fn(&str) -> &'a Value,
    tracing: &'a Value,
    variables: Map<String, Value>,
    role: &'a str,
}

impl Function<'_> {
    fn facts(self, template: &Template<'_>, facts: &mut Facts) -> Result<()> {
        let Self { name, property, .. } = self;
        let mut fact = |question: &str, answer: String| {
            facts.insert(format!("{name}: {question}"), answer);
        };
        for (question, key) in [
            ("runtime", "Runtime"),
            ("entry", "Handler"),
            ("memory", "MemorySize"),
            ("timeout", "Timeout"),
        ] {
            fact(question, text_of(property(key)));
        }
        fact("tracing", text_of(self.tracing));
        fact("layers", array(property("Layers")).len().to_string());
        fact("variables", list(self.variables.keys().cloned()));
        fact("permissions", list(template.permissions(self.role)));
        let group = target(&property("LoggingConfig")["LogGroup"]);
        let logs = template.properties(group)?;
        fact(
            "days of logs",
            text_of(template.parameter(&logs["RetentionInDays"])),
        );
        fact(
            "logs deleted with the stack",
            is_deleted(&template.0["Resources"][group]).to_string(),
        );
        Ok(())
    }
}

struct Template<'a>(&'a Value);

impl<'a> Template<'a> {
    fn of_type(&self, kind: &'static str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let resources = self.0["Resources"].as_object();
        resources
            .into_iter()
            .flatten()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id.as_str(), resource))
    }

    fn properties(&self, id: &str) -> Result<&'a Value> {
        let properties = &self.0["Resources"][id]["Properties"];
        ensure!(properties.is_object(), "no resource {id:?}");
        Ok(properties)
    }

    /// Resolves a reference to a parameter to its default; returns other values unchanged.
    fn parameter(&self, value: &'a Value) -> &'a Value {
        let default = &self.0["Parameters"][target(value)]["Default"];
        if default.is_null() { value } else { default }
    }

    /// Lists the actions that a role allows: by inline policies, by managed policies that it names,
    /// and by policies that name it.
    fn permissions(&self, role: &str) -> Vec<String> {
        let own = &self.0["Resources"][role]["Properties"];
        let named = array(&own["ManagedPolicyArns"]).iter().map(|policy| {
            let policy = &self.0["Resources"][target(policy)]["Properties"];
            &policy["PolicyDocument"]
        });
        let inner = array(&own["Policies"])
            .iter()
            .map(|policy| &policy["PolicyDocument"]);
        let naming = self.of_type("AWS::IAM::Policy").filter_map(|(_, policy)| {
            let policy = &policy["Properties"];
            let roles = array(&policy["Roles"]);
            let names = roles.iter().any(|named| target(named) == role);
            names.then(|| &policy["PolicyDocument"])
        });
        named
            .chain(inner)
            .chain(naming)
            .flat_map(|document| array(&document["Statement"]))
            .flat_map(|statement| match &statement["Action"] {
                Value::Array(actions) => actions.iter().map(text_of).collect(),
                action => vec![text_of(action)],
            })
            .collect()
    }

    /// Reads the facts of a function's event source, its queue and the dead-letter queue.
    fn source(&self, name: &str, source: &Value, queue: &str, facts: &mut Facts) -> Result<()> {
        let mut fact = |question: &str, answer: &Value| {
            facts.insert(format!("{name}{question}"), text_of(answer));
        };
        fact(": batch", &source["BatchSize"]);
        fact(
            ": answers",
            &json!(list(
                array(&source["FunctionResponseTypes"]).iter().map(text_of)
            )),
        );
        let concurrency = &source["ScalingConfig"]["MaximumConcurrency"];
        fact(": concurrency", self.parameter(concurrency));
        let queue = self.properties(target(&source[queue]))?;
        let redrive = &queue["RedrivePolicy"];
        fact("'s queue: deliveries", &redrive["maxReceiveCount"]);
        let dead = self.properties(target(&redrive["deadLetterTargetArn"]))?;
        for (queue, which) in [(queue, "queue"), (dead, "dead letters")] {
            for (question, key) in [
                ("invisible", "VisibilityTimeout"),
                ("kept", "MessageRetentionPeriod"),
                ("encrypted", "SqsManagedSseEnabled"),
            ] {
                fact(&format!("'s {which}: {question}"), &queue[key]);
            }
        }
        Ok(())
    }

    fn table(&self, facts: &mut Facts) -> Result<()> {
        let (_, table) = self
            .of_type("AWS::DynamoDB::Table")
            .next()
            .context("no table")?;
        facts.insert(
            "table: deleted with the stack".into(),
            is_deleted(table).to_string(),
        );
        let table = &table["Properties"];
        let recovery = &table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        for (question, answer) in [
            ("key", &table["KeySchema"][0]["AttributeName"]),
            ("billing", &table["BillingMode"]),
            ("recovery", recovery),
            ("encrypted", &table["SSESpecification"]["SSEEnabled"]),
        ] {
            facts.insert(format!("table: {question}"), text_of(answer));
        }
        Ok(())
    }

    fn layers(&self, kind: &'static str, facts: &mut Facts) {
        for (_, layer) in self.of_type(kind) {
            let own = &layer["Properties"];
            let kept = own["RetentionPolicy"] == "Retain" || layer["DeletionPolicy"] == "Retain";
            let runtimes = array(&own["CompatibleRuntimes"]).iter().map(text_of);
            facts.insert("layer: runtimes".into(), list(runtimes));
            facts.insert("layer: kept".into(), kept.to_string());
        }
    }
}

/// Converts YAML's short forms to JSON's long ones: `!Ref x` becomes `{"Ref": "x"}`.
fn untag(value: Yaml) -> Result<Value> {
    Ok(match value {
        Yaml::Tagged(tagged) => {
            let inner = untag(tagged.value)?;
            match (tagged.tag.to_string().as_str(), &inner) {
                ("!GetAtt", Value::String(path)) => {
                    json!({ "Fn::GetAtt": path.split('.').collect::<Vec<_>>() })
                }
                ("!Ref", _) => json!({ "Ref": inner }),
                (tag, _) => json!({ format!("Fn::{}", tag.trim_start_matches('!')): inner }),
            }
        }
        Yaml::Sequence(items) => items.into_iter().map(untag).collect::<Result<_>>()?,
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = key.as_str().context("a key that is not a string")?;
                object.insert(key.to_owned(), untag(value)?);
            }
            Value::Object(object)
        }
        plain => serde_json::to_value(plain)?,
    })
}

/// Returns the name in a reference, or an empty string if `value` is not one.
fn target(value: &Value) -> &str {
    let name = value["Ref"]
        .as_str()
        .or_else(|| value["Fn::GetAtt"][0].as_str());
    name.unwrap_or_default()
}

/// Returns true if CloudFormation deletes a resource with its stack, or if another takes its place.
fn is_deleted(resource: &Value) -> bool {
    let deletes = |policy: &str| resource[policy] == "Delete";
    deletes("DeletionPolicy") && deletes("UpdateReplacePolicy")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Converts a value to text, without quotes around a string.
fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_converted_to_long_ones() {
        let yaml = serde_yaml_ng::from_str("a: !Ref B\nc: !GetAtt D.Arn\ne: !Sub f").unwrap();
        let json = untag(yaml).unwrap();
        assert_eq!(
            json,
            json!({"a": {"Ref": "B"}, "c": {"Fn::GetAtt": ["D", "Arn"]}, "e": {"Fn::Sub": "f"}})
        );
        assert_eq!((target(&json["a"]), target(&json["c"])), ("B", "D"));
    }
}
