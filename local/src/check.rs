//! What X-Ray takes and what it refuses.
//!
//! Rules from the X-Ray developer guide ("Segment documents", "Sending trace data") and the
//! segment schema published with it. The forms of ids are written out here once more, apart from
//! those that the sender uses, so that a mistake there does not hide itself.

use std::collections::HashSet;

use serde_json::{Map, Value};

mod block;

/// "64 KB" for one document, its whole text (X-Ray quotas).
const DOCUMENT: usize = 64 * 1024;
/// Any string for which nothing else is said.
const STRING: usize = 250;
const NAME: usize = 200;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The member at fault, such as `subsegments[0].http.request.url`; empty for the whole.
    pub field: String,
    /// What was found and what was expected.
    pub reason: String,
}

type Checked = Result<(), Refusal>;

/// Checks one datagram: the header line, then the document as [`document`] does.
///
/// # Errors
///
/// The first rule that is broken.
pub fn datagram(datagram: &[u8]) -> Result<Value, Refusal> {
    let Some(end) = datagram.iter().position(|byte| *byte == b'\n') else {
        return refuse(
            "",
            "no header line: a datagram is a line of JSON, a line feed, a document",
        );
    };
    let (header, body) = (&datagram[..end], &datagram[end + 1..]);
    let header: Value = serde_json::from_slice(header)
        .or_else(|error| refuse("", format!("the header line is not JSON: {error}")))?;
    if !header["format"]
        .as_str()
        .is_some_and(|format| format.eq_ignore_ascii_case("json"))
    {
        return refuse(
            "format",
            format!("header {header}: expected format \"json\""),
        );
    }
    if header["version"] != 1 {
        return refuse("version", format!("header {header}: expected version 1"));
    }
    document(body)
}

/// Checks the text of one segment or independent subsegment.
///
/// ```
/// use tracestitch_local::check;
///
/// let refusal = check::document(br#"{"name":"shop","id":"70DE"}"#).unwrap_err();
/// assert_eq!(refusal.field, "id");
/// ```
///
/// # Errors
///
/// The first rule that is broken.
pub fn document(text: &[u8]) -> Result<Value, Refusal> {
    if text.len() > DOCUMENT {
        return refuse(
            "",
            format!("{} bytes, expected at most {DOCUMENT}", text.len()),
        );
    }
    let text = str::from_utf8(text)
        .or_else(|error| refuse("", format!("the document is not UTF-8: {error}")))?;
    let body: Value = serde_json::from_str(text)
        .or_else(|error| refuse("", format!("the document is not JSON: {error}")))?;
    let root = Block::root(&body)?;

    entity(&root, &mut HashSet::new())?;
    let trace_id = root
        .text("trace_id", STRING)?
        .ok_or_else(|| root.missing("trace_id"))?;
    if !is_trace_id(trace_id) {
        return root.refuse(
            "trace_id",
            format!("{trace_id:?} is not 1-<8 hexadecimal digits>-<24 hexadecimal digits>"),
        );
    }
    root.id("parent_id")?;
    match root.text("type", STRING)? {
        None => {}
        Some("subsegment") if root.has("parent_id") => {}
        Some("subsegment") => return Err(root.missing("parent_id")),
        Some(other) => return root.refuse("type", format!("{other:?}, expected \"subsegment\"")),
    }
    // The daemon finds the ids of a document that it could not upload by these very strings.
    for member in ["id", "trace_id"] {
        if !text.contains(&format!("\"{member}\":\"")) {
            return root.refuse(
                member,
                "expected no white space between the name and the value",
            );
        }
    }
    Ok(body)
}

/// The members that segments, independent and embedded subsegments share.
fn entity(entity: &Block<'_>, ids: &mut HashSet<String>) -> Checked {
    let name = entity
        .text("name", NAME)?
        .ok_or_else(|| entity.missing("name"))?;
    if let Some(bad) = name
        .chars()
        .find(|character| !is_name_character(*character))
    {
        return entity.refuse(
            "name",
            format!("{name:?} holds {bad:?}, which X-Ray does not take"),
        );
    }
    if name.is_empty() {
        return entity.refuse("name", "empty, expected 1 to 200 characters");
    }
    let id = entity.id("id")?.ok_or_else(|| entity.missing("id"))?;
    if !ids.insert(id.to_ascii_lowercase()) {
        return entity.refuse("id", format!("{id} is used twice in this document"));
    }
    times(entity)?;

    for flag in ["error", "fault", "throttle"] {
        entity.flag(flag)?;
    }
    for text in ["namespace", "origin", "user", "resource_arn"] {
        entity.text(text, STRING)?;
    }
    for (index, precursor) in entity.list("precursor_ids")?.iter().enumerate() {
        if !precursor.as_str().is_some_and(is_id) {
            let reason = format!("{precursor} is not 16 hexadecimal digits");
            return entity.refuse(&format!("precursor_ids[{index}]"), reason);
        }
    }
    block::http(entity)?;
    block::sql(entity)?;
    block::facts(entity, "aws")?;
    block::facts(entity, "service")?;
    block::annotations(entity)?;
    block::metadata(entity)?;
    block::cause(entity)?;
    block::links(entity)?;

    for index in 0..entity.list("subsegments")?.len() {
        self::entity(&entity.item("subsegments", index)?, ids)?;
    }
    Ok(())
}

fn times(entity: &Block<'_>) -> Checked {
    let start = entity
        .number("start_time")?
        .ok_or_else(|| entity.missing("start_time"))?;
    // The year 5138: whoever sends more has sent milliseconds.
    if !(0.0..1e11).contains(&start) {
        return entity.refuse(
            "start_time",
            format!("{start}, expected seconds since 1970"),
        );
    }
    let end = entity.number("end_time")?;
    let in_progress = entity.flag("in_progress")?.unwrap_or(false);
    match end {
        Some(_) if in_progress => entity.refuse(
            "in_progress",
            "true beside end_time, expected one of the two",
        ),
        None if !in_progress => {
            entity.refuse("end_time", "missing, expected it or in_progress: true")
        }
        Some(end) if end < start => {
            entity.refuse("end_time", format!("{end} is before start_time {start}"))
        }
        _ => Ok(()),
    }
}

/// A JSON object and where it stands in the document.
struct Block<'a> {
    path: String,
    members: &'a Map<String, Value>,
}

impl<'a> Block<'a> {
    fn root(body: &'a Value) -> Result<Self, Refusal> {
        Self::at(String::new(), body)
    }

    fn at(path: String, value: &'a Value) -> Result<Self, Refusal> {
        match value.as_object() {
            Some(members) => Ok(Self { path, members }),
            None => refuse(path, format!("{}, expected an object", shorten(value))),
        }
    }

    fn block(&self, member: &str) -> Result<Option<Self>, Refusal> {
        self.get(member)
            .map(|value| Self::at(self.path(member), value))
            .transpose()
    }

    fn item(&self, member: &str, index: usize) -> Result<Self, Refusal> {
        Self::at(
            format!("{}[{index}]", self.path(member)),
            &self.members[member][index],
        )
    }

    fn get(&self, member: &str) -> Option<&'a Value> {
        self.members.get(member)
    }

    fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    fn text(&self, member: &str, limit: usize) -> Result<Option<&'a str>, Refusal> {
        let text = self.read(member, "a string", Value::as_str)?;
        match text.map(|text| text.chars().count()) {
            Some(length) if length > limit => self.refuse(
                member,
                format!("{length} characters, expected at most {limit}"),
            ),
            _ => Ok(text),
        }
    }

    fn id(&self, member: &str) -> Result<Option<&'a str>, Refusal> {
        match self.read(member, "a string", Value::as_str)? {
            Some(id) if !is_id(id) => {
                self.refuse(member, format!("{id:?} is not 16 hexadecimal digits"))
            }
            id => Ok(id),
        }
    }

    fn number(&self, member: &str) -> Result<Option<f64>, Refusal> {
        self.read(member, "a number", Value::as_f64)
    }

    fn integer(&self, member: &str) -> Result<Option<i64>, Refusal> {
        self.read(member, "an integer", Value::as_i64)
    }

    fn flag(&self, member: &str) -> Result<Option<bool>, Refusal> {
        self.read(member, "true or false", Value::as_bool)
    }

    fn list(&self, member: &str) -> Result<&'a [Value], Refusal> {
        let list = self.read(member, "an array", Value::as_array)?;
        Ok(list.map(Vec::as_slice).unwrap_or_default())
    }

    fn read<T>(
        &self,
        member: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        match self.get(member) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(read) => Ok(Some(read)),
                None => self.refuse(member, format!("{}, expected {expected}", shorten(value))),
            },
        }
    }

    fn path(&self, member: &str) -> String {
        if self.path.is_empty() {
            member.to_owned()
        } else {
            format!("{}.{member}", self.path)
        }
    }

    fn missing(&self, member: &str) -> Refusal {
        Refusal {
            field: self.path(member),
            reason: "missing".to_owned(),
        }
    }

    fn refuse<T>(&self, member: &str, reason: impl Into<String>) -> Result<T, Refusal> {
        refuse(self.path(member), reason)
    }
}

fn refuse<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        field: field.into(),
        reason: reason.into(),
    })
}

fn shorten(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_trace_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], ["1", time, random] if time.len() == 8
        && random.len() == 24
        && [time, random].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit())))
}

fn is_name_character(character: char) -> bool {
    let is_space = character.is_whitespace() && !character.is_control();
    character.is_alphanumeric() || is_space || "_.:/%&#=+-@".contains(character)
}

#[cfg(test)]
mod tests;
