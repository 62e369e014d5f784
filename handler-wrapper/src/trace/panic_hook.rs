//! Panic hook that captures the stacks of recorded panics.

use std::backtrace::Backtrace;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use tracestitch_wire::document::StackFrame;

use super::context::Context;
use crate::support::{backtrace, last_panic, user_code};

/// Installs the hook, once in the life of the process. The previous hook still runs, except for
/// panics of code that only tracing runs.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if user_code::is_containing() {
                return;
            }
            see(info);
            previous(info);
        }));
    });
}

/// Remembers a panic if it is recorded: its place, and its stack if `RUST_BACKTRACE` asks for stacks
/// as the standard library's hook understands it. To resolve a stack takes milliseconds, in which
/// other messages of the thread wait, and a binary without debug information has no source lines
/// then. This code must not panic: that would end the process.
fn see(info: &PanicHookInfo<'_>) {
    if !Context::current().is_recording() {
        return last_panic::forget();
    }
    let Some(location) = info.location() else {
        return;
    };
    let frames = backtrace::frames(&Backtrace::capture());
    let inner = frames
        .iter()
        .position(|frame| backtrace::is_at(frame, location.file(), location.line()));
    let stack = match inner {
        Some(inner) => frames.into_iter().skip(inner).collect(),
        // The panic itself has a source line in every binary.
        None => vec![StackFrame {
            path: location.file().to_owned().into(),
            line: location.line(),
            label: "panicked here".into(),
        }],
    };
    last_panic::remember(info.payload(), stack);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;
    use crate::tests::{header::SAMPLED, kept::Kept};

    fn priced(items: usize) -> usize {
        if items == 0 {
            panic!("no items in https://a.example/?token=t")
        } else {
            items
        }
    }

    #[tokio::test]
    async fn panic_is_recorded_with_message_and_place_on_each_level() {
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
                stack[0]["path"]
                    .as_str()
                    .unwrap()
                    .ends_with("panic_hook.rs"),
                "{stack:?}"
            );
            let line = stack[0]["line"].as_u64().unwrap() as usize;
            let source = include_str!("panic_hook.rs").lines().nth(line - 1);
            assert!(source.unwrap().contains("panic!(\"no items"), "line {line}");
        }
    }

    /// The standard library reads the variable once, so this test runs once more in other
    /// processes.
    #[tokio::test]
    async fn stack_is_recorded_if_the_environment_asks_for_stacks() {
        const INSIDE: &str = "TRACESTITCH_TEST_STACK";
        if crate::support::environment::variable(INSIDE).is_some() {
            install();
            let kept = Kept::default();
            kept.invoke(SAMPLED, async {
                let caught = catch_unwind(|| crate::capture_sync("pricing", || priced(0)));
                assert!(caught.is_err());
            })
            .await;
            let stack = kept.one("pricing")["cause"]["exceptions"][0]["stack"].take();
            let line = format!("stack: {stack}\n");
            return std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
        for (value, expected) in [("1", "priced"), ("0", "panicked here")] {
            let inside = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture"])
                .arg(concat!(
                    "trace::panic_hook::tests::",
                    "stack_is_recorded_if_the_environment_asks_for_stacks"
                ))
                .env(INSIDE, "1")
                .env("RUST_BACKTRACE", value)
                .env_remove("RUST_LIB_BACKTRACE")
                .output()
                .unwrap();
            let out = String::from_utf8_lossy(&inside.stdout).into_owned();
            let stack = out.lines().find_map(|line| line.strip_prefix("stack: "));
            let stack: Vec<serde_json::Value> = serde_json::from_str(stack.unwrap()).unwrap();
            let label = stack[0]["label"].as_str().unwrap();
            assert!(label.contains(expected), "{value}: {stack:?}");
            assert_eq!(stack.len() > 1, value == "1", "{stack:?}");
        }
    }

    #[tokio::test]
    async fn guard_dropped_by_a_panic_records_it() {
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
        let path = &pricing["stack"][0]["path"];
        assert!(
            path.as_str().unwrap().ends_with("panic_hook.rs"),
            "{pricing}"
        );
        assert_eq!(
            exception("elsewhere")["message"],
            "a panic unwound the stack"
        );
    }

    /// A value whose own code panics.
    struct Broken;

    impl std::fmt::Debug for Broken {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no name")
        }
    }

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

    /// The hook belongs to the whole process, so this test starts itself again in another one.
    #[cfg(feature = "sqs")]
    #[test]
    fn hook_of_the_user_is_not_called_for_what_only_tracing_runs() {
        use crate::{sqs::Consumer, trace::deadline::Deadline};

        const INSIDE: &str = "TRACESTITCH_TEST_HOOK";
        if std::env::var_os(INSIDE).is_none() {
            let inside = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture"])
                .arg("trace::panic_hook::tests::hook_of_the_user_is_not_called_for_what_only_tracing_runs")
                .env(INSIDE, "1")
                .output()
                .unwrap();
            let output = String::from_utf8_lossy(&inside.stdout);
            assert!(output.contains("1 passed"), "{}: {output}", inside.status);
            return;
        }
        panic::set_hook(Box::new(|_| std::process::exit(70)));
        install();
        let kept = Kept::default();
        let began = std::time::Instant::now();
        let deadline = Deadline {
            began,
            ends: began + std::time::Duration::from_millis(200),
        };
        let work = kept.invoke_until(SAMPLED, Some(deadline), async {
            crate::metadata("broken", Broken);
            crate::record_error(&Broken);
            let failed = crate::try_capture("pay", async { Err::<(), _>(Broken) }).await;
            assert!(failed.is_err());
            let mut event = aws_lambda_events::sqs::SqsEvent::default();
            event.records = vec![Default::default(); 2];
            let consumer = Consumer::new().mode_for(|_| panic!("no mode"));
            let response = consumer.each(event, async |_| {
                std::future::pending::<Result<(), std::fmt::Error>>().await
            });
            assert_eq!(response.await.batch_item_failures.len(), 2);
        });
        // It has no timers.
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(work);
    }

    #[tokio::test]
    async fn panic_without_a_hook_has_no_foreign_stack() {
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
