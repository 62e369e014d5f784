//! The loop: the only owner of clock, sockets and tasks.

use std::error::Error;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use lambda_extension::{InvokeEvent, NextEvent};
use tokio::time::{Sleep, sleep, timeout};
use tracestitch_wire::handoff::Message;
use tracestitch_wire::time::Timestamp;

use crate::api::Api;
use crate::connections::{Connections, News};
use crate::flush::Flush;
use crate::interrupted::Interruption;
use crate::lifecycle::{Action, Input, Lifecycle};
use crate::pending::Pending;
use crate::report::Counts;
use crate::socket::Socket;
use crate::{Config, Level, Log};

/// How long a connection that has just been opened may take to say hello before an invocation
/// goes on without it. The function says it right after connecting.
const HELLO: Duration = Duration::from_millis(5);

/// A pause between two events after which the way to the daemon may be another one: the
/// environment was frozen, or goes on from a snapshot on another machine.
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// Why the extension cannot work at all.
#[derive(Debug)]
pub struct RunError;

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "AWS_LAMBDA_RUNTIME_API does not say where the runtime API is, expected host:port: \
             this program runs as an extension of AWS Lambda, and with --check says what it sees",
        )
    }
}

impl Error for RunError {}

/// Serves the function until Lambda ends the environment.
///
/// The socket is bound before Lambda is told that the extension is there, because Lambda then
/// starts the function. Whatever fails on the way is logged and counted; it does not end the
/// extension, since that would end the function too.
///
/// # Errors
///
/// When there is no runtime API to register with.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time.
pub async fn run(mut config: Config) -> Result<(), RunError> {
    let log = config.log();
    let runtime_api = config.runtime_api.take();
    for warning in &config.warnings {
        log.warn(warning);
    }
    let runtime_api = runtime_api.ok_or(RunError)?;
    let socket = config.enabled.then(|| bind(&config, log)).flatten();
    let invocations = config.enabled && !config.managed_instances;
    let api = Api::register(runtime_api, &config.name, invocations, log).await;
    let extension = Extension {
        lifecycle: Lifecycle::new(!api.has_invocations(), Pending::default()),
        connections: Connections::new(socket, log),
        flush: Flush::new(config.daemon, log),
        actions: Vec::new(),
        last_event: SystemTime::now(),
        reported: Counts::default(),
        log,
    };
    extension.serve(&api).await.report(log);
    Ok(())
}

fn bind(config: &Config, log: Log) -> Option<Socket> {
    Socket::bind(&config.socket)
        .inspect_err(|error| {
            log.warn(format_args!(
                "no socket for the function: {error}; \
                 its documents go to the daemon directly (TRACESTITCH_SOCKET)"
            ));
        })
        .ok()
}

#[derive(Debug)]
struct Extension {
    lifecycle: Lifecycle,
    connections: Connections,
    flush: Flush,
    actions: Vec<Action>,
    last_event: SystemTime,
    /// What the lines about single invocations have told.
    reported: Counts,
    log: Log,
}

impl Extension {
    async fn serve(mut self, api: &Api) -> Counts {
        let mut next = None;
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        self.handle(Input::Registered);
        loop {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Send(documents) => self.flush.send(documents).await,
                    Action::AskNext => {
                        self.report_invocation();
                        next = Some(Box::pin(api.next()));
                    }
                    Action::SetTimer(at) => timer = Some(Box::pin(sleep(until(at)))),
                    Action::ClearTimer => timer = None,
                    Action::Exit => return self.counts(),
                }
            }
            tokio::select! {
                biased;
                event = ready(&mut next) => {
                    next = None;
                    let input = event.into();
                    self.log.debug(format_args!("event {input:?}"));
                    self.look_at_the_clock();
                    self.listen().await;
                    self.handle(input);
                }
                () = ready(&mut timer) => {
                    timer = None;
                    self.sweep();
                    self.handle(Input::Timer);
                }
                () = self.connections.readable() => self.sweep(),
            }
        }
    }

    /// Takes in what the function has said, also on connections that it has just opened.
    async fn listen(&mut self) {
        self.sweep();
        if self.connections.expects_hello() {
            // Running out of time only means that nothing was said.
            let _ = timeout(HELLO, self.connections.readable()).await;
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let now = SystemTime::now().into();
        let (lifecycle, flush, actions) = (&mut self.lifecycle, &mut self.flush, &mut self.actions);
        self.connections.sweep(&mut |session, news| {
            if let News::Message(Message::Hello(hello)) = &news
                && let Some(daemon) = &hello.daemon
            {
                flush.function_says(daemon);
            }
            let input = match news {
                News::Message(message) => Input::Said { session, message },
                News::Gone => Input::Gone { session },
            };
            lifecycle.handle(now, input, actions);
        });
    }

    fn handle(&mut self, input: Input<'_>) {
        self.lifecycle
            .handle(SystemTime::now().into(), input, &mut self.actions);
    }

    /// The wall clock: the other one may stand still while the environment is frozen.
    fn look_at_the_clock(&mut self) {
        let now = SystemTime::now();
        if is_long_pause(self.last_event, now) {
            self.flush.reconnect();
        }
        self.last_event = now;
    }

    fn report_invocation(&mut self) {
        if self.log.writes(Level::Debug) {
            let counts = self.counts();
            let new = counts.clone().since(&self.reported);
            new.report_invocation(self.log);
            self.reported = counts;
        }
    }

    fn counts(&self) -> Counts {
        let flushed = self.flush.counts().clone();
        flushed
            .and(self.lifecycle.counts())
            .and(self.connections.counts())
    }
}

impl From<NextEvent> for Input<'_> {
    fn from(event: NextEvent) -> Self {
        match event {
            NextEvent::Invoke(InvokeEvent {
                request_id,
                deadline_ms,
                ..
            }) => Self::Invoke {
                request_id,
                deadline_ms,
            },
            NextEvent::Shutdown(event) => {
                Self::Shutdown(Interruption::from_shutdown_reason(&event.shutdown_reason))
            }
        }
    }
}

/// A clock that was set back tells nothing about the pause: it may have been a long one.
fn is_long_pause(from: SystemTime, to: SystemTime) -> bool {
    to.duration_since(from)
        .map_or(true, |pause| pause >= LONG_PAUSE)
}

/// Waits for what may not be there; then forever.
async fn ready<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

fn until(at: Timestamp) -> Duration {
    let now = Timestamp::from(SystemTime::now());
    Duration::from_micros(at.as_micros().saturating_sub(now.as_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pauses() {
        let (start, second) = (SystemTime::now(), Duration::from_secs(1));
        for (to, expected, reason) in [
            (start, false, "at once"),
            (start + 59 * second, false, "one invocation a minute"),
            (start + LONG_PAUSE, true, "frozen"),
            (start + 7200 * second, true, "hours forward"),
            (start - second, true, "set back"),
        ] {
            assert_eq!(is_long_pause(start, to), expected, "{reason}");
        }
    }
}
