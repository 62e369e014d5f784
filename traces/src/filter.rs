//! X-Ray filter expressions: parser, syntax tree and evaluation.
//!
//! The grammar is the published one (X-Ray developer guide, "Using filter expressions"): keywords
//! and operators in any case, `AND` between conditions optional, `AND` before `OR`.
//!
//! ```
//! use tracestitch_traces::filter::parse;
//!
//! parse(r#"service("order-worker") { fault } AND annotation.order_id = "A-1003""#)?;
//! let error = parse("duration > fast").unwrap_err();
//! assert_eq!(error.to_string(), "position 12: expected a number, found \"fast\"");
//! # Ok::<(), tracestitch_traces::filter::FilterError>(())
//! ```

mod error;
mod evaluate;
mod parse;
mod subject;
mod syntax;
mod tokens;

pub use error::FilterError;
pub use evaluate::matches;
pub use parse::parse;
pub use syntax::{
    AnnotationTest, Compare, Expression, FlagKey, Group, NumberKey, Part, Target, TextKey, TextTest,
};

#[cfg(test)]
mod tests;
