//! What is done to processes at the moments that are chosen.

use std::sync::Arc;
use std::time::Duration;

use e2e::journal::{Pen, Verb};
use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Handle;
use tracestitch_local::emulator::Environment;

/// Sends `signal` to a process, which may have ended by itself a moment ago.
fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("process ids are positive");
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Sends `signal` to the extension.
pub(crate) fn signal_extension(environment: &Environment, signal: Signal) {
    for pid in environment.extension_pids() {
        send(pid, signal);
    }
}

/// Kills the function.
pub(crate) fn kill_function(environment: &Arc<Environment>) -> impl FnOnce() + Send + use<> {
    let environment = Arc::clone(environment);
    move || {
        if let Some(pid) = environment.function_pid() {
            send(pid, Signal::SIGKILL);
        }
    }
}

/// Kills the extension, and starts it anew if that is wanted `at_once`.
pub(crate) fn kill_extension(
    environment: &Arc<Environment>,
    pen: Pen,
    at_once: bool,
) -> impl FnOnce() + Send + use<> {
    let (environment, runtime) = (Arc::clone(environment), Handle::current());
    move || {
        runtime.block_on(async {
            environment.kill_extensions().await;
            pen.note(Verb::Gone, 0, "", "");
            if at_once {
                environment.start_extensions().await;
            }
        });
    }
}

/// Stops function, extension or both, for up to `longest`, and lets them go on in any order.
pub(crate) fn freeze(
    environment: &Arc<Environment>,
    random: &mut Rng,
    longest: Duration,
) -> impl FnOnce() + Send + use<> {
    let environment = Arc::clone(environment);
    let (who, swap) = (random.u8(..3), random.bool());
    let between = Duration::from_micros(random.u64(..1_000));
    let long = longest.mul_f64(random.f64());
    move || {
        let function = environment.function_pid().filter(|_| who != 1);
        let extensions = environment.extension_pids().into_iter();
        let mut pids: Vec<_> = function
            .into_iter()
            .chain(extensions.filter(|_| who != 0))
            .collect();
        for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
            for pid in &pids {
                send(*pid, signal);
                std::thread::sleep(between);
            }
            std::thread::sleep(long);
            if swap {
                pids.reverse();
            }
        }
    }
}
