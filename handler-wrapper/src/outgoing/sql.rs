//! Database calls: one subsegment for each, with the query but none of its literals.
//!
//! Wrap the future of a query in [`Database::query`]; any client works. This records more than the
//! events that clients write with `tracing`. `sqlx` writes its event after the query, so a query
//! that a kill interrupts is lost, and the event names neither outcome nor database.
//! `tokio-postgres` writes parameter values into its events, and values must not be recorded.
//!
//! ```
//! use tracestitch::sql::Database;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let fetch = async { Ok::<_, std::io::Error>(3) };
//! let orders = Database::from_url("postgres://app:secret@db.example:5432/orders");
//! let sql = "select count(*) from orders where state = 'open'";
//! // With sqlx, `fetch` is `sqlx::query_scalar(sql).fetch_one(&pool)`; with tokio-postgres
//! // `client.query_one(sql, &[])`.
//! let open = orders.query(sql, fetch).await;
//! # assert_eq!(open.unwrap(), 3);
//! # }
//! ```

mod sanitize;

use std::future::Future;

use tracestitch_wire::document::{Document, Namespace, Sql, Text, clean_url};

use self::sanitize::{Dialect, sanitize};
use crate::trace::{capture::Recorded, context::Context, failure::Failure, subsegment::Subsegment};

/// A database, as the subsegments of its queries describe it.
///
/// Subsegments are named `database@host`, as in the X-Ray SDK for Java.
#[derive(Debug, Clone)]
pub struct Database {
    name: String,
    url: Option<Text>,
    kind: Option<Text>,
    user: Option<Text>,
    dialect: Dialect,
}

impl Database {
    /// The database of a URL as `sqlx` and `tokio-postgres` take it:
    /// `postgres://user:password@host:port/database?options`. User, host and database are
    /// recorded; password and options are not.
    ///
    /// Of a text that is no URL, such as `host=… password=…`, nothing is recorded; then use
    /// [`new`](Self::new).
    pub fn from_url(url: &str) -> Self {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Self::new("sql", "database");
        };
        let kind = match scheme.split('+').next().unwrap_or(scheme) {
            "postgres" | "postgresql" => "PostgreSQL",
            "mysql" => "MySQL",
            "mariadb" => "MariaDB",
            "sqlite" => "SQLite",
            "mssql" | "sqlserver" => "SQL Server",
            other => other,
        };
        // SQL Server has its options, among them user and password, behind semicolons.
        let (before, options) = rest.split_at(rest.find(['?', '#', ';']).unwrap_or(rest.len()));
        let clean = clean_url(url.split(';').next().unwrap_or(url)).into_owned();
        let place = clean.split_once("://").map_or("", |(_, place)| place);
        // A password may hold what begins the options, too: tokio-postgres takes it as it is.
        let authority = before.split('/').next().unwrap_or(before);
        let cut = options.contains('@') && authority.contains(':') && !before.contains('@');
        if cut || place.contains('@') {
            // Credentials that could not be told from the rest.
            return Self::new(kind, "database");
        }
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let host = match authority.rsplit_once(':') {
            // A colon within brackets is one of an IPv6 address.
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        };
        let name = match (database, host) {
            ("", "") => "database".to_owned(),
            ("", host) => host.to_owned(),
            (database, "") => database.to_owned(),
            (database, host) => format!("{database}@{host}"),
        };
        // What was cleaned away, up to the `@`, begins with the user.
        let cleaned_away = !rest.starts_with(place);
        let user = rest.split([':', '@', '/', '?']).next();
        Self {
            user: user
                .filter(|user| cleaned_away && !user.is_empty())
                .map(|user| user.to_owned().into()),
            url: Some(clean.into()),
            ..Self::new(kind, name)
        }
    }

    /// Creates a database of this kind (`PostgreSQL`, `MySQL`, …), whose subsegments get `name`.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        let kind = kind.into();
        let dialect = if kind.to_ascii_lowercase().starts_with("postgres") {
            Dialect::Postgres
        } else {
            Dialect::Other
        };
        Self {
            name: name.into(),
            url: None,
            kind: Some(kind.into()),
            user: None,
            dialect,
        }
    }

    /// Runs `work`, which sends `query`, in a subsegment. An `Err` makes it a fault
    /// with the chain of its sources as cause.
    ///
    /// The query is recorded without literals and comments; placeholders (`$1`, `?`) stay, the
    /// values bound to them are never seen. What cannot be told from a literal for sure is left
    /// out with all that follows it. 250 characters are kept. `Kind` is inferred: see
    /// [`Failure`](crate::Failure).
    ///
    /// # Errors
    ///
    /// Returns the error of `work`, unchanged.
    pub async fn query<F, T, E, Kind>(&self, query: &str, work: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Failure<Kind>,
    {
        let context = Context::current();
        if !context.is_recording() {
            return work.await;
        }
        let subsegment = Subsegment::begin_with(&context, self.name.clone(), |document| {
            self.describe(document, query);
        });
        Recorded::new(
            subsegment.context(),
            subsegment,
            work,
            |outcome: Result<T, E>, subsegment| {
                outcome.inspect_err(|error| subsegment.record_failure(error))
            },
        )
        .await
    }

    fn describe(&self, document: &mut Document, query: &str) {
        document.namespace = Some(Namespace::Remote);
        document.sql = Some(Box::new(Sql {
            url: self.url.clone(),
            sanitized_query: Some(sanitize(query, self.dialect).into()),
            database_type: self.kind.clone(),
            user: self.user.clone(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::{header::SAMPLED, kept::Kept};

    #[tokio::test]
    async fn query_is_one_subsegment() {
        let kept = Kept::default();
        let database =
            Database::from_url("postgres://app:secret@db.example:5432/orders?sslpassword=secret");
        let work = database.query("select * from o where card = 'secret' and id = $1", async {
            crate::annotate("rows", 3);
            Ok::<_, std::io::Error>(3)
        });
        assert_eq!(kept.invoke(SAMPLED, work).await.unwrap(), 3);
        let call = kept.one("orders@db.example");
        assert_eq!(call["namespace"], "remote");
        assert_eq!(
            call["sql"],
            json!({
                "url": "postgres://db.example:5432/orders",
                "sanitized_query": "select * from o where card = ? and id = $1",
                "database_type": "PostgreSQL",
                "user": "app",
            })
        );
        assert_eq!(call["annotations"]["rows"], 3);
        assert!(!format!("{:?}", kept.events()).contains("secret"));
    }

    #[tokio::test]
    async fn failed_query_is_a_fault() {
        let kept = Kept::default();
        let database = Database::new("MySQL", "orders");
        let refused = async { Err::<(), _>(std::io::Error::other("no such table")) };
        let failed = kept
            .invoke(SAMPLED, database.query("select 1", refused))
            .await;
        assert!(failed.is_err());
        let call = kept.one("orders");
        assert_eq!(call["fault"], true);
        assert_eq!(call["cause"]["exceptions"][0]["message"], "no such table");
    }

    #[test]
    fn urls_name_the_database() {
        for (url, name, user, clean, reason) in [
            (
                "postgresql://u:p@h:1/d",
                "d@h",
                Some("u"),
                Some("postgresql://h:1/d"),
                "all of it",
            ),
            (
                "mysql://u@h/d?p=x",
                "d@h",
                Some("u"),
                Some("mysql://h/d"),
                "no password",
            ),
            (
                "mysql://h/d?p=a@b",
                "d@h",
                None,
                Some("mysql://h/d"),
                "no user",
            ),
            (
                "postgres://u:p/w@h/d",
                "d@h",
                Some("u"),
                Some("postgres://h/d"),
                "slash in password",
            ),
            (
                "sqlite://orders.db",
                "orders.db",
                None,
                Some("sqlite://orders.db"),
                "a file",
            ),
            ("sqlite::memory:", "database", None, None, "no URL"),
            ("host=h password=p", "database", None, None, "no URL either"),
            (
                "mysql://u:1/2@h/d",
                "database",
                None,
                None,
                "a password like a port",
            ),
            (
                "postgres://u:p@[::1]/d",
                "d@[::1]",
                Some("u"),
                Some("postgres://[::1]/d"),
                "an IPv6 address without a port",
            ),
            (
                "postgres://[::1]:5432/d",
                "d@[::1]",
                None,
                Some("postgres://[::1]:5432/d"),
                "an IPv6 address with a port",
            ),
            (
                "postgres://u:p#w@h/d",
                "database",
                None,
                None,
                "hash in password",
            ),
            (
                "postgres://u:p?w@h:1/d",
                "database",
                None,
                None,
                "question mark in password",
            ),
            (
                "postgres://u:p/w#x@h/d",
                "database",
                None,
                None,
                "slash and hash in password",
            ),
            (
                "sqlserver://h:1433;databaseName=d;user=sa;password=SECRET",
                "h",
                None,
                Some("sqlserver://h:1433"),
                "options of SQL Server",
            ),
            (
                "postgres://u:p;w@h/d",
                "database",
                None,
                None,
                "semicolon in password",
            ),
            (
                "postgres://u:p@h/d?application_name=a@b",
                "d@h",
                Some("u"),
                Some("postgres://h/d"),
                "@ in the options too",
            ),
        ] {
            let database = Database::from_url(url);
            assert_eq!(database.name, name, "{reason}");
            assert_eq!(database.user.as_ref().map(Text::as_str), user, "{reason}");
            assert_eq!(database.url.as_ref().map(Text::as_str), clean, "{reason}");
        }
    }
}
