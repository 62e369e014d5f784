//! Runs code of the user that only tracing calls: it formats, serialises or redacts a value.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracestitch_wire::document::{Cause, Exception};

thread_local! {
    static MUTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs user code whose work is not recorded, on this thread.
pub(crate) fn muted<T>(work: impl FnOnce() -> T) -> T {
    // Restores the flag, also during unwinding.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            set_muted(self.0);
        }
    }
    let _before = Before(set_muted(true));
    work()
}

/// Returns true while this thread runs code whose work is not recorded.
pub(crate) fn is_muted() -> bool {
    // The storage of an ending thread is gone.
    MUTED.try_with(Cell::get).unwrap_or_default()
}

fn set_muted(muted: bool) -> bool {
    MUTED
        .try_with(|before| before.replace(muted))
        .unwrap_or_default()
}

/// Runs user code (`Debug`, `Display`, `Serialize`) and returns `None` if it panics, so that
/// tracing never fails the handler.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Returns the cause that `cause` makes of a user's error, whose code formats its message.
pub(crate) fn cause_of(cause: impl FnOnce() -> Cause) -> Cause {
    contained(cause).unwrap_or_else(|| {
        let message = "an error that panicked while its message was written";
        Cause::from_exception(Exception::new("error", message))
    })
}

/// Returns the text of a field of `tracing`, at least its first `most` bytes. The rest is not even
/// written.
#[cfg(feature = "tracing")]
pub(crate) fn shown(value: &dyn std::fmt::Debug, most: usize) -> String {
    let write = || {
        let mut shown = Shown {
            text: String::new(),
            most,
        };
        // Fails when there is enough, or the value says so; what it wrote before that stays.
        let _ = std::fmt::write(&mut shown, format_args!("{value:?}"));
        shown.text
    };
    contained(write).unwrap_or_else(|| "a value that panicked while it was shown".to_owned())
}

#[cfg(feature = "tracing")]
struct Shown {
    text: String,
    most: usize,
}

#[cfg(feature = "tracing")]
impl std::fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.most.saturating_sub(self.text.len());
        let end = text.ceil_char_boundary(room);
        self.text.push_str(&text[..end]);
        if self.text.len() < self.most {
            Ok(())
        } else {
            Err(std::fmt::Error)
        }
    }
}
