//! A trace as indented text: one line for each segment or subsegment, and below it its errors,
//! links and metadata.

use std::fmt;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value;

use crate::model::{Kind, Place, Trace};

/// Longest displayed value of metadata, in characters.
const VALUE: usize = 200;
/// Deepest displayed indentation, in levels. Nodes below it are not indented further, so that the
/// text grows in proportion to the nodes.
const INDENTED: usize = 64;

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.start();
        let duration = milliseconds(self.duration());
        writeln!(f, "trace {}  {}  {duration}", self.id, time(start))?;
        // An inferred segment repeats its call.
        let roots = self.roots().filter(|root| root.kind != Kind::Inferred);
        for top in roots {
            write_tree(f, self, top, None)?;
        }
        let orphans: Vec<&Place> = self.orphans().collect();
        if let Some((last, others)) = orphans.split_last() {
            writeln!(f, "(parent not received)")?;
            for top in others {
                write_tree(f, self, top, Some(false))?;
            }
            write_tree(f, self, last, Some(true))?;
        }
        Ok(())
    }
}

/// Writes a node and those under it. `is_last` is `None` for a node without a line to its left.
fn write_tree(
    f: &mut fmt::Formatter<'_>,
    trace: &Trace,
    top: &Place,
    is_last: Option<bool>,
) -> fmt::Result {
    // Whether each node above the current one is the last of its siblings. A root has no siblings
    // in the text.
    let mut guides = Vec::new();
    let drawn = usize::from(is_last.is_some());
    let mut waiting = vec![(top, is_last)];
    while let Some((place, is_last)) = waiting.pop() {
        guides.truncate((place.depth() - top.depth() + drawn).saturating_sub(1));
        let (lead, below) = indentation(&guides, is_last);
        writeln!(f, "{lead}{}", line(place))?;
        let children = trace.children(place);
        let children = children.filter(|child| child.kind != Kind::Inferred);
        let children: Vec<&Place> = children.collect();
        // The vertical line leads to the children.
        let bar = if children.is_empty() { "  " } else { "│ " };
        for detail in details(place) {
            writeln!(f, "{below}{bar}  {detail}")?;
        }
        guides.extend(is_last);
        let last = children.len().wrapping_sub(1);
        let children = children.into_iter().enumerate().rev();
        waiting.extend(children.map(|(index, child)| (child, Some(index == last))));
    }
    Ok(())
}

/// Returns the beginning of a node's line, and of the lines below it.
fn indentation(guides: &[bool], is_last: Option<bool>) -> (String, String) {
    let shown = guides.get(guides.len().saturating_sub(INDENTED)..);
    let outer: String = shown
        .into_iter()
        .flatten()
        .map(|is_last| if *is_last { "   " } else { "│  " })
        .collect();
    match is_last {
        None => (outer.clone(), outer),
        Some(true) => (format!("{outer}└─ "), format!("{outer}   ")),
        Some(false) => (format!("{outer}├─ "), format!("{outer}│  ")),
    }
}

fn line(place: &Place) -> String {
    let mut parts = vec![printable(&place.name)];
    match (place.class(), place.kind) {
        (Some(class), _) => parts.push(format!("[{}]", printable(class))),
        (None, Kind::Subsegment) => {}
        (None, _) => parts.push("[segment]".to_owned()),
    }
    let in_progress = || "in progress".to_owned();
    parts.push(place.duration().map_or_else(in_progress, milliseconds));
    let marks = [
        (place.fault, "FAULT"),
        (place.error, "ERROR"),
        (place.throttle, "THROTTLE"),
    ];
    let marks = marks.iter().filter(|(is, _)| *is);
    parts.extend(marks.map(|(_, mark)| (*mark).to_owned()));
    let facts = place.facts().into_iter();
    parts.extend(facts.map(|fact| format!("{}={}", printable(&fact.name), printable(&fact.value))));
    parts.join("  ")
}

/// Returns the lines below a node's line: the whole chain of errors, links, and metadata.
fn details(place: &Place) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, exception) in place.exceptions.iter().enumerate() {
        let text = exception.to_string();
        for (number, text) in text.lines().enumerate() {
            let lead = match (index, number) {
                (1.., 0) => "! caused by ",
                _ => "! ",
            };
            lines.push(format!("{lead}{}", printable(text)));
        }
    }
    let links = place.links.iter();
    lines.extend(links.map(|link| {
        let (id, trace_id) = (printable(&link.id), printable(&link.trace_id));
        format!("-> {id} of {trace_id}")
    }));
    lines.extend(place.metadata().map(|(namespace, key, value)| {
        let (namespace, key) = (printable(namespace), printable(key));
        format!("{namespace}.{key}: {}", short(value))
    }));
    lines
}

fn short(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let mut short: String = printable(&text).chars().take(VALUE).collect();
    if short.len() < text.len() {
        short.push_str("..");
    }
    short
}

/// Returns seconds as milliseconds with their unit.
///
/// ```
/// assert_eq!(tracestitch_traces::text::milliseconds(0.0015), "1.5 ms");
/// ```
#[must_use]
pub fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

/// Returns seconds since 1970 as date and time in UTC, in milliseconds.
///
/// ```
/// use tracestitch_traces::text::time;
///
/// assert_eq!(time(1_478_293_361.271), "2016-11-04T21:02:41.271Z");
/// assert_eq!(time(f64::INFINITY), "unknown time");
/// ```
#[must_use]
pub fn time(seconds: f64) -> String {
    let unknown = || "unknown time".to_owned();
    if !seconds.is_finite() {
        return unknown();
    }
    // A float to integer cast saturates; times that far away have no date below.
    let milliseconds = (seconds * 1000.0).round() as i64;
    DateTime::from_millis(milliseconds)
        .fmt(Format::DateTime)
        .unwrap_or_else(|_| unknown())
}

/// Replaces control characters, which could control the terminal.
///
/// ```
/// assert_eq!(tracestitch_traces::text::printable("a\u{1b}[31m"), "a\u{fffd}[31m");
/// ```
#[must_use]
pub fn printable(text: &str) -> String {
    let visible = |character: char| match character {
        _ if character.is_control() => '\u{fffd}',
        // Controls of the direction of text could reorder a line.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ => character,
    };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests;
