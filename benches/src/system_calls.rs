//! Counts the system calls of a child's main thread, on which the handler runs, by ptrace(2).
//!
//! callgrind does not count what a function does: it hides the vDSO, so that each reading of a clock
//! becomes a system call.

use std::io::Read;
use std::process::Child;

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::child::READY;

/// Starts the child's work and returns the number of system calls until it ends.
///
/// # Panics
/// When the kernel forbids ptrace, or when the child fails.
pub(crate) fn count(mut child: Child) -> u64 {
    // Calls of the loader would be counted or not, by chance.
    let output = child.stdout.as_mut().expect("standard output is a pipe");
    (output.read_exact(&mut [0; READY.len()])).expect("the child starts");
    let pid = Pid::from_raw(child.id().try_into().expect("an id of a process"));
    let traced =
        ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD).and_then(|()| ptrace::interrupt(pid));
    traced.unwrap_or_else(|error| panic!("system calls are not counted: ptrace: {error}"));
    drop(child.stdin.take());
    let mut stops = 0;
    loop {
        let signal = match waitpid(pid, None) {
            Ok(WaitStatus::PtraceSyscall(_)) => {
                stops += 1;
                None
            }
            Ok(WaitStatus::PtraceEvent(..)) => None,
            Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
            // The process stops when a call begins and when it ends.
            Ok(WaitStatus::Exited(_, 0)) => return stops / 2,
            other => panic!("the child failed: {other:?}"),
        };
        ptrace::syscall(pid, signal).expect("the child waits to continue");
    }
}
