//! The table, for the terminal and as a document.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::measure::Figures;
use crate::rows::RATIOS;

/// The document with the table, in the workspace.
pub(crate) const DOCUMENT: &str = "docs/performance.md";

const HEAD: &str = "\
# What tracing costs

Written by

```sh
cargo cost --write
```

which needs valgrind. One run on the machine of its author: compare the rows with each other, not
with those of another machine.

- **instructions** in user space, counted by callgrind: repeatable to a few instructions, but for
  AWS calls, which differ by a thousand from run to run because hash maps have other seeds. The
  **bar** is the most that `cargo cost --check` accepts.
- **system calls**, counted by callgrind.
- **CPU time** in nanoseconds, user and kernel: the median of interleaved rounds.

Rows with **+** show what is added to the row without tracing that they name. \"Not sent\" means
that documents are written and then dropped, \"to the extension\" that they go to a reader that
sleeps while the handler runs, and \"to a daemon\" that each is sent by UDP.

";

/// Returns the table for the terminal.
pub(crate) fn terminal(figures: &[Figures]) -> String {
    let mut text = format!(
        "{:<52}{:>14}{:>10}{:>14}{:>10}\n",
        "", "instructions", "bar", "system calls", "CPU ns"
    );
    for figures in figures {
        let [name, instructions, bar, calls, time] = cells(figures);
        let over = if figures.is_over() { "  OVER" } else { "" };
        let line = format!("{name:<52}{instructions:>14}{bar:>10}{calls:>14}{time:>10}{over}");
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str("rows with + show what is added to the bare row of their kind\n");
    for line in ratios(figures) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Writes the document.
pub(crate) fn write(figures: &[Figures]) -> io::Result<()> {
    let mut text = HEAD.to_owned();
    text.push_str("| | instructions | bar | system calls | CPU time, ns | what it is |\n");
    text.push_str("|---|---:|---:|---:|---:|---|\n");
    for figures in figures {
        let [name, instructions, bar, calls, time] = cells(figures);
        let meaning = figures.row.meaning;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {instructions} | {bar} | {calls} | {time} | {meaning} |"
        );
    }
    text.push('\n');
    for line in ratios(figures) {
        let _ = writeln!(text, "- {line}");
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    std::fs::write(workspace.unwrap_or(Path::new(".")).join(DOCUMENT), text)
}

/// Name, instructions, bar, system calls and CPU time.
fn cells(figures: &Figures) -> [String; 5] {
    let row = figures.row;
    let sign = if row.over.is_some() { "+ " } else { "" };
    let bar = row.bar.map(|bar| bar as f64).or(figures.most);
    let whole = |number: f64| format!("{number:.0}");
    [
        format!("{sign}{}", row.name),
        whole(figures.counts.instructions),
        bar.map_or_else(String::new, whole),
        format!("{:.2}", figures.counts.system_calls),
        figures.nanoseconds.map_or_else(String::new, whole),
    ]
}

/// Compares the CPU time of rows.
fn ratios(figures: &[Figures]) -> Vec<String> {
    let time = |name: &str| {
        let row = figures.iter().find(|figures| figures.row.name == name);
        row.and_then(|figures| figures.nanoseconds)
    };
    let ratio = |(name, other): &(&str, &str)| {
        let ratio = time(name)? / time(other)?;
        Some(format!("CPU time of {name}: {ratio:.2} of {other}"))
    };
    RATIOS.iter().filter_map(ratio).collect()
}
