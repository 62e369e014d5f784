//! The part of a `tracestate` that is passed on. Separate from [`w3c`](crate::w3c), which depends
//! on [`header`](crate::header), because headers keep the value.

/// Longest `tracestate` that is passed on, in bytes. W3C Trace Context, section 3.3.1.5, asks for
/// at least 512.
const MAX_STATE: usize = 512;

/// Returns the part of a `tracestate` that may be passed on: its members from the left, as many as
/// fit into 512 bytes, without white space around them.
///
/// Returns `None` if no member fits, or if the text has characters outside printable ASCII, which
/// no HTTP header can carry.
///
/// Source: W3C Trace Context, section 3.3.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_members_of_at_most_512_bytes_are_kept() {
        let member = |length: usize| format!("k={}", "v".repeat(length - 2));
        let (long, fits) = (member(513), member(512));
        let two = format!("{},{}", member(400), member(200));
        let first = member(400);
        for (text, expected, reason) in [
            ("a=1,b=2", Some("a=1,b=2"), "unchanged"),
            (" a=1 ", Some("a=1"), "white space around it"),
            ("", None, "empty"),
            (" ", None, "white space only"),
            ("a=\r\nx: y", None, "a line end"),
            ("a=\u{e9}", None, "not ASCII"),
            (&fits, Some(&*fits), "exactly 512 bytes"),
            (&long, None, "one member of 513 bytes"),
            (&two, Some(&*first), "whole members only"),
        ] {
            assert_eq!(state(text), expected, "{reason}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_at_most_512_bytes(text in "[a-z,=é ]{0,600}") {
            let kept = state(&text);
            prop_assert!(kept.is_none_or(|kept| kept.len() <= MAX_STATE));
        }
    }
}
