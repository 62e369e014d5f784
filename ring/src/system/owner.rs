//! Recognises a forked process.

use std::sync::atomic::Ordering::Relaxed;

use super::mapping::Mapping;

/// Knows whether this is the process that created it, without a system call.
///
/// A forked process shares the ring's memory but has its own lock and positions: its frames
/// would overwrite the frames of the parent. (A process that is started by `exec` has neither the
/// mapping nor the file.)
#[derive(Debug)]
pub(crate) struct Owner(Option<Mapping>);

impl Owner {
    /// Marks this process. Where the system cannot wipe memory in a fork (Linux before 4.14, other
    /// systems), every process counts as this one.
    pub(crate) fn this_process() -> Self {
        #[cfg(target_os = "linux")]
        let mark = Mapping::wiped_on_fork().ok();
        #[cfg(not(target_os = "linux"))]
        let mark = None;
        let owner = Self(mark);
        if let Some(mark) = &owner.0 {
            mark[0].store(1, Relaxed);
        }
        owner
    }

    /// False in a fork of the marked process.
    pub(crate) fn is_this_process(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|mark| mark[0].load(Relaxed) == 1)
    }
}
