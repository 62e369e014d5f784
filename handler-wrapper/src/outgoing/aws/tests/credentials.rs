//! Providers of credentials.

use aws_credential_types::provider::{
    error::CredentialsError, future::ProvideCredentials as ProvideFuture,
};
use aws_sdk_dynamodb::config::ProvideCredentials;

/// A provider without credentials.
#[derive(Debug)]
pub(super) struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> ProvideFuture<'a>
    where
        Self: 'a,
    {
        ProvideFuture::ready(Err(CredentialsError::not_loaded("none in this test")))
    }
}
