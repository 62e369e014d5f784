//! JSON objects of a document, and refusals that name a member of one.

use serde_json::{Map, Value};

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The refused member, such as `subsegments[0].http.request.url`; empty for the whole.
    pub field: String,
    /// The found value and the expected form.
    pub reason: String,
}

impl Refusal {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// A JSON object and its path in the document.
pub(super) struct Object<'a> {
    path: String,
    pub(super) members: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// Returns the document itself.
    pub(super) fn root(body: &'a Value) -> Result<Self, Refusal> {
        Self::at(String::new(), body)
    }

    /// Returns the object at `path`.
    pub(super) fn at(path: String, value: &'a Value) -> Result<Self, Refusal> {
        match value.as_object() {
            Some(members) => Ok(Self { path, members }),
            None => Err(Refusal::new(path, expected("an object", value))),
        }
    }

    pub(super) fn get(&self, member: &str) -> Option<&'a Value> {
        self.members.get(member)
    }

    /// Returns the path of a member.
    pub(super) fn path(&self, member: &str) -> String {
        if self.path.is_empty() {
            member.to_owned()
        } else {
            format!("{}.{member}", self.path)
        }
    }

    pub(super) fn missing(&self, member: &str) -> Refusal {
        self.refuse(member, "missing")
    }

    pub(super) fn refuse(&self, member: &str, reason: impl Into<String>) -> Refusal {
        Refusal::new(self.path(member), reason)
    }
}

/// Formats a found value, cut to 60 characters, and the expected form.
pub(super) fn expected(expected: &str, value: &Value) -> String {
    let found: String = value.to_string().chars().take(60).collect();
    format!("{found}, expected {expected}")
}
