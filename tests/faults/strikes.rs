//! What is done to processes at the moments that are chosen.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use e2e::journal::{Pen, Verb};
use e2e::wait;
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

/// Stops the extension; it is stopped when this returns.
pub(crate) async fn stop_extension(environment: &Environment) {
    for pid in environment.extension_pids() {
        send(pid, Signal::SIGSTOP);
        wait::until("the extension stops", || is_stopped(pid).then_some(())).await;
    }
}

/// Lets the extension go on, which nobody else has done until now.
pub(crate) fn continue_extension(environment: &Environment) {
    for pid in environment.extension_pids() {
        assert!(is_stopped(pid), "somebody else let it go on");
        send(pid, Signal::SIGCONT);
    }
}

/// Whether all threads of a process are stopped (`/proc/pid/task/tid/stat`, proc(5)).
fn is_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the extension runs");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    })
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
