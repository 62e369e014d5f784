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
mod tests {
    use super::*;
    use crate::tests::header::ROOT;

    const ORDERS: Candidate<'_> = Candidate {
        function: "order-api",
        source: "http",
        path: Some("/orders/7"),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000 + 5)
    }

    fn decide(rules: &str, candidate: Candidate<'_>) -> Option<Sampling> {
        let rules: SamplingRules = rules.parse().unwrap();
        Some(rules.begin(None, candidate, at(1))?.sampling)
    }

    #[test]
    fn first_rule_that_holds_decides() {
        let (yes, no) = (Some(Sampling::Sampled), Some(Sampling::NotSampled));
        let sqs = Candidate {
            source: "sqs",
            path: None,
            ..ORDERS
        };
        for (rules, candidate, expected) in [
            ("", ORDERS, None),
            ("rate=1", ORDERS, yes),
            ("rate=0", ORDERS, no),
            ("path=/health; rate=1", ORDERS, yes),
            ("path=/orders/*; rate=1", ORDERS, no),
            ("path=/orders/*; rate=1", sqs, yes),
            ("source=sqs rate=1", ORDERS, None),
            ("source=SQS rate=1", sqs, yes),
            ("function=order-* source=http rate=1", ORDERS, yes),
            ("function=invoice-* rate=1", ORDERS, None),
            (" ; reservoir=1 ;", ORDERS, yes),
        ] {
            assert_eq!(decide(rules, candidate), expected, "{rules}");
        }
    }

    #[test]
    fn reservoir_is_filled_each_second() {
        let rules: SamplingRules = "reservoir=2".parse().unwrap();
        let taken = |second| {
            let header = rules.begin(None, ORDERS, at(second)).unwrap();
            header.sampling == Sampling::Sampled
        };
        let taken: Vec<bool> = [1, 1, 1, 2, 2, 2, 9].map(taken).to_vec();
        assert_eq!(taken, [true, true, false, true, true, false, true]);
    }

    /// The count of one second must not run into the next.
    #[test]
    fn reservoir_works_with_any_size_in_any_second() {
        let rules: SamplingRules = format!("reservoir={}", u32::MAX).parse().unwrap();
        let rule = &rules.0[0];
        rule.used
            .store(7 << 32 | u64::from(u32::MAX - 1), Ordering::Relaxed);
        for (second, expected, reason) in [
            (7, true, "the last one"),
            (7, false, "used up"),
            (6, true, "the clock was put back"),
            (7, true, "and forth"),
            (u64::from(u32::MAX), true, "far in the future"),
            (0, true, "a clock that was never set"),
        ] {
            assert_eq!(rule.take(at(second)), expected, "{reason}");
            assert_eq!(rule.used.load(Ordering::Relaxed) >> 32, second, "{reason}");
        }
    }

    /// 4,000 draws at a quarter have a standard deviation of 27.
    #[test]
    fn rate_is_the_share_that_is_recorded() {
        let rules: SamplingRules = "rate=0.25".parse().unwrap();
        let recorded = (0..4000)
            .filter_map(|_| rules.begin(None, ORDERS, at(1)))
            .filter(|header| header.sampling == Sampling::Sampled)
            .count();
        assert!((800..1200).contains(&recorded), "{recorded}");
    }

    #[test]
    fn generator_of_the_program_is_not_used() {
        let rules: SamplingRules = "rate=0.5".parse().unwrap();
        let draw = || {
            let header = rules.begin(None, ORDERS, at(1)).unwrap();
            header.sampling == Sampling::Sampled
        };
        let drawn = |seed| -> Vec<bool> {
            fastrand::seed(seed);
            (0..64).map(|_| draw()).collect()
        };
        assert_ne!(
            drawn(42),
            drawn(42),
            "a seed of the program repeats nothing"
        );
        fastrand::seed(42);
        let expected = fastrand::u64(..);
        fastrand::seed(42);
        draw();
        assert_eq!(fastrand::u64(..), expected, "and its sequence goes on");
    }

    #[test]
    fn decision_is_never_changed() {
        let rules: SamplingRules = "rate=1".parse().unwrap();
        for (header, expected) in [
            (
                format!("Root={ROOT};Sampled=0"),
                format!("Root={ROOT};Sampled=0"),
            ),
            (
                format!("Root={ROOT};x=1"),
                format!("Root={ROOT};Sampled=1;x=1"),
            ),
            (
                format!("Root={ROOT};Sampled=?"),
                format!("Root={ROOT};Sampled=1"),
            ),
        ] {
            let decided = rules.decide(header.parse().unwrap(), ORDERS, at(1));
            assert_eq!(decided.to_string(), expected);
        }
    }

    #[test]
    fn patterns_match_the_whole_text() {
        for (pattern, text, expected) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a*", "/ab", true),
            ("*b", "/ab", true),
            ("/*/b", "/a/b", true),
            ("/*/b", "/a/b/c", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*aa*a*", "aa", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn invalid_rules_are_rejected() {
        for text in [
            "rate=2",
            "rate=x",
            "reservoir=-1",
            "rate",
            "color=red",
            "rate=NaN",
            "source=pigeon rate=1",
            "path= rate=1",
            "function= order-* rate=1",
            "reservoir=4294967296",
            "reservoir=1.5",
            "rate=inf",
            "rate=-0.1",
            "rate=",
        ] {
            assert!(text.parse::<SamplingRules>().is_err(), "{text}");
        }
    }
}
