//! Tables and changes as text.

use std::fmt;

use super::compare::Change;
use super::table::{Row, Table};
use crate::text::{milliseconds, printable};

/// Longest displayed name, in characters.
const NAME: usize = 40;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} traces", self.traces)?;
        writeln!(
            f,
            "{:<NAME$}  {:>7}  {:>6}  {:>6}  {:>6}  {:>11}  {:>11}  {:>11}  {:>6}  slowest",
            "name", "count", "error", "fault", "thrott", "p50", "p90", "p99", "share",
        )?;
        self.rows.iter().try_for_each(|row| write_row(f, row))
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    let name: String = printable(&row.name).chars().take(NAME).collect();
    writeln!(
        f,
        "{name:<NAME$}  {:>7}  {:>6}  {:>6}  {:>6}  {:>11}  {:>11}  {:>11}  {:>6}  {}",
        row.count,
        percent(row.error),
        percent(row.fault),
        percent(row.throttle),
        milliseconds(row.p50),
        milliseconds(row.p90),
        milliseconds(row.p99),
        percent(row.share),
        row.slowest.first().map_or("", String::as_str),
    )
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = printable(&self.name);
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                let (old, new) = (milliseconds(before.p99), milliseconds(after.p99));
                write!(f, "{name}: p99 {old} -> {new}")?;
                let rates = [
                    ("error", before.error, after.error),
                    ("fault", before.fault, after.fault),
                    ("throttle", before.throttle, after.throttle),
                ];
                for (word, old, new) in rates.into_iter().filter(|(_, old, new)| old != new) {
                    write!(f, ", {word} {} -> {}", percent(old), percent(new))?;
                }
                writeln!(f, "; slower in {} of traces", percent(self.slower))?;
            }
            (None, Some(after)) => {
                let (p99, traces) = (milliseconds(after.p99), percent(after.in_traces));
                writeln!(f, "{name}: new, p99 {p99}, in {traces} of traces")?;
            }
            (Some(before), None) => {
                let p99 = milliseconds(before.p99);
                writeln!(f, "{name}: gone, p99 was {p99}")?;
            }
            (None, None) => {}
        }
        self.examples
            .iter()
            .try_for_each(|id| writeln!(f, "    {id}"))
    }
}
