//! The last panic of each thread, for the causes of faults.

use std::any::Any;
use std::cell::RefCell;

use tracestitch_wire::document::{Cause, Exception, StackFrame, clean_message};

use super::backtrace::put_stack;

/// A panic as the hook received it.
struct Seen {
    message: String,
    stack: Vec<StackFrame>,
}

thread_local! {
    /// Kept until the next panic: each subsegment that this one unwinds through needs it.
    static LAST: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Keeps the panic that unwinds with `payload`. Must not panic: that would end the process.
pub(crate) fn remember(payload: &(dyn Any + Send), stack: Vec<StackFrame>) {
    let message = message(payload);
    put(Some(Seen { message, stack }));
}

/// Forgets the panic before this one, which is not recorded. Must not panic, either.
pub(crate) fn forget() {
    put(None);
}

fn put(seen: Option<Seen>) {
    // The storage of an ending thread is gone.
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = seen;
        }
    });
}

/// Returns the panic that unwinds with `payload`, as the cause of a fault.
pub(crate) fn cause(payload: &(dyn Any + Send)) -> Cause {
    let message = message(payload);
    // `resume_unwind` runs no hook: the last panic seen may be another one.
    let stack = LAST.try_with(|last| {
        let last = last.try_borrow().ok()?;
        let seen = last.as_ref().filter(|seen| seen.message == message)?;
        Some(seen.stack.clone())
    });
    exception(&message, stack.ok().flatten())
}

/// Returns the panic that unwinds this thread now, if any.
pub(crate) fn unwinding() -> Option<Cause> {
    if !std::thread::panicking() {
        return None;
    }
    let seen = LAST.try_with(|last| {
        let last = last.try_borrow().ok()?;
        let seen = last.as_ref()?;
        Some(exception(&seen.message, Some(seen.stack.clone())))
    });
    let unseen = || exception("a panic unwound the stack", None);
    Some(seen.ok().flatten().unwrap_or_else(unseen))
}

fn exception(message: &str, stack: Option<Vec<StackFrame>>) -> Cause {
    // `unwrap` puts whole errors into its message, and HTTP clients whole URLs into theirs.
    let mut exception = Exception::new("panic", clean_message(message).into_owned());
    put_stack(&mut exception, stack.unwrap_or_default());
    Cause::from_exception(exception)
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic whose payload is not text")
        .to_owned()
}
