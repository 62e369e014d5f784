//! The database call of a subsegment.

use serde::Serialize;

use super::Text;

/// What was asked of which database (X-Ray developer guide, "Segment documents", SQL queries).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sql {
    /// Where the database is, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Text>,
    /// The query without its literals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sanitized_query: Option<Text>,
    /// Name of the database engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_type: Option<Text>,
    /// The user that the database knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Text>,
}
