//! A trace as a few lines of text, without the parts that differ from run to run.

use std::fmt::Write as _;

use tracestitch_traces::model::{Place, Trace};

/// Returns one line for each segment and subsegment, indented under its parent: `name`, `aws` or
/// `remote`, the operation, then `FAULT`, `ERROR`, `THROTTLE`.
///
/// Children of a segment that was not sent (Lambda's, under the Runtime Interface Emulator) come
/// last and are not indented.
pub fn outline(trace: &Trace) -> String {
    let mut text = String::new();
    for place in trace.nodes() {
        line(place, &mut text);
    }
    text
}

fn line(node: &Place, text: &mut String) {
    let words = [
        Some(node.name.as_str()),
        node.class(),
        node.text(&["aws", "operation"]),
    ];
    let flags = [
        (node.fault, "FAULT"),
        (node.error, "ERROR"),
        (node.throttle, "THROTTLE"),
    ]
    .into_iter()
    .filter_map(|(set, word)| set.then_some(word));
    let words: Vec<_> = words.into_iter().flatten().chain(flags).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:indent$}{}",
        "",
        words.join(" "),
        indent = 2 * node.depth()
    );
}
