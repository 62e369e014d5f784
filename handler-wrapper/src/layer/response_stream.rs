//! Streamed responses: the runtime polls them in another task, after the handler's subsegment has
//! ended.

use std::pin::Pin;
use std::task::{self, Poll, ready};

use futures_util::Stream;
use lambda_runtime::{Error, FunctionResponse, IntoFunctionResponse, StreamResponse};

use crate::trace::{
    capture::Running,
    context::Context,
    subsegment::Subsegment,
    trace::{Postponed, Trace},
};

/// Name of a stream's subsegment.
const NAME: &str = "response";

/// A handler's response with the context of the handler.
pub(crate) struct HandlerResponse<R> {
    response: R,
    context: Context,
    /// A stream may fail after the handler's subsegment has ended.
    undecided: Option<Postponed>,
}

impl<R> HandlerResponse<R> {
    pub(crate) fn of(response: R) -> Self {
        let context = Context::current();
        Self {
            response,
            undecided: context.trace().map(Trace::postpone),
            context,
        }
    }
}

impl<R, B, S, D, E> IntoFunctionResponse<B, ResponseStream<S>> for HandlerResponse<R>
where
    R: IntoFunctionResponse<B, S>,
    S: Stream<Item = Result<D, E>> + Unpin,
{
    fn into_response(self) -> FunctionResponse<B, ResponseStream<S>> {
        match self.response.into_response() {
            FunctionResponse::BufferedResponse(body) => FunctionResponse::BufferedResponse(body),
            FunctionResponse::StreamingResponse(response) => {
                FunctionResponse::StreamingResponse(StreamResponse {
                    metadata_prelude: response.metadata_prelude,
                    stream: ResponseStream::new(self.context, self.undecided, response.stream),
                })
            }
        }
    }
}

/// A stream that runs in a subsegment under the handler's.
///
/// The subsegment ends with the last part. If the stream is dropped before, it ends as cancelled. A
/// part that is an error makes it a fault.
pub(crate) struct ResponseStream<S> {
    /// `None` while it is dropped.
    stream: Option<S>,
    running: Running,
    /// `None` once the last part was read.
    undecided: Option<Postponed>,
}

impl<S> ResponseStream<S> {
    fn new(around: Context, undecided: Option<Postponed>, stream: S) -> Self {
        let subsegment = Subsegment::begin_in(&around, NAME);
        Self {
            stream: Some(stream),
            running: Running::new(subsegment.context(), subsegment),
            undecided,
        }
    }
}

impl<S, D, E> Stream for ResponseStream<S>
where
    S: Stream<Item = Result<D, E>> + Unpin,
    E: Into<Error>,
{
    type Item = Result<D, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let Self {
            stream,
            running,
            undecided,
        } = &mut *self;
        let Some(stream) = stream else {
            return Poll::Ready(None);
        };
        let part = ready!(running.step(|| Pin::new(stream).poll_next(cx)));
        let part = part.map(|part| part.map_err(Into::into));
        match &part {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                running.record(|subsegment| subsegment.record_failure(error));
                if let Some(undecided) = undecided {
                    undecided.fail();
                }
            }
            None => {
                let _ = running.end(|_| ());
                *undecided = None;
            }
        }
        Poll::Ready(part)
    }
}

impl<S> Drop for ResponseStream<S> {
    fn drop(&mut self) {
        let Self {
            stream,
            running,
            undecided,
        } = self;
        running.release(|| *stream = None);
        // Not read to its end. The verdict follows when the fields are dropped, the subsegment first.
        if let Some(undecided) = undecided {
            undecided.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::{FutureExt, StreamExt, stream};
    use serde_json::Value;

    use super::*;
    use crate::tests::{
        header::{PARENT, ROOT, SAMPLED},
        kept::Kept,
    };

    /// Returns the response of a handler that answers with `parts`, as the runtime gets it.
    async fn streamed<S>(kept: &Kept, header: &str, parts: S) -> ResponseStream<S>
    where
        S: Stream<Item = Result<&'static str, std::io::Error>> + Unpin + Send + 'static,
    {
        let handler = async { HandlerResponse::of(StreamResponse::from(parts)) };
        match kept.invoke(header, handler).await.into_response() {
            FunctionResponse::StreamingResponse(response) => response.stream,
            FunctionResponse::BufferedResponse(()) => panic!("it was a stream"),
        }
    }

    #[tokio::test]
    async fn work_of_a_poll_hangs_under_the_stream() {
        let kept = Kept::default();
        let part = |name| crate::capture(name, async move { Ok(name) }).boxed();
        let parts = stream::iter(["one", "two"]).then(part);
        let mut stream = streamed(&kept, SAMPLED, parts).await;
        let handler = kept.one("order-worker");
        assert_eq!(stream.next().await.unwrap().unwrap(), "one");
        let open = (
            vec!["order-worker".into(), "one".into()],
            vec!["response in progress".into()],
        );
        assert_eq!(
            kept.extension(),
            open,
            "known to the extension while it lasts"
        );
        assert_eq!(stream.next().await.unwrap().unwrap(), "two");
        assert!(stream.next().await.is_none());
        let response = kept.one("response");
        assert_eq!(response["parent_id"], handler["id"]);
        assert!(response.get("fault").is_none(), "{response}");
        for part in ["one", "two"] {
            assert_eq!(kept.one(part)["parent_id"], response["id"], "{part}");
        }
    }

    /// Returns the subsegment of a stream that `end` brings to its end.
    async fn ended<S, F: Future>(parts: S, end: impl FnOnce(ResponseStream<S>) -> F) -> Value
    where
        S: Stream<Item = Result<&'static str, std::io::Error>> + Unpin + Send + 'static,
    {
        let kept = Kept::default();
        end(streamed(&kept, SAMPLED, parts).await).await;
        assert!(
            kept.one("order-worker").get("fault").is_none(),
            "the handler ended before"
        );
        kept.one("response")
    }

    #[tokio::test]
    async fn stream_that_fails_or_is_dropped_is_a_fault() {
        let parts = || stream::iter([Ok("one"), Err(std::io::Error::other("no stock")), Ok("two")]);
        let read = ended(parts(), async |stream| {
            let parts: Vec<_> = stream.collect().await;
            assert_eq!(parts[1].as_ref().unwrap_err().to_string(), "no stock");
            assert!(parts[2].is_ok(), "errors and later parts are passed on");
        });
        let dropped = ended(parts(), async |mut stream| drop(stream.next().await));
        let unread = ended(parts(), async |stream| drop(stream));
        let panicking = stream::poll_fn(|_| panic!("no price"));
        let panicked = ended(panicking, async |mut stream| {
            let next = AssertUnwindSafe(stream.next());
            assert!(next.catch_unwind().await.is_err());
        });
        for (response, kind, message) in [
            (read.await, "Custom", "no stock"),
            (dropped.await, "Cancelled", "dropped"),
            (unread.await, "Cancelled", "dropped"),
            (panicked.await, "panic", "no price"),
        ] {
            let exception = &response["cause"]["exceptions"][0];
            let found = exception["message"].as_str().unwrap();
            assert!(found.contains(message), "{response}");
            assert!(
                exception["type"].as_str().unwrap().ends_with(kind),
                "{response}"
            );
            assert_eq!(response["fault"], true);
        }
    }

    /// Records work while it is dropped, like a connection that returns to its pool.
    struct Behind;

    impl Drop for Behind {
        fn drop(&mut self) {
            crate::capture_sync("behind", || {});
        }
    }

    #[tokio::test]
    async fn work_of_a_drop_hangs_under_the_stream() {
        let kept = Kept::default();
        let behind = Behind;
        let parts = stream::poll_fn(move |_| {
            let _ = &behind;
            Poll::Ready(None)
        });
        drop(streamed(&kept, SAMPLED, parts).await);
        assert_eq!(kept.one("behind")["parent_id"], kept.one("response")["id"]);
    }

    /// `TRACESTITCH_ERRORS=always`.
    #[tokio::test]
    async fn unsampled_response_is_judged_when_its_body_ends() {
        let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
        let fine = || vec![Ok("one"), Ok("two")];
        let failing = || vec![Ok("one"), Err(std::io::Error::other("no stock")), Ok("two")];
        for (parts, read, expected, reason) in [
            (fine(), 3, &[][..], "a success"),
            (
                failing(),
                4,
                &["response", "order-worker"][..],
                "a failed part",
            ),
            (
                fine(),
                1,
                &["response", "order-worker"][..],
                "dropped half-way",
            ),
            (fine(), 0, &["response", "order-worker"][..], "never read"),
        ] {
            let kept = Kept::default();
            let mut tracer = kept.tracer();
            tracer.errors_always = true;
            let trace = Trace::new(std::sync::Arc::new(tracer), header.parse().ok(), "r-1");
            let parts = stream::iter(parts);
            let handler = async { HandlerResponse::of(StreamResponse::from(parts)) };
            let response = crate::tests::kept::invoke_in(trace, handler).await;
            assert!(kept.closed().is_empty(), "{reason}: not judged yet");
            let FunctionResponse::StreamingResponse(response) =
                IntoFunctionResponse::<(), _>::into_response(response)
            else {
                panic!("it was a stream")
            };
            let mut stream = response.stream;
            for _ in 0..read {
                stream.next().await;
            }
            drop(stream);
            let (sent, open) = kept.extension();
            assert_eq!(sent, expected, "{reason}");
            assert!(open.is_empty(), "{reason}: {open:?}");
        }
    }

    #[tokio::test]
    async fn unsampled_response_that_is_no_stream_is_judged_at_once() {
        let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
        for failed in [false, true] {
            let kept = Kept::default();
            let mut tracer = kept.tracer();
            tracer.errors_always = true;
            let trace = Trace::new(std::sync::Arc::new(tracer), header.parse().ok(), "r-1");
            let handler = async {
                if failed {
                    crate::record_error(&std::fmt::Error);
                }
                HandlerResponse::of("fine")
            };
            drop(crate::tests::kept::invoke_in(trace, handler).await);
            assert_eq!(kept.closed().len(), usize::from(failed));
            assert!(kept.extension().1.is_empty());
        }
    }

    #[tokio::test]
    async fn unsampled_stream_passes_the_trace_on() {
        let kept = Kept::default();
        let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
        let parts = stream::poll_fn(|_| {
            let header = Context::current().trace_header().unwrap().to_string();
            assert!(header.ends_with("Sampled=0"), "{header}");
            Poll::Ready(None)
        });
        assert!(streamed(&kept, &header, parts).await.next().await.is_none());
        assert!(kept.closed().is_empty());
    }
}
