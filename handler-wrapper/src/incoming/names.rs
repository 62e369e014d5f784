//! The names under which a trace context is carried.

use tracestitch_wire::w3c;

/// The field and the attribute that are written.
pub const FIELD: &str = "_traceId";

/// System attribute of SQS messages.
#[cfg(feature = "sqs")]
pub(crate) const SYSTEM: &str = "AWSTraceHeader";

/// Fields, attributes and HTTP headers that hold a header of X-Ray, or a trace id alone. Of several
/// attributes of a message, the first counts.
pub(crate) const HEADERS: [&str; 4] = ["AWSTraceHeader", "X-Amzn-Trace-Id", "traceHeader", FIELD];

/// True for one of [`HEADERS`], in any case.
pub(crate) fn is_header(name: &[u8]) -> bool {
    HEADERS
        .into_iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A part of every name: the text of a large body is searched for it first.
pub(crate) const COMMON: &[u8] = b"race";

/// True if `rest`, which follows [`COMMON`], begins with the rest of a name and an escaped quote:
/// names are recognised as they are written here and in small letters.
pub(crate) fn ends_name(rest: &[u8]) -> bool {
    let end: &[u8] = match rest.first() {
        Some(b'I' | b'i') => b"Id\\",
        Some(b'H' | b'h') => b"Header\\",
        Some(b'P' | b'p') => b"parent\\",
        Some(b'-') => b"-Id\\",
        _ => return false,
    };
    rest.get(..end.len())
        .is_some_and(|found| found.eq_ignore_ascii_case(end))
}

/// True for the name of the W3C's trace context, in any case.
pub(crate) fn is_traceparent(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(w3c::NAME.as_bytes())
}

/// True for the name of the W3C's vendor list, in any case.
pub(crate) fn is_tracestate(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(w3c::STATE_NAME.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_by_its_common_part() {
        for name in HEADERS.into_iter().chain([w3c::NAME]) {
            for written in [name.to_owned(), name.to_ascii_lowercase()] {
                let escaped = format!("{written}\\\"");
                let (_, rest) = escaped.split_once("race").expect("the common part");
                assert!(ends_name(rest.as_bytes()), "{escaped}");
            }
        }
        for other in ["trace\\\"", "traceIds\\\"", "brace"] {
            let (_, rest) = other.split_once("race").expect("the common part");
            assert!(!ends_name(rest.as_bytes()), "{other}");
        }
    }
}
