//! Events from files and from standard input.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use serde_json::Value;
use tokio::sync::oneshot;

/// The path that names standard input.
const STANDARD_INPUT: &str = "-";
/// The byte order mark.
const MARK: char = '\u{feff}';

/// An event for the function.
#[derive(Debug)]
pub(super) struct Event {
    /// The file's path, or `standard input`.
    pub(super) name: String,
    /// The text, without a byte order mark.
    pub(super) json: String,
}

impl Event {
    /// Reads an event from a file, or from standard input for the path `-`.
    ///
    /// Returns why an event cannot be used. Invalid JSON is reported here because the function's
    /// own error would not name the file.
    pub(super) async fn read(path: &Path) -> Result<Self, String> {
        let (name, bytes) = if path == Path::new(STANDARD_INPUT) {
            ("standard input".to_owned(), standard_input().await)
        } else {
            (path.display().to_string(), fs::read(path))
        };
        let json = bytes
            .and_then(|bytes| decode(&bytes))
            .map_err(|error| format!("cannot read the event {name}: {error}"))?;
        match serde_json::from_str::<Value>(&json) {
            Ok(_) => Ok(Self { name, json }),
            Err(error) => Err(format!("the event {name} is not JSON: {error}")),
        }
    }
}

/// Reads standard input on its own thread, which does not keep the process from ending.
async fn standard_input() -> io::Result<Vec<u8>> {
    let (sender, bytes) = oneshot::channel();
    thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        let read = io::stdin().read_to_end(&mut bytes).map(|_| bytes);
        // Ctrl-C has dropped the receiver before, if this fails.
        let _ = sender.send(read);
    })?;
    bytes.await.map_err(io::Error::other)?
}

/// Decodes UTF-8, or UTF-16 by its byte order mark, as Windows PowerShell redirects output.
fn decode(bytes: &[u8]) -> io::Result<String> {
    let invalid = |encoding: &str| {
        let problem = format!("its text is not valid {encoding}");
        io::Error::new(io::ErrorKind::InvalidData, problem)
    };
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        let text = String::from_utf16(&units).ok();
        text.filter(|_| rest.is_empty())
            .ok_or_else(|| invalid("UTF-16"))
    };
    match bytes {
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        _ => {
            let text = str::from_utf8(bytes).map_err(|_| invalid("UTF-8"))?;
            Ok(text.strip_prefix(MARK).unwrap_or(text).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"item":"Größe 訂單"}"#;

    fn utf16(unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("{MARK}{JSON}")
            .encode_utf16()
            .flat_map(unit)
            .collect()
    }

    #[tokio::test]
    async fn byte_order_mark_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        for (reason, bytes) in [
            ("no mark", JSON.into()),
            ("UTF-8", format!("{MARK}{JSON}").into()),
            ("UTF-16, little end first", utf16(u16::to_le_bytes)),
            ("UTF-16, big end first", utf16(u16::to_be_bytes)),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(Event::read(&path).await.unwrap().json, JSON, "{reason}");
        }
    }

    #[tokio::test]
    async fn unusable_event_is_named_with_its_problem() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        let cases: [(Option<&[u8]>, &str); 5] = [
            (None, "No such file"),
            (Some(b"{"), "is not JSON: EOF"),
            (Some(b""), "is not JSON: EOF"),
            (Some(b"{\"a\":\"\xff\"}"), "not valid UTF-8"),
            (Some(b"\xff\xfe{"), "not valid UTF-16"),
        ];
        for (bytes, expected) in cases {
            if let Some(bytes) = bytes {
                fs::write(&path, bytes).unwrap();
            }
            let error = Event::read(&path).await.unwrap_err();
            assert!(
                error.contains("event.json") && error.contains(expected),
                "{error}"
            );
        }
    }
}
