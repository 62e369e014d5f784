//! Documents as JSON lines: one document a line, as X-Ray receives them.

use std::io::{self, BufRead, Read, Write};

use rusqlite::Connection;

use super::incoming::DOCUMENT_LIMIT;

/// Reads the next line without its end. A longer line than a document may have is cut, which makes
/// it an invalid document. Returns `None` at the end of the input.
pub(super) fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let most = u64::try_from(DOCUMENT_LIMIT).unwrap_or(u64::MAX) + 2;
    let mut line = Vec::new();
    if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Writes one document on each line, the trace that arrived first at the start.
pub(super) fn export(
    connection: &Connection,
    output: &mut impl Write,
) -> rusqlite::Result<io::Result<u64>> {
    let mut statement =
        connection.prepare("SELECT body FROM documents ORDER BY trace, start, id")?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        // White space between the members may contain line ends; a JSON string cannot.
        let line = row.get_ref(0)?.as_str()?.replace(['\n', '\r'], " ");
        if let Err(error) = writeln!(output, "{line}") {
            return Ok(Err(error));
        }
        count += 1;
    }
    Ok(output.flush().map(|()| count))
}
