//! The two services of a layer: the inner one sees the handler's error, the outer one the raw event
//! and the end of the invocation.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::task;

use lambda_runtime::{Context as LambdaContext, Diagnostic, LambdaEvent, LambdaInvocation};
use tower::{Layer, Service};

use super::{
    invocation::{Invocation, InvocationFuture},
    settings::TraceLayer,
};
use crate::trace::{
    capture::Recorded, context::Context, failure, subsegment::Subsegment, tracer::Tracer,
};

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TraceService {
            inner,
            tracer: self.tracer(),
        }
    }
}

/// A service under a [`TraceLayer`]: a handler, or the services of a runtime.
#[derive(Debug, Clone)]
pub struct TraceService<S> {
    inner: S,
    tracer: Option<Arc<Tracer>>,
}

/// Records the invocation, around the services of a runtime.
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
            // Consumers of messages need the deadline without tracing, too.
            let context = Context::bound().within(&request.context);
            return context.sync_scope(|| InvocationFuture::part(self.inner.call(request)));
        };
        let invocation = Invocation::begin(tracer, &request.context, Some(&request.body));
        let context = invocation.context().clone();
        let work = context.sync_scope(|| self.inner.call(request));
        invocation.run(work)
    }
}

/// Records a handler's outcome on its subsegment.
type Judge<R, E> = fn(Result<R, E>, &Subsegment) -> Result<R, Diagnostic>;

/// Records the subsegment of a handler. Errors become [`Diagnostic`]s, as in `lambda_runtime`.
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
        let bound = Context::bound();
        // Without the outer service, this one is the whole invocation. The code that runs the
        // runtime may be in another context, such as a span of the init phase.
        let tracer = self.tracer.as_ref();
        let alone = tracer.filter(|tracer| !is_under_way(&bound, tracer, &event.context));
        let invocation = alone.map(|tracer| Invocation::begin(tracer, &event.context, None));
        let around = invocation
            .as_ref()
            .map_or(bound, |invocation| invocation.context().clone())
            .within(&event.context);
        let subsegment = around.trace().and_then(Subsegment::begin_handler);
        let subsegment = subsegment.unwrap_or_else(|| Subsegment::unrecorded(around.clone()));
        let context = subsegment.context();
        around.put_around(&context);
        let work = context.clone().sync_scope(|| self.inner.call(event));
        let recorded = Recorded::new(context, subsegment, work, judge as Judge<_, _>);
        match invocation {
            Some(invocation) => invocation.run(recorded),
            None => InvocationFuture::part(recorded),
        }
    }
}

/// Returns true if `bound` is in the invocation of `context`, begun by the outer service.
fn is_under_way(bound: &Context, tracer: &Arc<Tracer>, context: &LambdaContext) -> bool {
    bound.trace().is_some_and(|trace| {
        Arc::ptr_eq(&trace.tracer, tracer) && *trace.request_id == *context.request_id
    })
}

fn judge<R, E>(outcome: Result<R, E>, subsegment: &Subsegment) -> Result<R, Diagnostic>
where
    E: Into<Diagnostic> + 'static,
{
    outcome.map_err(|error| {
        if !subsegment.is_recording() {
            return error.into();
        }
        let (cause, diagnostic) = failure::of_handler(error);
        subsegment.fail_with(|| cause);
        diagnostic
    })
}

#[cfg(test)]
mod tests;
