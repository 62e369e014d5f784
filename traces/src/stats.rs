//! Statistics: where the time is, and what changed.
//!
//! Times are grouped by the name of a subsegment with its operation, by service, or by the value of
//! an annotation. Percentiles are by nearest rank.

mod compare;
mod table;
mod text;

pub use compare::{Change, compare};
pub use table::{By, Row, Table, table};

#[cfg(test)]
mod tests;
