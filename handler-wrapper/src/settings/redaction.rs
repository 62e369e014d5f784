//! What must not leave the process.

#[cfg(feature = "regex")]
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use tracestitch_wire::document::{Document, Place};

use crate::support::user_code;

/// What stands where a pattern matched, or where a rule failed.
const REDACTED: &str = "[redacted]";

type Rule = dyn Fn(Place<'_>, &str) -> Option<String> + Send + Sync;

/// Rules for what must not leave the process.
///
/// They see every text of every document before it is handed over: names, annotations, metadata
/// at any depth, URLs, queries, `aws` facts, and messages and stacks of causes. What tracestitch
/// leaves out by itself (query strings, literals of queries, header values, bodies) they never
/// get to see.
///
/// Texts come as they would go out, so cut to their limit: 250 characters, 1000 in annotations.
///
/// ```
/// use tracestitch::{Place, Redaction};
///
/// let rules = Redaction::from_fn(|place, text| match place {
///     Place::Annotation("email") => Some("[email]".to_owned()),
///     Place::Url if text.contains("/customers/") => Some("https://[customer]".to_owned()),
///     _ => None,
/// });
/// let layer = tracestitch::TraceLayer::redacting(rules);
/// ```
#[derive(Clone)]
pub struct Redaction(Vec<Arc<Rule>>);

impl Redaction {
    /// No rules.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Creates a rule from a closure. It returns the replacement, or `None` to keep the text.
    ///
    /// It runs twice for most documents, at their begin and at their end, on the thread that
    /// does the work. When it panics, the text is replaced as a whole. What it records itself is
    /// left out.
    pub fn from_fn(
        rule: impl Fn(Place<'_>, &str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self(vec![Arc::new(rule)])
    }

    /// Rules that are regular expressions, in the syntax of the crate `regex-lite`: whatever
    /// they match, anywhere, becomes `[redacted]`.
    ///
    /// ```
    /// let rules = tracestitch::Redaction::patterns([r"sk_live_\w+", r"\d{4}( ?\d{4}){3}"])?;
    /// # Ok::<(), tracestitch::BadPattern>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a pattern is not a regular expression.
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

    /// These rules, then those of `others`, on what these left.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Applies the rules to every text of `document`.
    ///
    /// A rule that records something would be applied to that next, and so on without end: nothing
    /// is recorded while rules run.
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
        // A rule that fails must neither fail the handler nor let the text pass.
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
