//! Database query of a subsegment.

use super::{
    Text,
    json::{Json, Object, key},
};

/// A database query (X-Ray developer guide, "Segment documents", SQL queries).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sql {
    /// URL of the database, without credentials.
    pub url: Option<Text>,
    /// Query without literals.
    pub sanitized_query: Option<Text>,
    /// Name of the database engine.
    pub database_type: Option<Text>,
    /// User of the database.
    pub user: Option<Text>,
}

impl Json for Sql {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("url"), &self.url)
            .member(key!("sanitized_query"), &self.sanitized_query)
            .member(key!("database_type"), &self.database_type)
            .member(key!("user"), &self.user)
            .end();
    }
}
