//! Trimming of documents that are still too large after splitting.

use std::cmp::Reverse;
use std::io::{self, ErrorKind, Write};

use serde_json::{Map, Value};

/// Most stack frames that an exception keeps.
const STACK: usize = 16;

/// Metadata namespace of the mark. Its other values are small and stay.
const OURS: &str = "tracestitch";

/// Smallest size in bytes of a metadata value that is replaced by a note. A smaller value is
/// removed with its key, because the note would hardly be shorter.
const NOTED: usize = 128;

/// Members that stay: X-Ray needs them to place and colour a document, and they are small.
const IDENTITY: [&str; 15] = [
    "name",
    "id",
    "trace_id",
    "parent_id",
    "type",
    "start_time",
    "end_time",
    "in_progress",
    "origin",
    "resource_arn",
    "namespace",
    "error",
    "throttle",
    "fault",
    "links",
];

/// Trims `document` to at most `most` bytes. Returns `None` if its identity is larger than that.
pub(super) fn trim(mut document: Map<String, Value>, most: usize) -> Option<Vec<u8>> {
    let mut trimmed = Vec::new();
    let with = |trimmed: &[&str], more: &str| [trimmed, &[more]].concat().join(", ");

    mark(&mut document, &with(&trimmed, "metadata"));
    if trim_metadata(&mut document, most) {
        return to_json(&document, most);
    }
    if trim_stacks(&mut document) {
        trimmed.push("stack");
        mark(&mut document, &trimmed.join(", "));
        if let Some(json) = to_json(&document, most) {
            return Some(json);
        }
        mark(&mut document, &with(&trimmed, "metadata"));
        if trim_metadata(&mut document, most) {
            return to_json(&document, most);
        }
    }
    remove_members(document, trimmed, most)
}

/// Sets the mark that lists what was trimmed.
fn mark(document: &mut Map<String, Value>, trimmed: &str) {
    let ours = object_in(document, "metadata").and_then(|metadata| object_in(metadata, OURS));
    if let Some(ours) = ours {
        ours.insert("trimmed".to_owned(), trimmed.into());
    }
}

/// Returns the object under `key`. Creates it if the value is absent or not an object.
fn object_in<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    let value = parent.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = Map::new().into();
    }
    value.as_object_mut()
}

/// Removes the largest metadata values until the document has at most `most` bytes. If that is not
/// enough, returns false and changes nothing.
fn trim_metadata(document: &mut Map<String, Value>, most: usize) -> bool {
    let mut excess = size(document).saturating_sub(most);
    let Some(Value::Object(namespaces)) = document.get_mut("metadata") else {
        return excess == 0;
    };
    let mut values: Vec<_> = namespaces
        .iter()
        .filter(|(namespace, _)| *namespace != OURS)
        .filter_map(|(namespace, entries)| Some((namespace, entries.as_object()?)))
        .flat_map(|(namespace, entries)| {
            let sized = |(key, value)| (size(value), namespace.clone(), String::clone(key));
            entries.iter().map(sized)
        })
        .collect();
    if values.iter().map(|(size, ..)| gain(*size)).sum::<usize>() < excess {
        return false;
    }
    values.sort_by_key(|(size, ..)| Reverse(*size));
    for (size, namespace, key) in values {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(gain(size));
        let Some(Value::Object(entries)) = namespaces.get_mut(&namespace) else {
            continue;
        };
        if size >= NOTED {
            entries.insert(key, format!("left out: {size} bytes").into());
        } else {
            entries.remove(&key);
        }
    }
    true
}

/// Bytes that the removal of a metadata value of `size` bytes saves at least.
fn gain(size: usize) -> usize {
    if size >= NOTED {
        // The size in the note has at most 20 digits.
        size - "\"left out:  bytes\"".len() - 20
    } else {
        size
    }
}

/// Cuts long stacks. Returns false if no stack is long.
fn trim_stacks(document: &mut Map<String, Value>) -> bool {
    let exceptions = document
        .get_mut("cause")
        .and_then(|cause| cause.get_mut("exceptions"));
    let Some(Value::Array(exceptions)) = exceptions else {
        return false;
    };
    let mut cut = false;
    for exception in exceptions {
        let Some(Value::Array(stack)) = exception.get_mut("stack") else {
            continue;
        };
        let left_out = stack.len().saturating_sub(STACK);
        if left_out > 0 {
            cut = true;
            stack.truncate(STACK);
            let before = exception["truncated"].as_u64().unwrap_or(0);
            exception["truncated"] = before.saturating_add(left_out as u64).into();
        }
    }
    cut
}

/// Removes the largest members until the document has at most `most` bytes.
fn remove_members(
    mut document: Map<String, Value>,
    mut trimmed: Vec<&str>,
    most: usize,
) -> Option<Vec<u8>> {
    let mut members: Vec<_> = document
        .iter()
        .filter(|(name, _)| !IDENTITY.contains(&name.as_str()))
        .map(|(name, value)| (size(value), name.clone()))
        .collect();
    members.sort_by_key(|(size, _)| Reverse(*size));
    let mut left = size(&document);
    // Members outside the format may have names of any number and length.
    let known = ["metadata", "annotations", "aws", "http", "sql", "cause"];
    for (size, member) in members {
        document.remove(&member);
        left = left.saturating_sub(size);
        let name = known.into_iter().find(|name| *name == member);
        let name = name.unwrap_or("others");
        if !trimmed.contains(&name) {
            trimmed.push(name);
        }
        if left <= most {
            mark(&mut document, &trimmed.join(", "));
            if let Some(json) = to_json(&document, most) {
                return Some(json);
            }
        }
    }
    mark(&mut document, &trimmed.join(", "));
    to_json(&document, most)
}

/// Length of `value` in bytes, as compact JSON.
fn size(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// Serialises `document`. Returns `None` if it is larger than `most` bytes.
pub(super) fn to_json(document: &Map<String, Value>, most: usize) -> Option<Vec<u8>> {
    let mut json = Bounded {
        bytes: Vec::new(),
        most,
    };
    serde_json::to_writer(&mut json, document).ok()?;
    Some(json.bytes)
}

/// A buffer that fails at the first byte too many, because each level of a deep tree is tried.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
