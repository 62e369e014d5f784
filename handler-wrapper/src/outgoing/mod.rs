//! Calls from the function to other services.

#[cfg(feature = "aws-sdk")]
pub mod aws;
#[cfg(feature = "http-client")]
pub mod http_client;
#[cfg(feature = "sql")]
pub mod sql;
