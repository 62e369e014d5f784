//! The smallest function, with tracestitch and without: `cargo cost function` compares them.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    Ok(event.payload)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    #[cfg(feature = "traced")]
    return tracestitch::run(service_fn(handle)).await;
    #[cfg(not(feature = "traced"))]
    return lambda_runtime::run(service_fn(handle)).await;
}
