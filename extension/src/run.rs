//! Runs the extension: the only owner of sockets and timers.

use std::error::Error;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use lambda_extension::NextEvent;
use tokio::time::{Sleep, sleep};
use tracestitch_wire::delivery::{Counters, Loss};
use tracestitch_wire::time::Timestamp;

use crate::api::Api;
use crate::clock;
use crate::config::Config;
use crate::connections::{Connections, SessionEvent};
use crate::flush::Flush;
use crate::interrupted::Interruption;
use crate::lifecycle::{Action, Input, Lifecycle};
use crate::log::{Level, Log, Warnings};
use crate::pending::Pending;
use crate::report::Counts;
use crate::socket::Socket;

/// A pause between two events after which the daemon may have another address: the environment
/// was frozen, or was resumed from a snapshot on another machine.
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// Why the extension cannot work at all.
#[derive(Debug)]
pub struct RunError(Reason);

#[derive(Debug)]
enum Reason {
    NoRuntimeApi,
    Orphaned,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::NoRuntimeApi => {
                "AWS_LAMBDA_RUNTIME_API is not the address of a runtime API, expected host:port: \
                 this program runs as an extension of AWS Lambda; --check shows its environment"
            }
            Reason::Orphaned => {
                "no runtime API answers, and the process that started this extension has ended"
            }
        })
    }
}

impl Error for RunError {}

/// Serves the function until Lambda ends the environment.
///
/// The socket is bound before the extension registers, because Lambda starts the function after
/// that. Failures on the way are logged and counted. They do not end the extension, since that
/// would end the function, too.
///
/// # Errors
///
/// Returns an error if there is no runtime API to register with.
///
/// # Panics
///
/// Panics outside of a tokio runtime with I/O and time.
pub async fn run(mut config: Config) -> Result<(), RunError> {
    let log = config.log();
    let runtime_api = config.runtime_api.take();
    for warning in &config.warnings {
        log.warn(warning);
    }
    let runtime_api = runtime_api.ok_or(RunError(Reason::NoRuntimeApi))?;
    let enabled = config.shared.enabled;
    let socket = enabled.then(|| bind(&config, log)).flatten();
    let invocations = enabled && !config.managed_instances;
    let api = Api::register(runtime_api, &config.name, invocations, log)
        .await
        .ok_or(RunError(Reason::Orphaned))?;
    let extension = Extension {
        api: &api,
        next: None,
        timer: None,
        is_over: false,
        lifecycle: Lifecycle::new(!api.has_invocations(), Pending::default()),
        connections: Connections::new(socket, log),
        flush: Flush::new(config.shared.daemon, log),
        actions: Vec::new(),
        last_event: clock::wall(),
        reported: Counts::default(),
        warnings: Warnings::new(log),
        log,
    };
    extension.serve().await.report(log);
    Ok(())
}

fn bind(config: &Config, log: Log) -> Option<Socket> {
    Socket::bind(&config.shared.socket)
        .inspect_err(|error| {
            log.warn(format_args!(
                "no socket for the function: {error}; \
                 its documents go to the daemon directly (TRACESTITCH_SOCKET)"
            ));
        })
        .ok()
}

struct Extension<'a> {
    api: &'a Api,
    /// The question for the next event, while it is open.
    next: Option<Pin<Box<dyn Future<Output = NextEvent> + 'a>>>,
    timer: Option<Pin<Box<Sleep>>>,
    is_over: bool,
    lifecycle: Lifecycle,
    connections: Connections,
    flush: Flush,
    actions: Vec<Action>,
    last_event: SystemTime,
    /// Counters of the invocations that were reported one by one.
    reported: Counts,
    warnings: Warnings,
    log: Log,
}

impl Extension<'_> {
    async fn serve(mut self) -> Counts {
        self.handle(Input::Registered);
        loop {
            self.act().await;
            if self.is_over {
                return self.counts();
            }
            tokio::select! {
                biased;
                event = ready(&mut self.next) => {
                    self.next = None;
                    self.reconnect_after_long_pause();
                    self.sweep().await;
                    let input = self.input(event);
                    self.handle(input);
                }
                () = ready(&mut self.timer) => {
                    self.timer = None;
                    self.sweep().await;
                    self.act().await;
                    // A begin message that was read now has set the deadline's timer.
                    if self.timer.is_none() {
                        self.handle(Input::Timer);
                    }
                }
                () = self.connections.readable() => self.sweep().await,
            }
        }
    }

    /// Reads everything that the function has written. What is read is sent on the way: so little
    /// is kept, and the function has room again.
    async fn sweep(&mut self) {
        self.flush.begin_turn();
        self.connections.receive();
        // The time at which a function is known to have ended: after everything that it wrote, and
        // before the pauses between two steps.
        let now = clock::wall().into();
        while self.step(now) {
            self.act().await;
        }
    }

    /// Returns true if there is more to read, see [`Connections::step`].
    fn step(&mut self, now: Timestamp) -> bool {
        let (lifecycle, actions) = (&mut self.lifecycle, &mut self.actions);
        self.connections.step(&mut |session, event| {
            let input = match event {
                SessionEvent::Message(message) => Input::Message { session, message },
                SessionEvent::Disconnected => Input::Disconnected { session },
            };
            lifecycle.handle(now, input, actions);
        })
    }

    /// Carries out what the machine has decided, then releases in the rings what was sent.
    async fn act(&mut self) {
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Send {
                    daemon,
                    mut documents,
                } => {
                    self.flush.send(daemon, &mut documents).await;
                    self.lifecycle.reuse(documents);
                }
                Action::AskNext => {
                    self.report_invocation();
                    self.next = Some(Box::pin(self.api.next()));
                }
                Action::SetTimer(at) => self.timer = Some(Box::pin(sleep(until(at)))),
                Action::ClearTimer => self.timer = None,
                Action::Exit => self.is_over = true,
            }
        }
        let lifecycle = &self.lifecycle;
        self.connections
            .release(|session| !lifecycle.has_unsent(session));
    }

    fn input(&mut self, event: NextEvent) -> Input<'static> {
        match event {
            NextEvent::Invoke(event) => {
                self.log
                    .debug(format_args!("event INVOKE {:?}", event.request_id));
                Input::Invoke {
                    request_id: event.request_id,
                    deadline_ms: event.deadline_ms,
                    newcomers: self.connections.expects_hello(),
                }
            }
            NextEvent::Shutdown(event) => {
                let reason = &event.shutdown_reason;
                self.log.debug(format_args!("event SHUTDOWN {reason:?}"));
                Input::Shutdown(Interruption::from_shutdown_reason(reason))
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.lifecycle
            .handle(clock::wall().into(), input, &mut self.actions);
    }

    /// Reads the wall clock, because the other clock may stop while the environment is frozen.
    fn reconnect_after_long_pause(&mut self) {
        let now = clock::wall();
        if is_long_pause(self.last_event, now) {
            self.flush.reconnect();
        }
        self.last_event = now;
    }

    /// Warns of the first losses for lack of room; at level debug, reports each invocation.
    fn report_invocation(&mut self) {
        let counts = self.counts();
        if counts.unwatched + counts.delivery.lost.of(Loss::NoRoom) > 0 {
            self.warnings.give(
                "too many documents wait: some are lost, or will be if the function dies; \
                 the closing report has the counts",
            );
        }
        if self.log.writes(Level::Debug) {
            counts.since(&self.reported).report_invocation(self.log);
            self.reported = counts;
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = self.lifecycle.counts().and(self.connections.counts());
        counts.delivery = counts.delivery.and(self.flush.counts());
        counts
    }
}

/// Returns true after a pause of at least [`LONG_PAUSE`], and if the clock was set back, when the
/// pause may have been as long.
fn is_long_pause(from: SystemTime, to: SystemTime) -> bool {
    to.duration_since(from)
        .map_or(true, |pause| pause >= LONG_PAUSE)
}

/// Waits for a future; without one, forever.
async fn ready<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

fn until(at: Timestamp) -> Duration {
    let now = Timestamp::from(clock::wall());
    Duration::from_micros(at.as_micros().saturating_sub(now.as_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pauses_are_recognised() {
        let (start, second) = (clock::wall(), Duration::from_secs(1));
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
