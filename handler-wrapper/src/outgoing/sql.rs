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
mod tests;
