//! The trace context of the W3C: `traceparent`, and `tracestate`, which goes through as it came.
//!
//! Source: W3C Trace Context, sections 3.2 and 3.3; for ids X-Ray developer guide, "Sending trace data":
//! the 32 hex digits of a W3C id are the last two parts of an X-Ray id.

use crate::{
    Error,
    header::{Sampling, TraceHeader},
};

/// Name of the header and of the attribute, in lower case.
pub const NAME: &str = "traceparent";

/// Name of the header and of the attribute that vendors keep their own in, in lower case.
pub const STATE_NAME: &str = "tracestate";

/// How much of a `tracestate` goes on, in bytes (W3C Trace Context, 3.3.1.5: at least 512).
const MAX_STATE: usize = 512;

/// Characters of version 00.
const LENGTH: usize = 55;

/// Reads a `traceparent`: version, trace id, parent id and flags, of which the first is the
/// sampling decision.
///
/// # Errors
///
/// Anything else, ids that are all zero, upper-case digits, the version `ff`. Of later versions
/// the four known fields are read, as the specification asks for.
///
/// ```
/// use tracestitch_wire::w3c;
///
/// let header = w3c::parse("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01")?;
/// assert_eq!(
///     header.to_string(),
///     "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
/// );
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
pub fn parse(text: &str) -> Result<TraceHeader, Error> {
    fields(text).ok_or_else(|| {
        Error::expected(
            "a traceparent of the form 00-<32 hex>-<16 hex>-<2 hex>",
            text,
        )
    })
}

/// What of a `tracestate` goes on: its members from the left, as many as are 512 bytes. None when
/// nothing is left, or it has other than printable ASCII, which no HTTP header may carry.
///
/// ```
/// use tracestitch_wire::w3c;
///
/// assert_eq!(w3c::state(" congo=t61rcWkgMzE,rojo=1 "), Some("congo=t61rcWkgMzE,rojo=1"));
/// assert_eq!(w3c::state("rojo=\u{e9}"), None);
/// ```
pub fn state(text: &str) -> Option<&str> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    if text.len() <= MAX_STATE {
        return Some(text);
    }
    let end = text[..=MAX_STATE].rfind(',')?;
    Some(text[..end].trim_end()).filter(|text| !text.is_empty())
}

fn fields(text: &str) -> Option<TraceHeader> {
    let known = text.get(..LENGTH)?;
    let hex = |field: &str| {
        field
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut fields = known.split('-');
    let (version, trace, parent, flags) = (
        fields.next().filter(|field| field.len() == 2)?,
        fields.next().filter(|field| field.len() == 32)?,
        fields.next().filter(|field| field.len() == 16)?,
        fields.next().filter(|field| field.len() == 2)?,
    );
    if ![version, trace, parent, flags].into_iter().all(hex) || version == "ff" {
        return None;
    }
    let rest = &text[LENGTH..];
    if !(rest.is_empty() || version != "00" && rest.starts_with('-')) {
        return None;
    }
    let root = format!("1-{}-{}", trace.get(..8)?, trace.get(8..)?);
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    let sampling = if sampled {
        Sampling::Sampled
    } else {
        Sampling::NotSampled
    };
    Some(TraceHeader::new(
        root.parse().ok()?,
        Some(parent.parse().ok()?),
        sampling,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "5759e988bd862e3fe1be46a994272793";

    #[test]
    fn what_is_read_and_what_is_not() {
        for (text, decision, reason) in [
            ("00-<T>-53995c3f42cd8ad8-01", Some("1"), "sampled"),
            ("00-<T>-53995c3f42cd8ad8-00", Some("0"), "not sampled"),
            ("00-<T>-53995c3f42cd8ad8-03", Some("1"), "other flags too"),
            ("cc-<T>-53995c3f42cd8ad8-01", Some("1"), "a later version"),
            ("cc-<T>-53995c3f42cd8ad8-01-x", Some("1"), "with more"),
            ("cc-<T>-53995c3f42cd8ad8-01x", None, "not set off"),
            ("00-<T>-53995c3f42cd8ad8-01-x", None, "too long for 00"),
            ("ff-<T>-53995c3f42cd8ad8-01", None, "no version"),
            ("00-<T>-53995C3F42CD8AD8-01", None, "upper case"),
            ("00-<T>-0000000000000000-01", None, "no parent"),
            ("00-<T>-53995c3f42cd8ad-01", None, "short parent"),
            ("00-<T>-53995c3f42cd8ad8-0", None, "short flags"),
            (
                "00-00000000000000000000000000000000-53995c3f42cd8ad8-01",
                None,
                "no trace",
            ),
            ("00_<T>_53995c3f42cd8ad8_01", None, "other separators"),
            ("", None, "empty"),
        ] {
            let header = parse(&text.replace("<T>", TRACE));
            let expected = decision.map(|decision| {
                format!(
                    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;\
                     Sampled={decision}"
                )
            });
            assert_eq!(
                header.ok().map(|header| header.to_string()),
                expected,
                "{reason}"
            );
        }
    }

    #[test]
    fn what_of_a_tracestate_goes_on() {
        let member = |length: usize| format!("k={}", "v".repeat(length - 2));
        let (long, fits) = (member(513), member(512));
        let two = format!("{},{}", member(400), member(200));
        let first = member(400);
        for (text, expected, reason) in [
            ("a=1,b=2", Some("a=1,b=2"), "as it came"),
            (" a=1 ", Some("a=1"), "without white space around"),
            ("", None, "empty"),
            (" ", None, "white space"),
            ("a=\r\nx: y", None, "a line end"),
            ("a=\u{e9}", None, "not ASCII"),
            (&fits, Some(&*fits), "as long as it may be"),
            (&long, None, "one member too long"),
            (&two, Some(&*first), "whole members only"),
        ] {
            assert_eq!(state(text), expected, "{reason}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*", tail in "[0-9a-f-]{50,60}é?", state in "[a-z,=é ]{0,600}") {
            let kept = super::state(&state);
            prop_assert!(kept.is_none_or(|kept| kept.len() <= MAX_STATE));
            let _ = parse(&text);
            let _ = parse(&tail);
        }
    }
}
