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
