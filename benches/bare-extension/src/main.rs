//! An extension on `lambda-extension` that does nothing: `cargo cost start` compares with it.

use lambda_extension::{Error, LambdaEvent, NextEvent, run, service_fn};

async fn ignore(event: LambdaEvent) -> Result<(), Error> {
    match event.next {
        NextEvent::Invoke(_) => {}
        NextEvent::Shutdown(_) => std::process::exit(0),
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(ignore)).await
}
