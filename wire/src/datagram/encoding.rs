//! The header line and the document of a datagram.

use serde_json::Value;

use crate::Error;

/// The header line.
pub const PREAMBLE: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";

/// Largest document in bytes: 63 KiB together with the header line, as in the X-Ray SDK for Java.
/// X-Ray accepts 64 KB.
pub const MAX_DOCUMENT: usize = 63 * 1024 - PREAMBLE.len();

/// Returns the datagram that carries `document`.
pub fn encode(document: &[u8]) -> Vec<u8> {
    [PREAMBLE, document].concat()
}

/// Returns the document in `datagram`.
///
/// ```
/// use tracestitch_wire::datagram::{decode, encode};
///
/// assert_eq!(decode(&encode(b"{}")), Ok(&b"{}"[..]));
/// ```
///
/// # Errors
///
/// Returns an error unless the first line is JSON with format `json` and version 1, and a document
/// follows it.
pub fn decode(datagram: &[u8]) -> Result<&[u8], Error> {
    let invalid = || {
        Error::expected_bytes(
            "a line {\"format\":\"json\",\"version\":1} and a document",
            datagram,
        )
    };
    let end = datagram
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(invalid)?;
    let preamble: Value = serde_json::from_slice(&datagram[..end]).map_err(|_| invalid())?;
    let json = preamble["format"]
        .as_str()
        .is_some_and(|format| format.eq_ignore_ascii_case("json"));
    if !json || preamble["version"] != 1 || datagram.len() == end + 1 {
        return Err(invalid());
    }
    Ok(&datagram[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_decoded_as_the_daemon_decodes_them() {
        assert_eq!(decode(&encode(b"{}")), Ok(&b"{}"[..]));
        for (datagram, valid, reason) in [
            (
                &b"{ \"format\": \"JSON\", \"version\": 1 }\n{}"[..],
                true,
                "spaces, any case",
            ),
            (
                b"{\"format\":\"json\",\"version\":1}\n",
                false,
                "no document",
            ),
            (b"{\"format\":\"json\",\"version\":1}", false, "no line end"),
            (
                b"{\"format\":\"json\",\"version\":2}\n{}",
                false,
                "other version",
            ),
            (
                b"{\"format\":\"xml\",\"version\":1}\n{}",
                false,
                "other format",
            ),
            (b"\xff\n{}", false, "not JSON"),
            (b"", false, "empty"),
        ] {
            assert_eq!(decode(datagram).is_ok(), valid, "{reason}");
        }
    }
}
