//! Signals and kills that strike processes at the chosen moments.

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

/// Sends `signal` to a process, which may have ended already.
fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("process ids are positive");
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Waits until the extension sleeps. It has then released the documents that it has sent.
pub(crate) async fn extension_sleeps(environment: &Environment) {
    for pid in environment.extension_pids() {
        let sleeps = || is_in_state(pid, 'S').then_some(());
        wait::until("the extension to sleep", sleeps).await;
    }
}

/// Stops the extension and waits until it is stopped.
pub(crate) async fn stop_extension(environment: &Environment) {
    for pid in environment.extension_pids() {
        send(pid, Signal::SIGSTOP);
        wait::until("the extension to stop", || {
            is_in_state(pid, 'T').then_some(())
        })
        .await;
    }
}

/// Continues the extension, which must still be stopped.
pub(crate) fn continue_extension(environment: &Environment) {
    for pid in environment.extension_pids() {
        assert!(is_in_state(pid, 'T'), "it was continued already");
        send(pid, Signal::SIGCONT);
    }
}

/// Returns true if all threads of a process are in this state: `S` is asleep, `T` is stopped
/// (`/proc/pid/task/tid/stat`, proc(5)).
fn is_in_state(pid: u32, state: char) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the extension runs");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(state))
    })
}

/// Returns a strike that kills the function.
pub(crate) fn kill_function(environment: &Arc<Environment>) -> impl FnOnce() + Send + use<> {
    let environment = Arc::clone(environment);
    move || {
        if let Some(pid) = environment.function_pid() {
            send(pid, Signal::SIGKILL);
        }
    }
}

/// Returns a strike that kills the extension and, if `at_once`, restarts it.
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

/// Returns a strike that stops function, extension or both for up to `longest` and continues them
/// in any order.
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
