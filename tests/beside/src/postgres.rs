//! A server for PostgreSQL's protocol that answers some queries.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;
use pgwire::{
    api::{
        ClientInfo, PgWireServerHandlers, Type,
        auth::{StartupHandler, noop::NoopStartupHandler},
        portal::{Format, Portal},
        query::ExtendedQueryHandler,
        results::{
            DataRowEncoder, DescribePortalResponse, DescribeStatementResponse, FieldInfo,
            QueryResponse, Response, Tag,
        },
        stmt::{NoopQueryParser, StoredStatement},
    },
    error::{ErrorInfo, PgWireError, PgWireResult},
    tokio::process_socket,
};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Starts a server that runs as long as the runtime, and returns its port.
///
/// | query | answer |
/// |---|---|
/// | `selec …` | a syntax error |
/// | `insert …` | one row; with a parameter that begins with `twice`, a violation of a unique key |
/// | `select pg_sleep …` | none |
/// | `select pg_terminate_backend …` | the connection is closed |
/// | any other `select …` | one row with 3 |
///
/// # Panics
///
/// When no port is free.
pub async fn listen() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = Arc::new(Server::default());
                tokio::select! {
                    _ = process_socket(socket, None, Handlers(server.clone())) => {}
                    () = server.terminated.notified() => {}
                }
            });
        }
    });
    port
}

#[derive(Debug, Default)]
struct Server {
    terminated: Notify,
}

struct Handlers(Arc<Server>);

impl PgWireServerHandlers for Handlers {
    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.0.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.0.clone()
    }
}

impl NoopStartupHandler for Server {}

fn error(code: &str, message: &str, detail: Option<&str>) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message.to_owned());
    info.detail = detail.map(str::to_owned);
    PgWireError::UserError(Box::new(info))
}

fn columns(query: &str) -> Vec<FieldInfo> {
    let count = FieldInfo::new(
        "count".to_owned(),
        None,
        None,
        Type::INT8,
        Format::UnifiedBinary.format_for(0),
    );
    if query.starts_with("select") {
        vec![count]
    } else {
        vec![]
    }
}

#[async_trait]
impl ExtendedQueryHandler for Server {
    type Statement = String;
    type QueryParser = NoopQueryParser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(NoopQueryParser::new())
    }

    async fn do_describe_statement<C>(
        &self,
        _client: &mut C,
        statement: &StoredStatement<String>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let query = &statement.statement;
        if query.starts_with("selec ") {
            return Err(error("42601", "syntax error at or near \"selec\"", None));
        }
        let parameters = query.matches('$').map(|_| Type::TEXT).collect();
        Ok(DescribeStatementResponse::new(parameters, columns(query)))
    }

    async fn do_describe_portal<C>(
        &self,
        _client: &mut C,
        portal: &Portal<String>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        Ok(DescribePortalResponse::new(columns(
            &portal.statement.statement,
        )))
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<String>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let query = &portal.statement.statement;
        if query.contains("pg_sleep") {
            std::future::pending::<()>().await;
        }
        if query.contains("pg_terminate_backend") {
            self.terminated.notify_one();
            std::future::pending::<()>().await;
        }
        if query.starts_with("insert") {
            let email: Option<String> = portal.parameter(0, &Type::TEXT)?;
            return match email.as_deref() {
                Some("twice@s3cr3t.example") => Err(error(
                    "23505",
                    "duplicate key value violates unique constraint \"customers_email_key\"",
                    Some("Key (email)=(twice@s3cr3t.example) already exists."),
                )),
                _ => Ok(Response::Execution(Tag::new("INSERT 0").with_rows(1))),
            };
        }
        let columns = Arc::new(columns(query));
        let mut row = DataRowEncoder::new(columns.clone());
        row.encode_field(&3_i64)?;
        let rows = stream::iter([Ok(row.take_row())]);
        Ok(Response::Query(QueryResponse::new(columns, rows)))
    }
}
