//! Runs code of the user that only tracing calls: it formats, serialises or redacts a value.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::LocalKey;

use tracestitch_wire::document::{Cause, Exception};

thread_local! {
    static MUTED: Cell<bool> = const { Cell::new(false) };
    static CONTAINING: Cell<bool> = const { Cell::new(false) };
}

/// Restores a flag of this thread, also during unwinding.
struct Restore {
    flag: &'static LocalKey<Cell<bool>>,
    before: bool,
}

impl Restore {
    /// Sets `flag` until the guard is dropped.
    fn set(flag: &'static LocalKey<Cell<bool>>) -> Self {
        // The storage of an ending thread is gone.
        let before = flag.try_with(|flag| flag.replace(true)).unwrap_or_default();
        Self { flag, before }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = self.flag.try_with(|flag| flag.set(self.before));
    }
}

/// Runs user code whose work is not recorded, on this thread.
pub(crate) fn muted<T>(work: impl FnOnce() -> T) -> T {
    let _restore = Restore::set(&MUTED);
    work()
}

/// Returns true while this thread runs code whose work is not recorded.
pub(crate) fn is_muted() -> bool {
    // The storage of an ending thread is gone.
    MUTED.try_with(Cell::get).unwrap_or_default()
}

/// Runs user code (`Debug`, `Display`, `Serialize`) and returns `None` if it panics, so that
/// tracing never fails the handler. The user's panic hook is not called for such a panic: it may end
/// the process, which without tracing would not have panicked.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    let _restore = Restore::set(&CONTAINING);
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Returns true while this thread runs code whose panics are contained.
pub(crate) fn is_containing() -> bool {
    CONTAINING.try_with(Cell::get).unwrap_or_default()
}

/// Returns the cause that `cause` makes of a user's error, whose code formats its message.
pub(crate) fn cause_of(cause: impl FnOnce() -> Cause) -> Cause {
    contained(cause).unwrap_or_else(|| {
        let message = "an error that panicked while its message was written";
        Cause::from_exception(Exception::new("error", message))
    })
}

/// Returns the text of a field of `tracing`, at least its first `most` bytes. A value that writes
/// much more is stopped: it may have no end.
#[cfg(feature = "tracing")]
pub(crate) fn shown(value: &dyn std::fmt::Debug, most: usize) -> String {
    let mut shown = Shown {
        text: String::new(),
        most,
        ignored: 0,
    };
    // Fails when the value is stopped, or reports it; what it wrote before that stays.
    let written = contained(|| std::fmt::write(&mut shown, format_args!("{value:?}")));
    if written.is_none() && shown.ignored == 0 {
        return "a value that panicked while it was shown".to_owned();
    }
    shown.text
}

/// Bytes beyond the kept ones after which a value is stopped. Shorter values see no failed write:
/// some implementations of `Debug` and `Display` unwrap the result and panic, which ends a process
/// that is built with `panic = "abort"`.
#[cfg(feature = "tracing")]
const PATIENCE: usize = 256 * 1024;

/// A buffer for the beginning of a text.
#[cfg(feature = "tracing")]
struct Shown {
    text: String,
    most: usize,
    /// Bytes that were written and not kept.
    ignored: usize,
}

#[cfg(feature = "tracing")]
impl std::fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.most.saturating_sub(self.text.len());
        let end = text.ceil_char_boundary(room);
        self.text.push_str(&text[..end]);
        self.ignored += text.len() - end;
        if self.ignored <= PATIENCE {
            Ok(())
        } else {
            Err(std::fmt::Error)
        }
    }
}
