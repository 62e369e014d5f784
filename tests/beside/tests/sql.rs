//! Queries of `sqlx` and `tokio-postgres`, each of which becomes one complete document.
#![allow(
    clippy::unwrap_used,
    reason = "a failure in a helper fails the test, too"
)]

use std::time::Duration;

use beside::{ROOT, postgres, recorded};
use serde_json::{Value, json};
use sqlx::{Row, sqlite::SqlitePoolOptions};
use tokio_postgres::NoTls;
use tracestitch::sql::Database;

/// Time after which a query that has begun is cancelled.
const MOMENT: Duration = Duration::from_millis(100);

/// Compares the documents with the expected calls: their query, and type and message of each
/// exception.
#[track_caller]
fn compare(
    mut documents: Vec<Value>,
    name: &str,
    mut sql: Value,
    expected: &[(&str, &[(&str, &str)])],
) {
    let text = format!("{documents:?}");
    assert!(!text.contains("s3cr3t"), "{text}");
    let handler = documents.pop().unwrap();
    assert_eq!(handler["name"], "orders");
    assert!(handler.get("fault").is_none(), "{handler}");
    assert_eq!(documents.len(), expected.len(), "{documents:#?}");
    for (mut document, (query, exceptions)) in documents.into_iter().zip(expected) {
        let fields = document.as_object_mut().unwrap();
        for key in ["id", "start_time", "end_time"] {
            assert!(fields.remove(key).is_some(), "{key} of {query}");
        }
        let mut cause = Vec::new();
        if let Some(exceptions) = fields
            .get_mut("cause")
            .map(|cause| &mut cause["exceptions"])
        {
            for exception in exceptions.as_array_mut().unwrap() {
                let exception = exception.as_object_mut().unwrap();
                exception.remove("id").unwrap();
                exception.remove("cause");
                cause.push(Value::Object(std::mem::take(exception)));
            }
            fields.remove("cause");
        }
        let exceptions: Vec<_> = exceptions
            .iter()
            .map(|(kind, message)| json!({ "type": kind, "message": message }))
            .collect();
        assert_eq!(cause, exceptions, "{query}");
        sql["sanitized_query"] = json!(query);
        let mut whole = json!({
            "name": name, "namespace": "remote", "type": "subsegment", "trace_id": ROOT,
            "parent_id": handler["id"], "sql": sql,
        });
        if !exceptions.is_empty() {
            whole["fault"] = json!(true);
        }
        assert_eq!(document, whole);
    }
}

const CANCELLED: (&str, &str) = (
    "Cancelled",
    "dropped before it was finished: its future was cancelled, or its code returned early",
);

async fn by_sqlx() {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    let database = Database::from_url("sqlite://orders.db");

    let create = "create table customers (email text unique)";
    let made = sqlx::query(create).execute(&pool);
    database.query(create, made).await.unwrap();
    let insert = "insert into customers values (?)";
    for first in [true, false] {
        let inserted = sqlx::query(insert).bind("a@s3cr3t.example").execute(&pool);
        assert_eq!(database.query(insert, inserted).await.is_ok(), first);
    }
    let select = "select count(*) from customers where email = 'a@s3cr3t.example'";
    let row = sqlx::query(select).fetch_one(&pool);
    let row = database.query(select, row).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 1);
    let bad = "selec 's3cr3t'";
    let outcome = sqlx::query(bad).execute(&pool);
    database.query(bad, outcome).await.unwrap_err();

    let held = pool.acquire().await.unwrap();
    let waits = database.query("select i", sqlx::query("select i").execute(&pool));
    tokio::time::timeout(MOMENT, waits).await.unwrap_err();
    drop(held);
    pool.close().await;
    let outcome = sqlx::query("select j").execute(&pool);
    database.query("select j", outcome).await.unwrap_err();
}

#[test]
fn sqlx_calls_are_recorded() {
    let documents = recorded("sqlx_calls_are_recorded", by_sqlx);
    let sql = json!({ "database_type": "SQLite", "url": "sqlite://orders.db" });
    compare(
        documents,
        "orders.db",
        sql,
        &[
            ("create table customers (email text unique)", &[]),
            ("insert into customers values (?)", &[]),
            (
                "insert into customers values (?)",
                &[
                    (
                        "Database",
                        "error returned from database: (code: 2067) UNIQUE constraint failed…",
                    ),
                    ("SqliteError", "(code: 2067) UNIQUE constraint failed…"),
                ],
            ),
            ("select count(*) from customers where email = ?", &[]),
            (
                "selec ?",
                &[
                    ("Database", "error returned from database: (code: 1) near…"),
                    ("SqliteError", "(code: 1) near…"),
                ],
            ),
            ("select i", &[CANCELLED]),
            (
                "select j",
                &[(
                    "PoolClosed",
                    "attempted to acquire a connection on a closed pool",
                )],
            ),
        ],
    );
}

async fn by_tokio_postgres() {
    let port = postgres::listen().await;
    let url = format!("postgres://app:s3cr3t@127.0.0.1:{port}/orders?application_name=s3cr3t");
    let database = Database::from_url(&url);
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);

    let select = "select count(*) from customers where email = 'a@s3cr3t.example'";
    let row = database.query(select, client.query_one(select, &[])).await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 3);
    let insert = "insert into customers values ($1)";
    for (email, inserts) in [
        ("once@s3cr3t.example", true),
        ("twice@s3cr3t.example", false),
    ] {
        let outcome = database
            .query(insert, client.execute(insert, &[&email]))
            .await;
        assert_eq!(outcome.is_ok(), inserts);
    }
    let bad = "selec 's3cr3t'";
    let outcome = database.query(bad, client.execute(bad, &[])).await;
    outcome.unwrap_err();
    let sleep = "select pg_sleep(1000)";
    let waits = database.query(sleep, client.query_one(sleep, &[]));
    tokio::time::timeout(MOMENT, waits).await.unwrap_err();

    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let end = "select pg_terminate_backend(7)";
    let outcome = database.query(end, client.query_one(end, &[])).await;
    outcome.unwrap_err();
    let outcome = database.query("select i", client.query_one("select i", &[]));
    outcome.await.unwrap_err();
}

#[test]
fn tokio_postgres_calls_are_recorded() {
    let documents = recorded("tokio_postgres_calls_are_recorded", by_tokio_postgres);
    let url = documents[0]["sql"]["url"].as_str().unwrap().to_owned();
    let port = url.strip_prefix("postgres://127.0.0.1:").unwrap();
    let port = port.strip_suffix("/orders").unwrap();
    assert!(port.parse::<u16>().is_ok(), "{url}");
    let sql = json!({ "database_type": "PostgreSQL", "url": url, "user": "app" });
    let closed = ("Error", "connection closed");
    compare(
        documents,
        "orders@127.0.0.1",
        sql,
        &[
            ("select count(*) from customers where email = ?", &[]),
            ("insert into customers values ($1)", &[]),
            (
                "insert into customers values ($1)",
                // Without the name of the constraint, and without the second line with the value.
                &[
                    ("Error", "db error"),
                    (
                        "DbError",
                        "ERROR: duplicate key value violates unique constraint…",
                    ),
                ],
            ),
            (
                "selec ?",
                &[
                    ("Error", "db error"),
                    ("DbError", "ERROR: syntax error at or near…"),
                ],
            ),
            ("select pg_sleep(?)", &[CANCELLED]),
            ("select pg_terminate_backend(?)", &[closed]),
            ("select i", &[closed]),
        ],
    );
}
