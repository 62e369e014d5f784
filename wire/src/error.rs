//! The error of every parser in this crate.

use std::fmt;

/// Most characters of the invalid text in a message.
const SHOWN: usize = 64;

/// Text or bytes that a format does not allow.
///
/// The message names what was expected and shows the beginning of what was found, escaped, so that
/// it can be logged even if the input is hostile.
///
/// ```
/// let error = "1-xyz".parse::<tracestitch_wire::id::TraceId>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"expected a trace id of the form 1-<8 hex>-<24 hex>, found "1-xyz""#,
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    expected: &'static str,
    found: Box<str>,
}

impl Error {
    #[cold]
    pub(crate) fn expected(expected: &'static str, found: &str) -> Self {
        let mut shown: String = found
            .chars()
            .take(SHOWN)
            .flat_map(char::escape_debug)
            .collect();
        if found.chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        Self {
            expected,
            found: shown.into_boxed_str(),
        }
    }

    #[cold]
    pub(crate) fn expected_bytes(expected: &'static str, found: &[u8]) -> Self {
        // A character has at most four bytes.
        let head = &found[..found.len().min(SHOWN * 4)];
        Self::expected(expected, &String::from_utf8_lossy(head))
    }

    /// The expected form alone, for log lines that must not contain the input.
    pub fn expectation(&self) -> &'static str {
        self.expected
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found \"{}\"", self.expected, self.found)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_text_is_cut() {
        let error = Error::expected("a thing", &format!("\u{1b}[31m\n{}", "x".repeat(100)));
        let message = error.to_string();
        assert!(
            message.starts_with(r#"expected a thing, found "\u{1b}[31m\nxxx"#),
            "{message}"
        );
        assert!(message.ends_with("…\""), "{message}");
        assert!(message.chars().all(|c| !c.is_control()));
    }
}
