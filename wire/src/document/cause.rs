//! Causes of failures.

use std::{error::Error, fmt};

use super::{
    Text, clean_message,
    json::{Json, Object, key},
    without_quoted,
};
use crate::id::SegmentId;

/// Most exceptions of a chain. The rest is counted in `skipped`.
const CHAIN_LENGTH: usize = 16;

/// The exceptions that made a segment or subsegment fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// Exceptions, the outermost first. Each refers to the one that caused it.
    pub exceptions: Vec<Exception>,
}

impl Cause {
    /// Returns the cause as compact JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.write(&mut json);
        json
    }

    /// A cause with one exception.
    pub fn from_exception(exception: Exception) -> Self {
        Self {
            exceptions: vec![exception],
        }
    }

    /// Leaves quoted values out of all messages: see [`without_quoted`].
    pub fn leave_out_quoted(&mut self) {
        for exception in &mut self.exceptions {
            exception.message = without_quoted(exception.message.as_str()).into();
        }
    }

    /// A cause with an error and the chain of its [`source`](Error::source)s.
    ///
    /// The type of an exception is the name or path at the beginning of the error's `Debug` output,
    /// because a `dyn Error` does not give its type. A derived `Debug` begins with the name of the
    /// type or variant. Messages are [cleaned](clean_message). An error with the same type and
    /// message as the one before it is left out.
    ///
    /// ```
    /// use tracestitch_wire::document::Cause;
    ///
    /// let error: Box<dyn std::error::Error> = "x".parse::<i32>().unwrap_err().into();
    /// let cause = Cause::from_error(&*error);
    /// assert_eq!(cause.exceptions[0].kind, "ParseIntError".to_owned().into());
    /// ```
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        let mut chain = std::iter::successors(Some(error), |&error| error.source());
        let mut exceptions: Vec<_> = chain
            .by_ref()
            .take(CHAIN_LENGTH)
            .map(|error| {
                Exception::new(
                    type_name(error),
                    clean_message(&error.to_string()).into_owned(),
                )
            })
            .collect();
        exceptions
            .dedup_by(|one, before| (&one.kind, &one.message) == (&before.kind, &before.message));
        for index in 1..exceptions.len() {
            exceptions[index - 1].cause = Some(exceptions[index].id);
        }
        // Stops after a few more, because the source of an error may be the error itself.
        let left_out = chain.take(CHAIN_LENGTH).count();
        if let Some(last) = exceptions.last_mut().filter(|_| left_out > 0) {
            last.skipped = Some(left_out);
        }
        Self { exceptions }
    }
}

/// Returns the name or path at the beginning of the `Debug` output. The rest is not kept: it may be
/// a whole response.
fn type_name(error: &(dyn Error + 'static)) -> String {
    let mut name = Name {
        text: String::new(),
        is_over: false,
    };
    // Fails if the error reports it; what it wrote before that stays.
    let _ = fmt::write(&mut name, format_args!("{error:?}"));
    let mut name = name.text;
    name.truncate(path_length(&name));
    if name.starts_with(char::is_alphabetic) {
        name
    } else {
        "Error".to_owned()
    }
}

/// A buffer for the characters of a path (`hyper_util::client::legacy::Error`), up to the first
/// other character. It never fails: some implementations of `Debug` unwrap the result of a write.
struct Name {
    text: String,
    is_over: bool,
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.is_over {
            let end = text.find(|c: char| !(is_word(c) || c == ':'));
            self.text.push_str(&text[..end.unwrap_or(text.len())]);
            self.is_over = end.is_some();
        }
        Ok(())
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Returns the length in bytes of the path at the beginning of `text`.
fn path_length(text: &str) -> usize {
    let mut length = 0;
    for (index, part) in text.split("::").enumerate() {
        let word = part.find(|c| !is_word(c)).unwrap_or(part.len());
        if word == 0 {
            break;
        }
        length += word + if index == 0 { 0 } else { "::".len() };
        if word < part.len() {
            break;
        }
    }
    length
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Id, unique within the trace.
    pub id: SegmentId,
    /// Message of the error.
    pub message: Text,
    /// Type or code of the error.
    pub kind: Text,
    /// True if the called service returned the error.
    pub remote: bool,
    /// Number of exceptions left out between this one and its cause.
    pub skipped: Option<usize>,
    /// Id of the exception that caused this one.
    pub cause: Option<SegmentId>,
    /// Stack frames, innermost first.
    pub stack: Vec<StackFrame>,
    /// Number of frames left out at the outer end of the stack.
    pub truncated: Option<usize>,
}

impl Exception {
    /// An exception of this process with a new id and no stack.
    pub fn new(kind: impl Into<Text>, message: impl Into<Text>) -> Self {
        Self {
            id: SegmentId::new(),
            message: message.into(),
            kind: kind.into(),
            remote: false,
            skipped: None,
            cause: None,
            stack: Vec::new(),
            truncated: None,
        }
    }
}

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackFrame {
    /// Source file.
    pub path: Text,
    /// Line in the file.
    pub line: u32,
    /// Name of the function.
    pub label: Text,
}

impl Json for Cause {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("exceptions"), &self.exceptions)
            .end();
    }
}

impl Json for Exception {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("id"), &self.id)
            .member(key!("message"), &self.message)
            .member(key!("type"), &self.kind)
            .member(key!("remote"), &self.remote)
            .member(key!("skipped"), &self.skipped)
            .member(key!("cause"), &self.cause)
            .member(key!("stack"), &self.stack)
            .member(key!("truncated"), &self.truncated)
            .end();
    }
}

impl Json for StackFrame {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("path"), &self.path)
            .member(key!("line"), &self.line)
            .member(key!("label"), &self.label)
            .end();
    }
}
