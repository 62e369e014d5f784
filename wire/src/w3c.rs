//! W3C Trace Context: reading and writing `traceparent`, and the part of `tracestate` to pass on.
//!
//! Source: W3C Trace Context, sections 3.2 and 3.3; for ids X-Ray developer guide, "Sending trace
//! data": the 32 hex digits of a W3C trace id are the last two parts of an X-Ray trace id.

pub use crate::tracestate::state;
use crate::{
    Error,
    header::{Sampling, TraceHeader},
};

/// Name of the header and of the attribute, in lower case.
pub const NAME: &str = "traceparent";

/// Name of the header and of the attribute with the vendors' own fields, in lower case.
pub const STATE_NAME: &str = "tracestate";

/// Number of characters of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// Parses a `traceparent`: version, trace id, parent id and flags. The lowest bit of the flags is
/// the sampling decision.
///
/// Later versions than 00 may have more fields, which are ignored as the specification demands.
///
/// # Errors
///
/// Returns an error if a field is missing or has another length, for all-zero ids, upper-case
/// digits and version `ff`.
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

/// Returns the `traceparent` of version 00 for `header`, without its other fields.
///
/// Returns `None` if the header has no parent or no sampling decision: a `traceparent` has both.
///
/// ```
/// use tracestitch_wire::{header::TraceHeader, w3c};
///
/// let header: TraceHeader =
///     "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".parse()?;
/// assert_eq!(
///     w3c::traceparent(&header).as_deref(),
///     Some("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"),
/// );
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
pub fn traceparent(header: &TraceHeader) -> Option<String> {
    let flags = match header.sampling {
        Sampling::Sampled => "01",
        Sampling::NotSampled => "00",
        Sampling::Requested | Sampling::Undecided => return None,
    };
    let parent = header.parent?;
    let mut text = String::with_capacity(LENGTH);
    text.push_str("00-");
    text.extend(header.root.digits());
    text.push('-');
    parent.push_to(&mut text);
    text.push('-');
    text.push_str(flags);
    Some(text)
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
    fn only_well_formed_traceparents_are_parsed() {
        for (text, decision, reason) in [
            ("00-<T>-53995c3f42cd8ad8-01", Some("1"), "sampled"),
            ("00-<T>-53995c3f42cd8ad8-00", Some("0"), "not sampled"),
            ("00-<T>-53995c3f42cd8ad8-03", Some("1"), "more flags"),
            ("cc-<T>-53995c3f42cd8ad8-01", Some("1"), "a later version"),
            (
                "cc-<T>-53995c3f42cd8ad8-01-x",
                Some("1"),
                "a later version with more fields",
            ),
            (
                "cc-<T>-53995c3f42cd8ad8-01x",
                None,
                "more text without a separator",
            ),
            ("00-<T>-53995c3f42cd8ad8-01-x", None, "too long for 00"),
            ("ff-<T>-53995c3f42cd8ad8-01", None, "the forbidden version"),
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
    fn header_without_parent_or_decision_has_no_traceparent() {
        for (fields, expected, reason) in [
            ("Parent=53995c3f42cd8ad8;Sampled=1", true, "complete"),
            ("Parent=53995c3f42cd8ad8;Sampled=0", true, "not sampled"),
            ("Sampled=1", false, "no parent"),
            ("Parent=53995c3f42cd8ad8", false, "no decision"),
            (
                "Parent=53995c3f42cd8ad8;Sampled=?",
                false,
                "decision requested",
            ),
        ] {
            let header = format!("Root=1-5759e988-bd862e3fe1be46a994272793;{fields}");
            let written = traceparent(&header.parse().unwrap());
            assert_eq!(written.is_some(), expected, "{reason}");
        }
    }

    proptest! {
        #[test]
        fn writing_and_parsing_are_inverse(
            root in 1u128..,
            parent in 1u64..,
            sampled in any::<bool>(),
        ) {
            let root = format!("{root:032x}");
            let header = TraceHeader::new(
                format!("1-{}-{}", &root[..8], &root[8..]).parse().unwrap(),
                Some(format!("{parent:016x}").parse().unwrap()),
                if sampled { Sampling::Sampled } else { Sampling::NotSampled },
            );
            let text = traceparent(&header).unwrap();
            prop_assert_eq!(text.len(), LENGTH);
            prop_assert_eq!(parse(&text), Ok(header));
        }

        #[test]
        fn no_text_panics(text in ".*", tail in "[0-9a-f-]{50,60}é?") {
            let _ = parse(&text);
            let _ = parse(&tail);
        }
    }
}
