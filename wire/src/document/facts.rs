//! Facts about an AWS call or resource.

use serde_json::Value;

use super::json::Json;
use super::text::{TEXT_LENGTH, start};
use super::url::clean_urls;
use super::value;

/// Facts about an AWS call or resource by snake-case name, in order of insertion (X-Ray developer
/// guide, "Segment documents", `aws`). Texts at any depth have at most 250 characters.
///
/// Stored as JSON, because the document of a call is written twice, at its begin and its end, and
/// most facts are known from the begin.
///
/// ```
/// use tracestitch_wire::document::Facts;
///
/// let mut facts = Facts::new();
/// facts.insert("operation", "GetItem");
/// facts.insert("retries", 1);
/// facts.insert("retries", 2);
/// assert_eq!(facts.get("retries"), Some(2.into()));
/// assert_eq!(facts.get("region"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Members, each after a comma.
    json: Vec<u8>,
    /// Name of each member and its position in `json`.
    members: Vec<(&'static str, usize)>,
}

/// Number of facts and bytes of a usual call: operation, region, table or queue, retries, request
/// id.
const USUAL: (usize, usize) = (8, 256);

/// The value of a fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<'a> {
    /// A text.
    Text(&'a str),
    /// Any other value.
    Value(Value),
}

impl Facts {
    /// No facts; allocates nothing.
    pub const fn new() -> Self {
        Self {
            json: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Adds a fact, or replaces the one with this name.
    pub fn insert<'a>(&mut self, name: &'static str, fact: impl Into<Fact<'a>>) {
        if let Some(known) = self.members.iter().position(|(known, _)| *known == name) {
            self.remove(known);
        }
        if self.members.is_empty() {
            self.members.reserve(USUAL.0);
            self.json.reserve(USUAL.1);
        }
        self.members.push((name, self.json.len()));
        self.json.push(b',');
        name.write(&mut self.json);
        self.json.push(b':');
        match fact.into() {
            Fact::Text(text) => start(&clean_urls(text), TEXT_LENGTH).write(&mut self.json),
            Fact::Value(mut value) => {
                value::limit(&mut value, TEXT_LENGTH);
                value.write(&mut self.json);
            }
        }
    }

    fn remove(&mut self, index: usize) {
        let (_, start) = self.members.remove(index);
        let end = self.end(start);
        self.json.drain(start..end);
        for (_, later) in &mut self.members[index..] {
            *later -= end - start;
        }
    }

    /// End of the member at `start`.
    fn end(&self, start: usize) -> usize {
        let mut starts = self.members.iter().map(|(_, start)| *start);
        starts.find(|next| *next > start).unwrap_or(self.json.len())
    }

    /// Returns the fact with this name.
    pub fn get(&self, name: &str) -> Option<Value> {
        let &(name, start) = self.members.iter().find(|(known, _)| *known == name)?;
        let mut quoted = Vec::new();
        name.write(&mut quoted);
        let value = start + ",:".len() + quoted.len()..self.end(start);
        serde_json::from_slice(self.json.get(value)?).ok()
    }

    /// Calls `edit` with each fact.
    pub(super) fn edit(&mut self, mut edit: impl FnMut(&'static str, &mut Value)) {
        let before = std::mem::take(self);
        for &(name, _) in &before.members {
            if let Some(mut value) = before.get(name) {
                edit(name, &mut value);
                self.insert(name, Fact::Value(value));
            }
        }
    }

    /// Returns true if there are no facts.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Json for Facts {
    fn write(&self, out: &mut Vec<u8>) {
        let members = self.json.get(1..).unwrap_or_default();
        out.reserve(members.len() + 2);
        out.push(b'{');
        out.extend_from_slice(members);
        out.push(b'}');
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<'a> From<&'a str> for Fact<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<Value> for Fact<'_> {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

macro_rules! from_plain {
    ($($plain:ty),*) => {$(
        impl From<$plain> for Fact<'_> {
            fn from(value: $plain) -> Self {
                Self::Value(value.into())
            }
        }
    )*};
}
from_plain!(bool, i32, u32, i64, u64, usize, f64);

impl From<Fact<'_>> for Value {
    fn from(fact: Fact<'_>) -> Self {
        match fact {
            Fact::Text(text) => text.into(),
            Fact::Value(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(facts: &Facts) -> String {
        let mut json = Vec::new();
        facts.write(&mut json);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn repeated_name_replaces_its_fact_at_any_position() {
        const NAMES: [&str; 3] = ["first", "the \"second\"", "third"];
        for again in NAMES {
            let mut facts = Facts::new();
            assert_eq!(written(&facts), "{}");
            for name in NAMES {
                facts.insert(name, json!({ "nested": [1, ",\"first\":2"] }));
            }
            facts.insert(again, "new");
            let read: Value = serde_json::from_str(&written(&facts)).unwrap();
            assert_eq!(read.as_object().unwrap().len(), NAMES.len());
            for name in NAMES {
                assert_eq!(facts.get(name).as_ref(), read.get(name));
                assert_eq!(facts.get(name) == Some("new".into()), name == again);
            }
        }
    }

    #[test]
    fn texts_are_cut_and_escaped() {
        let mut facts = Facts::new();
        facts.insert("text", "é\"\n".repeat(100).as_str());
        let text = facts.get("text").unwrap();
        assert_eq!(text.as_str().unwrap().chars().count(), 250);
        assert!(text.as_str().unwrap().starts_with("é\"\né"));
    }

    #[test]
    fn edited_facts_replace_the_old_ones() {
        let mut facts = Facts::new();
        facts.insert("a", 1);
        facts.insert("b", "text");
        facts.edit(|name, value| *value = format!("{name} {value}").into());
        assert_eq!(written(&facts), r#"{"a":"a 1","b":"b \"text\""}"#);
    }
}
