//! Local sampling rules, applied if the caller made no decision.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracestitch_wire::{
    header::{Sampling, TraceHeader},
    id::TraceId,
    random,
    time::Timestamp,
};

/// Rules for traces without a sampling decision: with `Root` alone, with `Sampled=?`, or no trace at
/// all. A decision of the caller is never changed.
///
/// Rules are separated by `;`, their fields by spaces. The first rule whose conditions all hold
/// decides. If none does, nothing is recorded. `*` in a pattern matches any characters.
///
/// | field | meaning | without it |
/// |---|---|---|
/// | `function=<pattern>` | name of the function | any |
/// | `source=<name>` | `http`, `appsync`, `eventbridge`, `sqs`, `sns`, `s3`, `kinesis`, `dynamodb` or `direct` | any |
/// | `path=<pattern>` | path of the HTTP request | any |
/// | `reservoir=<number>` | recorded in each second, before the rate counts | 0 |
/// | `rate=<0 to 1>` | share of the others that is recorded | 0 |
///
/// Each execution environment has its own reservoir.
///
/// ```
/// use tracestitch::{SamplingRules, TraceLayer};
///
/// let rules: SamplingRules = "path=/health; source=sqs rate=0.5; reservoir=1 rate=0.05".parse()?;
/// let layer = TraceLayer::new().sampling(rules);
/// # Ok::<(), tracestitch::InvalidRule>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SamplingRules(Arc<[Rule]>);

#[derive(Debug, Default)]
struct Rule {
    function: Option<String>,
    source: Option<String>,
    path: Option<String>,
    reservoir: u32,
    rate: f64,
    /// Packed: current second in the upper 32 bits, traces taken from the reservoir in that second in
    /// the lower.
    used: AtomicU64,
}

/// Values of [`Candidate::source`].
const SOURCES: [&str; 9] = [
    "http",
    "appsync",
    "eventbridge",
    "sqs",
    "sns",
    "s3",
    "kinesis",
    "dynamodb",
    "direct",
];

/// A trace to decide on: the properties that rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    pub(crate) function: &'a str,
    pub(crate) source: &'a str,
    pub(crate) path: Option<&'a str>,
}

impl SamplingRules {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `header` with a decision, or unchanged if it has one or no rule holds.
    pub(crate) fn decide(
        &self,
        mut header: TraceHeader,
        candidate: Candidate<'_>,
        now: Timestamp,
    ) -> TraceHeader {
        if is_decided(&header) {
            return header;
        }
        if let Some(rule) = self.0.iter().find(|rule| rule.holds(candidate)) {
            header.sampling = if rule.take(now) {
                Sampling::Sampled
            } else {
                Sampling::NotSampled
            };
        }
        header
    }

    /// Returns the carried header with a decision, or a new trace if nothing was carried and a rule
    /// holds.
    pub(crate) fn begin(
        &self,
        carried: Option<TraceHeader>,
        candidate: Candidate<'_>,
        now: Timestamp,
    ) -> Option<TraceHeader> {
        let is_new = carried.is_none();
        let header = carried
            .unwrap_or_else(|| TraceHeader::new(TraceId::new(now), None, Sampling::Undecided));
        Some(self.decide(header, candidate, now)).filter(|header| !is_new || is_decided(header))
    }
}

pub(crate) fn is_decided(header: &TraceHeader) -> bool {
    matches!(header.sampling, Sampling::Sampled | Sampling::NotSampled)
}

impl Rule {
    fn holds(&self, candidate: Candidate<'_>) -> bool {
        let function = self.function.as_deref();
        let path = self.path.as_deref();
        function.is_none_or(|pattern| matches(pattern, candidate.function))
            && self
                .source
                .as_deref()
                .is_none_or(|source| source == candidate.source)
            && path.is_none_or(|pattern| candidate.path.is_some_and(|path| matches(pattern, path)))
    }

    fn take(&self, now: Timestamp) -> bool {
        let second = (now.as_micros() / 1_000_000) << 32;
        let from_reservoir = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let this_second = if used >> 32 == second >> 32 {
                    used
                } else {
                    second
                };
                let left = (this_second as u32) < self.reservoir;
                left.then_some(this_second + 1)
            });
        from_reservoir.is_ok() || (self.rate > 0.0 && random::fraction() < self.rate)
    }
}

/// Returns true if `text` matches `pattern`, in which `*` matches any characters. Without recursion:
/// paths are untrusted input.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// An invalid sampling rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRule(String);

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected function=, source=, path=, reservoir=<number> or rate=<0 to 1>, found \"{}\"",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for InvalidRule {}

impl FromStr for SamplingRules {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let rules = text.split(';').filter(|rule| !rule.trim().is_empty());
        Ok(Self(rules.map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let mut rule = Self::default();
        for field in text.split_whitespace() {
            let invalid = || InvalidRule(field.to_owned());
            let (name, value) = field.split_once('=').ok_or_else(invalid)?;
            // An empty pattern would never match.
            if value.is_empty() {
                return Err(invalid());
            }
            match name {
                "function" => rule.function = Some(value.to_owned()),
                "source" => {
                    let source = value.to_ascii_lowercase();
                    if !SOURCES.contains(&&*source) {
                        return Err(invalid());
                    }
                    rule.source = Some(source);
                }
                "path" => rule.path = Some(value.to_owned()),
                "reservoir" => rule.reservoir = value.parse().map_err(|_| invalid())?,
                "rate" => {
                    let rate = value.parse().ok();
                    rule.rate = rate
                        .filter(|rate| (0.0..=1.0).contains(rate))
                        .ok_or_else(invalid)?;
                }
                _ => return Err(invalid()),
            }
        }
        Ok(rule)
    }
}

#[cfg(test)]
mod tests;
