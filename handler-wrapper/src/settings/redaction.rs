//! Redaction of texts before they leave the process.

#[cfg(feature = "regex")]
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use tracestitch_wire::document::{Document, Place};

use crate::support::user_code;

/// Replacement of a pattern's match, and of a text whose rule panicked.
const REDACTED: &str = "[redacted]";

type Rule = dyn Fn(Place<'_>, &str) -> Option<String> + Send + Sync;

/// Rules for texts that must not leave the process.
///
/// They see every text of every document before it is handed over: names, annotations, metadata
/// at any depth, URLs, queries, `aws` facts, and messages and stacks of causes. They do not see
/// texts that tracestitch leaves out by itself: query strings, literals of queries, header values,
/// bodies.
///
/// Texts are cut to their limit before: 250 characters, 1000 in annotations.
///
/// ```
/// use tracestitch::{Place, Redaction};
///
/// let rules = Redaction::from_fn(|place, text| match place {
///     Place::Annotation("email") => Some("[email]".to_owned()),
///     Place::Url if text.contains("/customers/") => Some("https://[customer]".to_owned()),
///     _ => None,
/// });
/// let layer = tracestitch::TraceLayer::new().redact(rules);
/// ```
#[derive(Clone, Default)]
pub struct Redaction(Vec<Arc<Rule>>);

impl Redaction {
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Creates a rule from a closure. It returns the replacement, or `None` to keep the text.
    ///
    /// The closure runs twice for most documents, at their begin and at their end, on the thread that
    /// does the work. If it panics, the text is replaced as a whole. It cannot record anything
    /// itself.
    pub fn from_fn(
        rule: impl Fn(Place<'_>, &str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self(vec![Arc::new(rule)])
    }

    /// Creates rules from regular expressions, in the syntax of the crate `regex-lite`. Each match
    /// becomes `[redacted]`.
    ///
    /// ```
    /// let rules = tracestitch::Redaction::patterns([r"sk_live_\w+", r"\d{4}( ?\d{4}){3}"])?;
    /// # Ok::<(), tracestitch::BadPattern>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if a pattern is not a regular expression.
    #[cfg(feature = "regex")]
    pub fn patterns<P: AsRef<str>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, BadPattern> {
        let compile = |pattern: P| {
            let regex = regex_lite::Regex::new(pattern.as_ref())
                .map_err(|error| BadPattern(format!("{:?}: {error}", pattern.as_ref())))?;
            Ok(Arc::new(
                move |_: Place<'_>, text: &str| match regex.replace_all(text, REDACTED) {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(text) => Some(text),
                },
            ) as Arc<Rule>)
        };
        let rules: Result<_, _> = patterns.into_iter().map(compile).collect();
        rules.map(Self)
    }

    /// Adds the rules of `others`. They see the texts that these rules leave.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Applies the rules to every text of `document`.
    ///
    /// Nothing is recorded while rules run: they would be applied to their own records, without end.
    pub(crate) fn apply(&self, document: &mut Document) {
        if !self.is_none() {
            user_code::muted(|| document.edit_texts(&mut |place, text| self.edit(place, text)));
        }
    }

    fn edit(&self, place: Place<'_>, text: &str) -> Option<String> {
        let edit = || {
            let mut edited: Option<String> = None;
            for rule in &self.0 {
                let replacement = rule(place, edited.as_deref().unwrap_or(text));
                edited = replacement.or(edited);
            }
            edited
        };
        // A rule that panics must neither fail the handler nor let the text pass.
        user_code::contained(edit).unwrap_or_else(|| Some(REDACTED.to_owned()))
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redaction({} rules)", self.0.len())
    }
}

/// Text that is not a regular expression.
#[cfg(feature = "regex")]
#[derive(Debug)]
pub struct BadPattern(String);

#[cfg(feature = "regex")]
impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a regular expression: {}", self.0)
    }
}

#[cfg(feature = "regex")]
impl std::error::Error for BadPattern {}

#[cfg(test)]
mod tests;
