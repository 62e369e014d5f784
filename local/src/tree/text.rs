//! The tree as indented text, one line for each segment or subsegment.

use std::fmt;

use super::{Kind, Node, Trace};

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trace {}  {}", self.id, milliseconds(self.duration()))?;
        for root in &self.roots {
            write_node(f, root, "", "")?;
        }
        if !self.orphans.is_empty() {
            writeln!(f, "(parent not received)")?;
            write_children(f, &self.orphans, "")?;
        }
        Ok(())
    }
}

/// Writes a node and those under it. `lead` begins the node's line, `below` the lines under it.
fn write_node(f: &mut fmt::Formatter<'_>, node: &Node, lead: &str, below: &str) -> fmt::Result {
    writeln!(f, "{lead}{}", line(node))?;
    // The vertical line leads to the children.
    let bar = if node.children.is_empty() {
        "  "
    } else {
        "│ "
    };
    if let Some(cause) = &node.cause {
        for text in cause.lines() {
            writeln!(f, "{below}{bar}  ! {}", printable(text))?;
        }
    }
    for link in &node.links {
        writeln!(f, "{below}{bar}  -> {} of {}", link.id, link.trace_id)?;
    }
    write_children(f, &node.children, below)
}

fn write_children(f: &mut fmt::Formatter<'_>, children: &[Node], below: &str) -> fmt::Result {
    let Some((last, others)) = children.split_last() else {
        return Ok(());
    };
    for child in others {
        write_node(f, child, &format!("{below}├─ "), &format!("{below}│  "))?;
    }
    write_node(f, last, &format!("{below}└─ "), &format!("{below}   "))
}

fn line(node: &Node) -> String {
    let mut parts = vec![printable(&node.name)];
    match (&node.class, node.kind) {
        (Some(class), _) => parts.push(format!("[{}]", printable(class))),
        (None, Kind::Segment) => parts.push("[segment]".to_owned()),
        (None, Kind::Subsegment) => {}
    }
    parts.push(
        node.duration()
            .map_or_else(|| "in progress".to_owned(), milliseconds),
    );
    let marks = [
        (node.fault, "FAULT"),
        (node.error, "ERROR"),
        (node.throttle, "THROTTLE"),
    ];
    parts.extend(
        marks
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, mark)| (*mark).to_owned()),
    );
    parts.extend(
        node.facts
            .iter()
            .map(|fact| format!("{}={}", fact.name, printable(&fact.value))),
    );
    parts.join("  ")
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

/// Replaces control characters, which could control the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}
