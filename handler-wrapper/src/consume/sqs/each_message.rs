//! Handler of batches around a service of single messages.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent};
use tower::{Layer, Service, ServiceExt};

use super::consumer::Consumer;
use crate::trace::context::Context as TraceContext;

/// A handler of batches around a [`Service`] of single messages. [`Consumer`] creates it as a
/// layer.
///
/// Timeouts, retries and filters of tower thus apply to each message:
///
/// ```no_run
/// use aws_lambda_events::sqs::SqsMessage;
/// use lambda_runtime::{Error, service_fn, tower::Layer};
/// use tracestitch::sqs::Consumer;
///
/// async fn message(message: SqsMessage) -> Result<(), Error> {
///     println!("{:?}", message.message_id);
///     Ok(())
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     tracestitch::run(Consumer::new().concurrency(10).layer(service_fn(message))).await
/// }
/// ```
///
/// The service is cloned for each message. An error of the service fails its message, never the
/// batch.
#[derive(Debug, Clone)]
pub struct EachMessage<S> {
    consumer: Consumer,
    inner: S,
}

impl<S> Layer<S> for Consumer {
    type Service = EachMessage<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EachMessage {
            consumer: self.clone(),
            inner,
        }
    }
}

impl<S> Service<LambdaEvent<SqsEvent>> for EachMessage<S>
where
    S: Service<SqsMessage> + Clone + Send + 'static,
    S::Response: Send,
    S::Error: Into<Error>,
    S::Future: Send,
{
    type Response = SqsBatchResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<SqsBatchResponse, Infallible>> + Send>>;

    /// Always returns ready: each clone of the inner service is polled before it gets its message.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<SqsEvent>) -> Self::Future {
        let Self { consumer, inner } = self.clone();
        // Without a `TraceLayer` around it, the deadline is known here alone.
        let context = TraceContext::current().within(&event.context);
        Box::pin(context.scope(async move {
            let handle = move |message| {
                let message = inner.clone().oneshot(message);
                async move { message.await.map(drop).map_err(Into::<Error>::into) }
            };
            Ok(consumer.each(event.payload, handle).await)
        }))
    }
}
