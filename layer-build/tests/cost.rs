//! Checks the sums in docs/cost.md.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::fs;
use std::path::Path;

const SECONDS: f64 = 30.0 * 24.0 * 3600.0;
const GB_SECOND: f64 = 0.000_016_666_7;
const TRACE: f64 = 0.000_005;
/// Functions per request. Each starts a trace: the first for the order, the others for batches.
const FUNCTIONS: f64 = 3.0;
const FREE: f64 = 100_000.0;

fn sampled(requests: f64, reservoir: f64, rate: f64) -> f64 {
    let kept = requests.min(reservoir * SECONDS);
    kept + (requests - kept) * rate
}

fn xray(traces: f64) -> f64 {
    (traces - FREE).max(0.0) * TRACE
}

/// Price of the traces that a group retrieves, if it retrieves each one that arrives.
fn retrieved(traces: f64) -> f64 {
    (traces - 1_000_000.0).max(0.0) * 0.000_000_5
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn table_of_costs_is_correct() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cost.md");
    let text = fs::read_to_string(path).unwrap();
    let invocation = 0.001 * 0.25 * GB_SECOND;
    assert!(
        text.contains(&format!("= {invocation:.10}`")),
        "{invocation:.10}"
    );

    let columns = [1e6, 1e9].map(|requests: f64| {
        let requests_traced = sampled(requests, 1.0, 0.05);
        let traces = FUNCTIONS * requests_traced;
        let lambda = FUNCTIONS * requests * invocation;
        let low = FUNCTIONS * sampled(requests, 0.0, 0.01);
        [
            format!(
                "{:.*}",
                if requests < 1e9 { 2 } else { 1 },
                requests / SECONDS
            ),
            thousands(requests_traced),
            thousands(traces),
            format!("{:.2}", xray(traces)),
            format!("{lambda:.2}"),
            format!("**{:.2}**", xray(traces) + lambda),
            format!("{:.2}", xray(low) + lambda),
            format!("{:.2}", retrieved(traces)),
        ]
    });
    let [million, billion] = columns;
    for (million, billion) in million.iter().zip(&billion) {
        let cells = format!("| {million} | {billion} |");
        assert!(text.contains(&cells), "docs/cost.md lacks {cells}");
    }
}

#[test]
fn alarms_of_the_template_are_counted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let template = fs::read_to_string(root.join("template.yaml")).unwrap();
    let alarms = template.matches("Type: AWS::CloudWatch::Alarm").count();
    assert_eq!(alarms, 9);
    let text = fs::read_to_string(root.join("docs/cost.md")).unwrap();
    let price = f64::from(u32::try_from(alarms).unwrap()) * 0.10;
    let sentence = format!("nine alarms with one metric each, {price:.2} a month");
    assert!(text.contains(&sentence), "docs/cost.md lacks {sentence:?}");
}
