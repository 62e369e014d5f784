//! What the X-Ray daemon reads: a header line and one document in each UDP datagram.
//!
//! Source: X-Ray developer guide, "Sending trace data to X-Ray"; the daemon's read buffer is
//! 64 KiB, and IPv4 carries at most 65,507 bytes.

mod fit;
mod pace;
mod refusal;

use serde_json::Value;

pub use self::{
    fit::{Fitted, fit, fit_within},
    pace::Pace,
    refusal::Refusal,
};
use crate::Error;

/// The line before the document.
pub const PREAMBLE: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";

/// Most bytes of one document: 63 KiB with the preamble, as in the X-Ray SDK for Java. X-Ray
/// accepts 64 KB.
pub const MAX_DOCUMENT: usize = 63 * 1024 - PREAMBLE.len();

/// One datagram with `document` in it.
pub fn encode(document: &[u8]) -> Vec<u8> {
    [PREAMBLE, document].concat()
}

/// The document in `datagram`.
///
/// # Errors
///
/// When the first line is not a preamble of format `json` and version 1, or nothing follows it.
pub fn decode(datagram: &[u8]) -> Result<&[u8], Error> {
    let refuse = || {
        Error::expected_bytes(
            "a line {\"format\":\"json\",\"version\":1} and a document",
            datagram,
        )
    };
    let end = datagram
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(refuse)?;
    let preamble: Value = serde_json::from_slice(&datagram[..end]).map_err(|_| refuse())?;
    let json = preamble["format"]
        .as_str()
        .is_some_and(|format| format.eq_ignore_ascii_case("json"));
    if !json || preamble["version"] != 1 || datagram.len() == end + 1 {
        return Err(refuse());
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
