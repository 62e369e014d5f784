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

use tracestitch_wire::document::{Cause, Document, Namespace, Sql, Text, clean_url, first_clause};

use self::sanitize::{Dialect, sanitize};
use crate::{
    support::user_code,
    trace::{capture::Recorded, context::Context, failure::Failure, subsegment::Subsegment},
};

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
    whole_messages: bool,
}

impl Database {
    /// Creates a database from a URL that `sqlx` or `tokio-postgres` accepts:
    /// `postgres://user:password@host:port/database?options`. User, host and database are
    /// recorded; password and options are not. The name has the first of several hosts, and
    /// `localhost` for the path of a socket.
    ///
    /// Nothing is recorded of a text that is not a URL, such as `host=… password=…`, nor of a URL
    /// in which a password may extend into host, path or options; then use [`new`](Self::new).
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
            "redis" | "rediss" => "Redis",
            other => other,
        };
        let clean = clean_url(url).into_owned();
        let place = clean.split_once("://").map_or("", |(_, place)| place);
        if place.is_empty() {
            return Self::new(kind, "database");
        }
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let name = match (database, first_host(authority)) {
            ("", "") => "database".to_owned(),
            ("", host) => host.to_owned(),
            (database, "") => database.to_owned(),
            (database, host) => format!("{database}@{host}"),
        };
        // `clean_url` accepts an `@` only behind user and password.
        let user = rest.contains('@').then(|| rest.split([':', '@']).next());
        Self {
            user: user
                .flatten()
                .filter(|user| !user.is_empty())
                .map(|user| user.to_owned().into()),
            url: Some(clean.into()),
            ..Self::new(kind, name)
        }
    }

    /// Creates a database of this kind (`PostgreSQL`, `MySQL`, …), whose subsegments get `name`.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        let kind = kind.into();
        let dialect = Dialect::of(&kind);
        Self {
            name: name.into(),
            url: None,
            kind: Some(kind.into()),
            user: None,
            dialect,
            whole_messages: false,
        }
    }

    /// Records whole error messages, without URLs' credentials and PostgreSQL's `DETAIL`.
    ///
    /// By default only the first clause of each message is recorded, at most 120 characters,
    /// because databases quote values in their messages: `Duplicate entry '…' for key 'email'`.
    #[must_use]
    pub fn with_whole_messages(mut self) -> Self {
        self.whole_messages = true;
        self
    }

    /// Runs `work`, which sends `query`, in a new subsegment. An `Err` makes it a fault with the
    /// chain of its sources as cause, see [`with_whole_messages`](Self::with_whole_messages).
    ///
    /// The query is recorded without literals and comments. Placeholders (`$1`, `?`) stay; values
    /// bound to them are not visible here. If the end of a literal is not certain, the rest of the
    /// query is dropped. For a kind of database that is not known to use SQL, such as `Redis`, only
    /// the first word is recorded. 250 characters are kept. `Kind` is inferred: see
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
                outcome.inspect_err(|error| self.record(subsegment, error))
            },
        )
        .await
    }

    /// Records a failed call. The messages of a database have a rule of their own.
    fn record<Kind>(&self, subsegment: &Subsegment, error: &impl Failure<Kind>) {
        let cause = user_code::cause_of(|| self.cause(error));
        subsegment.amend(|document| document.fail(cause));
    }

    fn cause<Kind>(&self, error: &impl Failure<Kind>) -> Cause {
        let mut cause = error.cause();
        if !self.whole_messages {
            for exception in &mut cause.exceptions {
                exception.message = first_clause(exception.message.as_str()).into();
            }
        }
        cause
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

/// Returns the first host of an authority, without port. The path of a socket, which begins with
/// an encoded slash, becomes `localhost`.
fn first_host(authority: &str) -> &str {
    let first = authority.split(',').next().unwrap_or(authority);
    let host = match first.rsplit_once(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => host,
        _ => first,
    };
    if host
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("%2f"))
    {
        "localhost"
    } else {
        host
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

    #[tokio::test]
    async fn error_message_of_database_is_recorded_without_values() {
        for (message, expected) in [
            (
                "Duplicate entry 'SECRET' for key 'email'",
                "Duplicate entry…",
            ),
            (
                "error returned from database: invalid input syntax for type integer: \"SECRET\"",
                "error returned from database: invalid input syntax for type integer…",
            ),
            (
                "UNIQUE constraint failed: SECRET",
                "UNIQUE constraint failed…",
            ),
        ] {
            for whole in [false, true] {
                let kept = Kept::default();
                let mut database = Database::new("MySQL", "orders");
                if whole {
                    database = database.with_whole_messages();
                }
                let error = std::io::Error::other(std::io::Error::other(message));
                let refused = async { Err::<(), _>(error) };
                // The handler drops the error, so the subsegment alone can record it.
                kept.invoke(SAMPLED, async {
                    database.query("select 1", refused).await.ok();
                    Ok::<_, std::io::Error>(())
                })
                .await
                .unwrap();
                let call = kept.one("orders");
                let expected = if whole { message } else { expected };
                assert_eq!(call["cause"]["exceptions"][0]["message"], expected);
                assert_eq!(call.to_string().contains("SECRET"), whole, "{call}");
            }
        }
    }

    #[tokio::test]
    async fn command_of_unknown_language_is_recorded_without_arguments() {
        for (url, command, expected) in [
            ("redis://:p@h:6379/0", "SET session SECRET", "SET ?"),
            ("rediss://h", "PING", "PING"),
            ("mongodb://h/d", "{ find: 'SECRET' }", "?"),
            ("unknown://h/d", "  HSET\tSECRET", "HSET ?"),
        ] {
            let kept = Kept::default();
            let database = Database::from_url(url);
            let name = database.name.clone();
            let work = database.query(command, async { Ok::<_, std::io::Error>(()) });
            kept.invoke(SAMPLED, work).await.unwrap();
            let call = kept.one(&name);
            assert_eq!(call["sql"]["sanitized_query"], expected, "{url}");
        }
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
                "mysql://h/d?p=x",
                "d@h",
                None,
                Some("mysql://h/d"),
                "no user",
            ),
            (
                "mysql://h/d?p=a@b",
                "database",
                None,
                None,
                "@ in the options, which may end a password",
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
                "database",
                None,
                None,
                "@ in the options too",
            ),
            (
                "postgres://u:p@h1:5432,h2:5433/d",
                "d@h1",
                Some("u"),
                Some("postgres://h1:5432,h2:5433/d"),
                "several hosts",
            ),
            (
                "postgres://[::1]:5432,h2/d",
                "d@[::1]",
                None,
                Some("postgres://[::1]:5432,h2/d"),
                "several hosts, the first an address",
            ),
            (
                "postgres://u:p@%2Fvar%2Frun%2Fpostgresql/d",
                "d@localhost",
                Some("u"),
                Some("postgres://%2Fvar%2Frun%2Fpostgresql/d"),
                "path of a socket",
            ),
            (
                "postgres:///d?host=/var/run/postgresql",
                "d",
                None,
                Some("postgres:///d"),
                "path of a socket in the options",
            ),
            (
                "postgres://hx:p@h/d",
                "d@h",
                Some("hx"),
                Some("postgres://h/d"),
                "a user that begins like the host",
            ),
        ] {
            let database = Database::from_url(url);
            assert_eq!(database.name, name, "{reason}");
            assert_eq!(database.user.as_ref().map(Text::as_str), user, "{reason}");
            assert_eq!(database.url.as_ref().map(Text::as_str), clean, "{reason}");
        }
    }
}
