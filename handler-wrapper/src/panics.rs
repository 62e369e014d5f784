//! What a panic says: its message, where it happened, and through which functions.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use tracestitch_wire::document::{Cause, Exception, StackFrame, clean_message};

use crate::context::Context;

/// Frames of one stack; the outer ones, which say least, are counted.
const MAX_FRAMES: usize = 32;

/// A panic as the hook saw it.
struct Seen {
    message: String,
    stack: Vec<StackFrame>,
}

thread_local! {
    /// The last panic of this thread. It stays: each subsegment that it unwinds through wants it.
    static LAST: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// What `work` comes to: code of the user's that only tracing runs, to show or serialise a value.
/// None when it panics, which is no reason to fail what is traced.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The text of a field of `tracing`, as far as it is needed: at least `most` bytes, if it has so
/// many. What is behind is not even written.
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

/// The cause that `cause` makes of an error of the user's, which writes its own message.
pub(crate) fn cause_of(cause: impl FnOnce() -> Cause) -> Cause {
    contained(cause).unwrap_or_else(|| {
        let message = "an error that panicked while its message was written";
        Cause::from_exception(Exception::new("error", message))
    })
}

/// Installs the hook, once in the life of the process. The hook before it runs as before.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            see(info);
            previous(info);
        }));
    });
}

/// Resolving a stack takes milliseconds, which only panics that are recorded pay for. Nothing
/// here may panic: that would end the process.
fn see(info: &PanicHookInfo<'_>) {
    if !Context::current().is_recording() {
        // What unwinds now is not the one before.
        let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| last.take()));
        return;
    }
    let Some(location) = info.location() else {
        return;
    };
    let frames = frames(&Backtrace::force_capture());
    let inner = frames
        .iter()
        .position(|frame| is_at(frame, location.file(), location.line()));
    let stack = match inner {
        Some(inner) => frames.into_iter().skip(inner).collect(),
        // Binaries without debug information do not tell; the panic itself always does.
        None => vec![StackFrame {
            path: location.file().to_owned().into(),
            line: location.line(),
            label: "panicked here".into(),
        }],
    };
    let message = message(info.payload());
    // The borrow ends before anything of the user's can run.
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = Some(Seen { message, stack });
        }
    });
}

/// The panic that unwinds with `payload`, as cause of a fault.
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

/// The panic that unwinds this thread now, if one does and was seen.
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

/// Puts as much of `stack` on `exception` as there is room for.
pub(crate) fn put_stack(exception: &mut Exception, mut stack: Vec<StackFrame>) {
    let left_out = stack.len().saturating_sub(MAX_FRAMES);
    exception.truncated = (left_out > 0).then_some(left_out);
    stack.truncate(MAX_FRAMES);
    exception.stack = stack;
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic whose payload is not text")
        .to_owned()
}

fn is_at(frame: &StackFrame, file: &str, line: u32) -> bool {
    let path = frame.path.as_str().trim_start_matches("./");
    frame.line == line && !path.is_empty() && (path.ends_with(file) || file.ends_with(path))
}

/// The frames that have a source line, innermost first. The standard library shows a stack only
/// as text: a line `<n>: <function>`, then one `at <path>:<line>:<column>`.
pub(crate) fn frames(backtrace: &Backtrace) -> Vec<StackFrame> {
    match backtrace.status() {
        BacktraceStatus::Captured => read_frames(&backtrace.to_string()),
        _ => Vec::new(),
    }
}

fn read_frames(text: &str) -> Vec<StackFrame> {
    let mut frames = Vec::new();
    let mut label = "";
    for line in text.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            let mut parts = place.rsplitn(3, ':');
            let (_column, line, path) = (parts.next(), parts.next(), parts.next());
            if let (Some(Ok(line)), Some(path)) = (line.map(str::parse), path) {
                frames.push(StackFrame {
                    path: path.to_owned().into(),
                    line,
                    label: label.to_owned().into(),
                });
            }
        } else if let Some((number, function)) = line.split_once(": ")
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            label = function;
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;
    use crate::testing::{Kept, SAMPLED};

    #[test]
    fn frames_are_read_from_text() {
        let text = "   0: one::two\n             at ./src/a.rs:7:5\n   1: no_debug_info\n   \
                    2: <impl X for Y>::three\n             at /b c.rs:8:1\nnoise at x\n";
        let frames: Vec<_> = read_frames(text)
            .into_iter()
            .map(|frame| (frame.label, frame.path, frame.line))
            .collect();
        assert_eq!(
            frames,
            [
                ("one::two".into(), "./src/a.rs".into(), 7),
                ("<impl X for Y>::three".into(), "/b c.rs".into(), 8),
            ]
        );
    }

    #[test]
    fn a_stack_is_cut_to_its_inner_frames() {
        for (frames, kept, truncated) in [(0, 0, None), (32, 32, None), (35, 32, Some(3))] {
            let frame = |line| StackFrame {
                path: "a.rs".into(),
                line,
                label: "f".into(),
            };
            let mut exception = Exception::new("panic", "");
            put_stack(&mut exception, (0..frames).map(frame).collect());
            assert_eq!(exception.stack.len(), kept, "{frames}");
            assert_eq!(exception.truncated, truncated, "{frames}");
            assert!(exception.stack.first().is_none_or(|frame| frame.line == 0));
        }
    }

    fn priced(items: usize) -> usize {
        if items == 0 {
            panic!("no items in https://a.example/?token=t")
        } else {
            items
        }
    }

    #[tokio::test]
    async fn a_panic_says_what_and_where_on_each_level() {
        install();
        let kept = Kept::default();
        let work = kept.invoke(SAMPLED, async {
            let inner = crate::capture("outer", crate::capture("inner", async { priced(0) }));
            assert!(
                futures_util::FutureExt::catch_unwind(AssertUnwindSafe(inner))
                    .await
                    .is_err()
            );
        });
        work.await;
        for name in ["inner", "outer"] {
            let exception = &kept.one(name)["cause"]["exceptions"][0];
            assert_eq!(exception["type"], "panic");
            assert_eq!(exception["message"], "no items in https://a.example/");
            let stack = exception["stack"].as_array().unwrap();
            assert!(
                stack[0]["path"].as_str().unwrap().ends_with("panics.rs"),
                "{stack:?}"
            );
            let line = stack[0]["line"].as_u64().unwrap() as usize;
            let source = include_str!("panics.rs").lines().nth(line - 1);
            assert!(source.unwrap().contains("panic!(\"no items"), "line {line}");
            assert!(
                stack[0]["label"].as_str().unwrap().contains("priced"),
                "{stack:?}"
            );
            assert!(stack.len() > 1 && stack.len() <= MAX_FRAMES);
        }
    }

    /// An error and value whose own code panics.
    #[derive(Debug)]
    struct Broken;

    impl std::fmt::Display for Broken {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no message")
        }
    }

    impl std::error::Error for Broken {}

    impl serde::Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("no value")
        }
    }

    #[tokio::test]
    async fn what_panics_while_it_is_recorded_harms_nobody() {
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            crate::metadata("broken", Broken);
            let failed = crate::try_capture("pay", async { Err::<(), _>(Broken) }).await;
            assert!(failed.is_err());
            crate::record_error(&Broken);
        })
        .await;
        let handler = kept.one("order-worker");
        let value = &handler["metadata"]["default"]["broken"];
        assert_eq!(value, "a panic while it was serialised");
        for document in [handler, kept.one("pay")] {
            let message = &document["cause"]["exceptions"][0]["message"];
            let expected = "an error that panicked while its message was written";
            assert_eq!(
                (&document["fault"], message),
                (&true.into(), &expected.into())
            );
        }
    }

    #[tokio::test]
    async fn a_guard_that_a_panic_drops_says_which() {
        install();
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            let caught = catch_unwind(|| {
                let _guard = crate::Subsegment::begin("pricing");
                priced(0)
            });
            assert!(caught.is_err());
            let guard = crate::Subsegment::begin("elsewhere");
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _guard = guard;
                Context::default().sync_scope(|| panic!("not recorded there"))
            }));
            assert!(caught.is_err());
        })
        .await;
        let exception = |name| kept.one(name)["cause"]["exceptions"][0].clone();
        let pricing = exception("pricing");
        assert_eq!(pricing["message"], "no items in https://a.example/");
        let label = &pricing["stack"][0]["label"];
        assert!(label.as_str().unwrap().contains("priced"), "{pricing}");
        assert_eq!(
            exception("elsewhere")["message"],
            "a panic unwound the stack"
        );
    }

    #[tokio::test]
    async fn a_panic_without_a_hook_has_no_stack_of_another() {
        install();
        let kept = Kept::default();
        let work = kept.invoke(SAMPLED, async {
            for payload in ["one", "two"] {
                let work = || {
                    if payload == "one" {
                        panic!("one")
                    } else {
                        resume_unwind(Box::new("two"))
                    }
                };
                let caught = catch_unwind(|| crate::capture_sync(payload, work));
                assert!(caught.is_err());
            }
        });
        work.await;
        let two = &kept.one("two")["cause"]["exceptions"][0];
        assert_eq!((&two["message"], two.get("stack")), (&"two".into(), None));
    }
}
