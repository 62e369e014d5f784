//! Checks that README.md quotes figures from docs/performance.md.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap()
}

/// Returns the rows under the head that begins with `head`, as cells.
fn rows(text: &str, head: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(head));
    lines
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// Each row has name, instructions and CPU time in nanoseconds.
#[test]
fn figures_in_readme_are_those_of_the_document() {
    let measured = rows(&read("docs/performance.md"), "| work");
    let quoted = rows(&read("README.md"), "| work");
    assert!(quoted.len() > 5, "{quoted:?}");
    for row in quoted {
        // A row that exceeds its bar is marked.
        let is_quoted = |cells: &Vec<String>| cells[0].trim_end_matches(" (OVER)") == row[0];
        let source = measured.iter().find(|cells| is_quoted(cells));
        let source = source.unwrap_or_else(|| panic!("docs/performance.md lacks {row:?}"));
        assert_eq!([&row[1], &row[2]], [&source[1], &source[5]], "{}", row[0]);
    }
}
