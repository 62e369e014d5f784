//! Names under which a trace context is carried.

use tracestitch_wire::w3c;

/// The field and the attribute that [`embed`](crate::embed) writes.
pub const FIELD: &str = "_traceId";

/// System attribute of SQS messages.
#[cfg(feature = "sqs")]
pub(crate) const SYSTEM: &str = "AWSTraceHeader";

/// Fields, attributes and HTTP headers that hold a header of X-Ray or a trace id alone. If several
/// attributes of a message hold one, the first name in this list wins.
pub(crate) const HEADERS: [&str; 4] = [FIELD, "AWSTraceHeader", "X-Amzn-Trace-Id", "traceHeader"];

/// Returns false if none of the names is in a text, so that large texts need not be parsed. Names in
/// a mixture of cases such as `tRaCeHeader` do not count.
pub(crate) fn may_occur(text: &str) -> bool {
    text.contains("race") || text.contains("RACE")
}

/// Returns true for one of [`HEADERS`], in any case.
pub(crate) fn is_header(name: &str) -> bool {
    HEADERS
        .into_iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns true for the name of the W3C trace context, in any case.
pub(crate) fn is_traceparent(name: &str) -> bool {
    name.eq_ignore_ascii_case(w3c::NAME)
}

/// Returns true for the name of the W3C vendor list, in any case.
pub(crate) fn is_tracestate(name: &str) -> bool {
    name.eq_ignore_ascii_case(w3c::STATE_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_may_occur_in_a_text_that_has_it() {
        for name in HEADERS.into_iter().chain([w3c::NAME]) {
            for written in [
                name.to_owned(),
                name.to_ascii_lowercase(),
                name.to_ascii_uppercase(),
            ] {
                assert!(may_occur(&format!("\\\"{written}\\\"")), "{written}");
            }
        }
        assert!(!may_occur("a letter of nothing"));
    }
}
