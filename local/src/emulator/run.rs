//! The course of one invocation through an environment.

use std::{sync::Arc, time::SystemTime};

use serde_json::{Value, json};
use tokio::{
    select,
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    failure::Failure,
    function::Function,
    invocation::{InvocationResult, Invoke, Outcome, StreamedResponse},
    logs::{Logs, Stream},
    sandbox::{End, Init, Sandbox, epoch_ms},
    state::{Answer, Job, State},
    trace::{Times, Trace},
};

#[derive(Debug)]
pub(super) struct Run {
    function: Arc<Function>,
    logs: Arc<Logs>,
    invoke: Invoke,
    trace: Trace,
    times: Times,
    reply: Reply,
}

/// The receivers of the results of an invocation.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) outcome: oneshot::Sender<Outcome>,
    /// For a streamed response, when it begins.
    pub(super) stream: Option<oneshot::Sender<StreamedResponse>>,
}

/// The first of the events that end an invocation.
enum Ending {
    Answered(Answer),
    Failed(Failure),
    TimedOut,
}

impl Run {
    pub(super) fn new(
        function: &Arc<Function>,
        logs: &Arc<Logs>,
        invoke: Invoke,
        reply: Reply,
    ) -> Self {
        let trace = Trace::begin(function, invoke.trace_header.clone());
        let times = Times::from(SystemTime::now());
        Self {
            function: Arc::clone(function),
            logs: Arc::clone(logs),
            invoke,
            trace,
            times,
            reply,
        }
    }

    /// Ends the invocation before the function got it.
    pub(super) async fn fail(mut self, failure: Failure, init: Option<Init>) {
        let ended = init.map_or(self.times.received, |init| init.began + init.took);
        self.times.init = init;
        self.times.answered = ended;
        self.finish(failure.into(), None).send(ended).await;
    }

    /// Runs the invocation. Returns when the environment is ready for the next one, or has ended.
    pub(super) async fn serve(mut self, sandbox: &Sandbox, init: Option<Init>) {
        if self.function.freeze {
            sandbox.thaw();
        }
        let deadline = Instant::now() + self.function.timeout;
        let dispatched = SystemTime::now();
        self.times.init = init;
        self.times.dispatched = Some(dispatched);
        let job = self.job(dispatched);
        let event = self.event(&job);
        let answer = sandbox
            .board
            .dispatch(job, &event, self.reply.stream.take());
        let ending = select! {
            // An answer counts even if the function ended right after it.
            biased;
            Ok(answer) = answer => Ending::Answered(answer),
            failure = sandbox.board.failure() => Ending::Failed(failure),
            () = sleep_until(deadline) => Ending::TimedOut,
        };
        let answered = SystemTime::now();
        self.times.answered = answered;
        match ending {
            Ending::Answered(answer) => {
                let managed = self.function.is_managed();
                let freeze = self.function.freeze;
                let (result, cause) = result_and_cause(answer);
                let recording = self.finish(result, cause);
                if !managed {
                    wind_down(sandbox, deadline, freeze).await;
                }
                recording.send(SystemTime::now()).await;
            }
            Ending::Failed(failure) => {
                sandbox.end(End::Failure).await;
                self.finish(failure.into(), None).send(answered).await;
            }
            Ending::TimedOut => {
                if self.function.is_managed() {
                    sandbox.board.expire(&self.invoke.request_id);
                } else {
                    sandbox.end(End::Timeout).await;
                }
                let after = self.function.timeout;
                self.finish(InvocationResult::TimedOut { after }, None)
                    .send(answered)
                    .await;
            }
        }
    }

    fn job(&self, dispatched: SystemTime) -> Job {
        Job {
            request_id: self.invoke.request_id.clone(),
            payload: self.invoke.payload.clone(),
            deadline_ms: epoch_ms(dispatched + self.function.timeout),
            arn: self.function.arn(),
            trace_header: self.trace.for_runtime.clone(),
        }
    }

    /// The INVOKE event for extensions.
    fn event(&self, job: &Job) -> Value {
        let mut event = json!({
            "eventType": "INVOKE",
            "deadlineMs": job.deadline_ms,
            "requestId": job.request_id,
            "invokedFunctionArn": job.arn,
        });
        if let Some(header) = &self.trace.for_extensions {
            event["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": header });
        }
        event
    }

    /// Sends the outcome to the caller. The trace is still to be recorded.
    fn finish(self, result: InvocationResult, cause: Option<Value>) -> Recording {
        let Self {
            function,
            logs,
            invoke,
            trace,
            times,
            reply,
        } = self;
        let request_id = invoke.request_id;
        // The caller may have dropped the receiver.
        let _ = reply.outcome.send(Outcome {
            request_id: request_id.clone(),
            result: result.clone(),
            trace_header: trace.for_runtime.clone(),
            init: times.init.map(|init| init.took),
            started: times.dispatched.unwrap_or(times.received),
            ended: times.answered,
        });
        Recording {
            function,
            logs,
            request_id,
            trace,
            times,
            result,
            cause,
        }
    }
}

/// Waits until the runtime and the extensions ask for the next event, at most until the deadline.
async fn wind_down(sandbox: &Sandbox, deadline: Instant, freeze: bool) {
    let over = |state: &State| match state.failure() {
        Some(_) => Some(Err(End::Failure)),
        None => state.is_idle().then_some(Ok(())),
    };
    match timeout_at(deadline, sandbox.board.until(over))
        .await
        .unwrap_or(Err(End::Timeout))
    {
        Ok(()) if freeze => sandbox.freeze(),
        Ok(()) => {}
        Err(end) => sandbox.end(end).await,
    }
}

/// An invocation with a result, whose trace is still to be recorded.
struct Recording {
    function: Arc<Function>,
    logs: Arc<Logs>,
    request_id: String,
    trace: Trace,
    times: Times,
    result: InvocationResult,
    cause: Option<Value>,
}

impl Recording {
    async fn send(mut self, ended: SystemTime) {
        self.times.ended = ended;
        let Self {
            function,
            logs,
            request_id,
            trace,
            times,
            result,
            cause,
        } = self;
        let sent = trace
            .record(&function, &request_id, times, &result, cause.as_ref())
            .await;
        if let Err(error) = sent {
            let text = format!("Lambda's segments of {request_id} could not be sent: {error}");
            logs.push("emulator", Stream::Stderr, text);
        }
    }
}

fn result_and_cause(answer: Answer) -> (InvocationResult, Option<Value>) {
    match answer {
        Answer::Response(payload) => (InvocationResult::Response(payload), None),
        Answer::Error {
            payload,
            error_type,
            cause,
        } => (
            InvocationResult::FunctionError {
                payload,
                error_type,
            },
            cause,
        ),
    }
}
