//! The table of rows: `cargo cost work`, and its check.

use crate::measure::{self, Counts, Figures};
use crate::rows::{self, RATIOS, ROWS, Row};
use crate::table::Table;

/// Rounds of the time measurement.
const ROUNDS: usize = 31;

/// Measures all rows, with times.
pub(crate) fn all() -> String {
    let figures = measured(&ROWS.iter().collect::<Vec<_>>(), ROUNDS);
    format!("{}\n{}", table(&figures), ratios(&figures))
}

/// Measures the rows with a bar and the rows that they are compared with, without times. Returns
/// their table, and whether all of them are within their bars.
pub(crate) fn check() -> (String, bool) {
    let mut rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_checked()).collect();
    while let Some(base) = rows
        .iter()
        .flat_map(|row| [row.over, row.most.map(|(name, _)| name)])
        .flatten()
        .find(|name| rows.iter().all(|row| row.name != *name))
    {
        rows.insert(0, rows::named(base));
    }
    let figures = measured(&rows, 0);
    let holds = !figures.iter().any(Figures::is_over);
    (table(&figures).to_string(), holds)
}

/// Returns the figures of each row, less the figures of the row that it is compared with.
fn measured(rows: &[&'static Row], rounds: usize) -> Vec<Figures> {
    let counts: Vec<Counts> = rows.iter().map(|row| measure::counts(row)).collect();
    let round = |_| -> Vec<f64> { rows.iter().map(|row| measure::nanoseconds(row)).collect() };
    let times: Vec<Vec<f64>> = (0..rounds).map(round).collect();
    let place = |name| rows.iter().position(|row| row.name == name);
    let added = |(index, row): (usize, &&'static Row)| {
        let base = row.over.and_then(place);
        // Of the same round: a busy moment of the machine affects both.
        let times = times
            .iter()
            .map(|round| round[index] - base.map_or(0.0, |base| round[base]));
        Figures {
            row,
            counts: counts[index].without(base.map(|base| counts[base])),
            nanoseconds: median(times),
            most: None,
        }
    };
    let mut figures: Vec<_> = rows.iter().enumerate().map(added).collect();
    for index in 0..figures.len() {
        let most = figures[index].row.most;
        figures[index].most = most.and_then(|(name, factor)| {
            let other = figures.iter().find(|figures| figures.row.name == name)?;
            Some(other.counts.instructions * factor)
        });
    }
    figures
}

/// Returns the median; `None` of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn table(figures: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "work",
        "instructions",
        "bar",
        "system calls",
        "bar",
        "CPU time, ns",
        "goal",
    ]);
    let whole = |number: f64| format!("{number:.0}");
    let optional = |number: Option<f64>| number.map_or_else(String::new, whole);
    for figures in figures {
        let row = figures.row;
        let sign = if row.over.is_some() { "+ " } else { "" };
        let over = if figures.is_over() { " (OVER)" } else { "" };
        table.push([
            format!("{sign}{}{over}", row.name),
            whole(figures.counts.instructions),
            optional(figures.bar()),
            format!("{:.2}", figures.counts.system_calls),
            row.most_calls
                .map_or_else(String::new, |most| most.to_string()),
            optional(figures.nanoseconds),
            optional(row.goal.map(f64::from)),
        ]);
    }
    table
}

/// Compares the CPU time of rows.
fn ratios(figures: &[Figures]) -> Table {
    let mut table = Table::new(&["CPU time of", "ratio", "to"]);
    let time = |name: &str| {
        let row = figures.iter().find(|figures| figures.row.name == name);
        row.and_then(|figures| figures.nanoseconds)
    };
    for (name, other) in RATIOS {
        if let (Some(own), Some(others)) = (time(name), time(other)) {
            let ratio = format!("{:.2}", own / others);
            table.push([name.to_owned(), ratio, other.to_owned()]);
        }
    }
    table
}
