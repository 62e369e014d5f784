//! DynamoDB on one machine: the emulator `dynoxide` in memory, behind HTTP.

use std::fmt;

use dynoxide::Database;
use serde_json::json;

use crate::server::Server;

/// A DynamoDB endpoint on 127.0.0.1 with tables in memory; it stops when it is dropped.
pub struct Tables {
    database: Database,
    server: Server,
}

impl Tables {
    /// Starts an endpoint without tables.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot be made or no port is free.
    pub async fn start() -> Result<Self, TableError> {
        let failed = |error: &dyn fmt::Display| TableError(format!("cannot start: {error}"));
        let database = Database::memory().map_err(|error| failed(&error))?;
        let served = database.clone();
        let serve = |listener| async move {
            // Without a shutdown signal, the server ends with its task.
            let _ = dynoxide::server::serve_with_shutdown(listener, served, std::future::pending())
                .await;
        };
        let server = Server::run(serve).await.map_err(|error| failed(&error))?;
        Ok(Self { database, server })
    }

    /// Returns the value for `AWS_ENDPOINT_URL_DYNAMODB`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// Creates a table with a string attribute as its partition key; it is usable at once.
    ///
    /// # Errors
    ///
    /// Fails if the table exists, or if a name breaks DynamoDB's rules.
    pub fn create(&self, table: &str, key: &str) -> Result<(), TableError> {
        let failed = |error: &dyn fmt::Display| {
            TableError(format!(
                "cannot create table {table:?} with key {key:?}: {error}"
            ))
        };
        let request = json!({
            "TableName": table,
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        });
        let request = serde_json::from_value(request).map_err(|error| failed(&error))?;
        self.database
            .create_table(request)
            .map_err(|error| failed(&error))?;
        Ok(())
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

/// An error of DynamoDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableError(String);

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamoDB: {}", self.0)
    }
}

impl std::error::Error for TableError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client;

    #[tokio::test]
    async fn items_are_stored_over_http() {
        let tables = Tables::start().await.unwrap();
        tables.create("orders", "orderId").unwrap();
        let call = async |operation: &str, input| {
            let target = format!("DynamoDB_20120810.{operation}");
            // Only the form of a signature is checked.
            let signature = "AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/dynamodb/aws4_request\
                , SignedHeaders=host, Signature=0";
            let headers = [
                ("x-amz-target", target.as_str()),
                ("x-amz-date", "20200101T000000Z"),
                ("authorization", signature),
            ];
            client::post_json(&tables.endpoint(), &headers, &input).await
        };
        let item = json!({"orderId": {"S": "A-1"}, "quantity": {"N": "2"}});
        let put = call("PutItem", json!({"TableName": "orders", "Item": item}))
            .await
            .unwrap();
        assert_eq!(put.status, 200, "{put:?}");
        let key = json!({"orderId": {"S": "A-1"}});
        let got = call("GetItem", json!({"TableName": "orders", "Key": key}))
            .await
            .unwrap();
        assert_eq!(got.body["Item"], item);
    }

    #[tokio::test]
    async fn second_table_of_the_same_name_is_refused() {
        let tables = Tables::start().await.unwrap();
        tables.create("orders", "orderId").unwrap();
        let error = tables.create("orders", "orderId").unwrap_err().to_string();
        assert!(error.contains("\"orders\""), "{error}");
    }
}
