//! The two services around a handler: one sees its error, the other the raw event and the end.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::task;

use lambda_runtime::{Diagnostic, LambdaEvent, LambdaInvocation};
use tower::{Layer, Service};

use super::{
    invocation::{self, Invocation, InvocationFuture},
    settings::TraceLayer,
};
use crate::trace::{
    capture::Recorded,
    context::{Context, Inner},
    failure,
    subsegment::Subsegment,
    tracer::Tracer,
};

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TraceService {
            inner,
            tracer: self.tracer.clone(),
        }
    }
}

/// A service that [`TraceLayer`] wrapped: a handler, or the services of a runtime.
#[derive(Debug, Clone)]
pub struct TraceService<S> {
    inner: S,
    tracer: Option<Arc<Tracer>>,
}

/// Around the runtime's services: the invocation.
impl<S> Service<LambdaInvocation> for TraceService<S>
where
    S: Service<LambdaInvocation>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = InvocationFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: LambdaInvocation) -> Self::Future {
        let Some(tracer) = &self.tracer else {
            return InvocationFuture::part(self.inner.call(request));
        };
        let invocation = Invocation::begin(tracer, &request.context, Some(&request.body));
        let context = invocation.context().clone();
        let work = context.sync_scope(|| self.inner.call(request));
        invocation.run(work)
    }
}

/// How a handler's outcome is put on its subsegment.
type Judge<R, E> = fn(Result<R, E>, &Subsegment) -> Result<R, Diagnostic>;

/// Around the handler: its subsegment. Errors become [`Diagnostic`]s, as `lambda_runtime` would
/// turn them into.
impl<S, A> Service<LambdaEvent<A>> for TraceService<S>
where
    S: Service<LambdaEvent<A>>,
    S::Error: Into<Diagnostic> + Debug + 'static,
{
    type Response = S::Response;
    type Error = Diagnostic;
    type Future = InvocationFuture<Pin<Box<Recorded<S::Future, Judge<S::Response, S::Error>>>>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<(), Diagnostic>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, event: LambdaEvent<A>) -> Self::Future {
        let outer = Context::bound();
        // Without the outer service, this one is the whole invocation.
        let invocation = match (&outer.0, &self.tracer) {
            (Inner::Outside, Some(tracer)) => Some(Invocation::begin(tracer, &event.context, None)),
            _ => None,
        };
        let around = invocation.as_ref().map_or(&outer, Invocation::context);
        let trace = around.trace();
        let subsegment = trace
            .and_then(invocation::begin_handler)
            .unwrap_or_default();
        let context = if subsegment.is_recording() {
            let handler = subsegment.context();
            around.put_around(&handler);
            handler
        } else {
            around.clone()
        };
        let work = context.clone().sync_scope(|| self.inner.call(event));
        let recorded = Recorded::new(context, subsegment, work, judge as Judge<_, _>);
        match invocation {
            Some(invocation) => invocation.run(recorded),
            None => InvocationFuture::part(recorded),
        }
    }
}

fn judge<R, E>(outcome: Result<R, E>, subsegment: &Subsegment) -> Result<R, Diagnostic>
where
    E: Into<Diagnostic> + 'static,
{
    outcome.map_err(|error| {
        let (cause, diagnostic) = failure::of_handler(error);
        subsegment.amend(|document| document.fail(cause));
        diagnostic
    })
}

#[cfg(test)]
mod tests;
