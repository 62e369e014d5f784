//! `tracestitch check`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use tracestitch_traces::lint;
use tracestitch_traces::model::{Document, Trace};
use tracestitch_traces::text::printable;

use crate::error::Result;

/// Options of `tracestitch check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
A file has one document, an array of documents, one document on each line (with or without the
daemon's header lines), or the output of `aws xray batch-get-traces`.

Examples:
  tracestitch check segment.json
  tracestitch check documents.jsonl --json
  aws xray batch-get-traces --trace-ids .. | tracestitch check -

Exit code: 0 without findings, 1 with findings, 2 after an error.")]
pub struct CheckOptions {
    /// The files; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Writes JSON
    #[arg(long)]
    json: bool,
}

/// A broken rule.
struct Finding {
    file: String,
    line: Option<usize>,
    rule: String,
    text: String,
}

impl CheckOptions {
    /// Writes what X-Ray would refuse or not understand; returns whether there was nothing.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let mut findings = Vec::new();
        for path in &self.files {
            let name = path.display().to_string();
            let text = read(path).map_err(|error| format!("{name}: {error}"))?;
            check(&name, &text, &mut findings);
        }
        if self.json {
            let findings: Vec<Value> = findings.iter().map(object).collect();
            writeln!(out, "{}", json!({"version": 1, "findings": findings}))?;
        } else {
            for Finding {
                file,
                line,
                rule,
                text,
            } in &findings
            {
                let line = line.map(|line| format!(":{line}")).unwrap_or_default();
                let rule = if rule.is_empty() { "document" } else { rule };
                writeln!(
                    out,
                    "{file}{line}: {}: {}",
                    printable(rule),
                    printable(text)
                )?;
            }
        }
        Ok(findings.is_empty())
    }
}

fn object(finding: &Finding) -> Value {
    let Finding {
        file,
        line,
        rule,
        text,
    } = finding;
    json!({"file": file, "line": line, "rule": rule, "text": text})
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        io::stdin().read_to_end(&mut text)?;
    } else {
        File::open(path)?.read_to_end(&mut text)?;
    }
    Ok(text)
}

fn check(file: &str, text: &[u8], findings: &mut Vec<Finding>) {
    let mut traces: BTreeMap<String, Vec<Document>> = BTreeMap::new();
    for (line, document) in documents(text) {
        match lint::document(&document) {
            Ok(body) => {
                if let Some(document) = Document::read(body) {
                    traces
                        .entry(document.trace_id.clone())
                        .or_default()
                        .push(document);
                }
            }
            Err(refusal) => findings.push(Finding {
                file: file.to_owned(),
                line,
                rule: refusal.field,
                text: refusal.reason,
            }),
        }
    }
    for (id, documents) in traces {
        let trace = Trace::build(id, &documents);
        findings.extend(trace.findings().iter().map(|finding| Finding {
            file: file.to_owned(),
            line: None,
            rule: format!("trace {}", trace.id),
            text: finding.to_string(),
        }));
    }
}

/// Returns the documents of a file, with their lines if each has one.
fn documents(text: &[u8]) -> Vec<(Option<usize>, Vec<u8>)> {
    let whole: Option<Value> = serde_json::from_slice(text).ok();
    match whole {
        Some(Value::Array(documents)) => {
            let bytes = documents
                .iter()
                .map(|document| document.to_string().into_bytes());
            bytes.map(|document| (None, document)).collect()
        }
        Some(value) if value["Traces"].is_array() => {
            let traces = value["Traces"].as_array().into_iter().flatten();
            let segments = traces
                .flat_map(|trace| trace["Segments"].as_array())
                .flatten();
            let documents = segments.filter_map(|segment| segment["Document"].as_str());
            documents
                .map(|document| (None, document.as_bytes().to_vec()))
                .collect()
        }
        Some(_) => vec![(None, text.trim_ascii().to_vec())],
        None => {
            let lines = text.split(|byte| *byte == b'\n').zip(1..);
            let lines = lines.map(|(line, number)| (Some(number), line.trim_ascii().to_vec()));
            lines
                .filter(|(_, line)| !line.is_empty() && !is_header(line))
                .collect()
        }
    }
}

/// Returns whether a line is the header of a datagram.
fn is_header(line: &[u8]) -> bool {
    let header: Option<Value> = serde_json::from_slice(line).ok();
    header.is_some_and(|header| header["format"].is_string() && header["id"].is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = r#"{"name":"shop","id":"70de5b6f19ff9a0a","trace_id":"1-581cf771-a006649127e371903a2de979","start_time":1.0,"end_time":2.5}"#;

    fn found(text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check("f", text.as_bytes(), &mut findings);
        let line =
            |finding: &Finding| format!("{:?} {} {}", finding.line, finding.rule, finding.text);
        findings.iter().map(line).collect()
    }

    #[test]
    fn each_form_of_file_is_read() {
        let header = r#"{"format":"json","version":1}"#;
        let answer = json!({"Traces": [{"Segments": [{"Document": VALID}]}]});
        for text in [
            VALID.to_owned(),
            format!("{header}\n{VALID}\n"),
            format!("[{VALID}]"),
            answer.to_string(),
            String::new(),
        ] {
            assert_eq!(found(&text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn refusal_has_its_line_and_trace_its_defects() {
        let second = VALID.replace("70de5b6f19ff9a0a", "xyz");
        let lines = found(&format!("{VALID}\n\n{second}\n{VALID}"));
        assert!(lines[0].starts_with("Some(3) id "), "{lines:?}");
        assert!(
            lines[1].contains("duplicate: 70de5b6f19ff9a0a"),
            "{lines:?}"
        );
    }
}
