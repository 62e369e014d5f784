//! Writes tables into docs/performance.md, each between the two comments that name it.

use std::fs;
use std::io;
use std::path::Path;

/// The document, in the workspace.
const DOCUMENT: &str = "docs/performance.md";

/// Replaces the table called `name`.
///
/// # Errors
/// When the document cannot be read or written, or lacks the comments.
pub(crate) fn write(name: &str, table: &str) -> io::Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let path = workspace.unwrap_or_else(|| Path::new(".")).join(DOCUMENT);
    let text = fs::read_to_string(&path)?;
    let text = replaced(&text, name, table).ok_or_else(|| {
        let begin = begin(name);
        io::Error::other(format!("{DOCUMENT} has no {begin} before an {END}"))
    })?;
    fs::write(path, text)
}

const END: &str = "<!-- end -->";

fn begin(name: &str) -> String {
    format!("<!-- cargo cost {name} -->")
}

fn replaced(text: &str, name: &str, table: &str) -> Option<String> {
    let begin = begin(name);
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{begin}\n\n{}\n\n{END}{after}",
        table.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn only_the_named_table_is_replaced() {
        let text =
            "a\n<!-- cargo cost x -->\nold\n<!-- end -->\n<!-- cargo cost y -->\n<!-- end -->\n";
        let expected = "a\n<!-- cargo cost x -->\n\nnew\n\n<!-- end -->\n<!-- cargo cost y -->\n<!-- end -->\n";
        assert_eq!(replaced(text, "x", "new\n").as_deref(), Some(expected));
        assert_eq!(replaced(text, "z", "new\n"), None);
    }
}
