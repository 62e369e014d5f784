//! The end of an invocation: ways in which a function ends, or continues when it should not.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lambda_runtime::streaming::{Body, channel};
use lambda_runtime::tower::{Layer, ServiceExt};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::json;
use tracestitch::{Context, TraceLayer};
use tracing::Instrument as _;

use crate::{Refused, journal};

/// The last action of the handler, in a subsegment `doomed`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Then {
    /// Returns.
    #[default]
    Return,
    /// Returns an error.
    Fail,
    /// Panics.
    Panic,
    /// Exits the process.
    Exit,
    /// Aborts the process.
    Abort,
    /// Overflows the stack.
    Overflow,
    /// Allocates until memory is exhausted.
    Allocate,
    /// Blocks its thread for ever.
    Block,
    /// Computes for ever.
    Spin,
    /// Awaits for ever.
    Wait,
    /// Records an error, then awaits for ever.
    Refuse,
    /// Awaits for ever in a span `priced`, to which it adds a field and an error event.
    Price,
    /// Kills the process (SIGKILL).
    Kill,
    /// Blocks its thread until this file exists, then returns.
    Until(PathBuf),
    /// Awaits this file, then returns.
    Await(PathBuf),
    /// Returns; the process hangs when the reply has been posted.
    HangAfterReply,
    /// Returns; the process exits when this file exists.
    ExitLater(PathBuf),
    /// Returns; a task continues in a subsegment `later` until this file exists.
    Later(PathBuf),
    /// Answers with a stream, whose parts are made in a subsegment `stream`.
    Stream { parts: u32 },
    /// Runs this program as a child process and waits for it.
    Child,
}

impl Then {
    /// Performs the action; returns the stream if the answer is one.
    pub(crate) async fn happen(
        self,
        n: u64,
        context: &lambda_runtime::Context,
    ) -> Result<Option<Body>, Error> {
        match self {
            Self::Return => {}
            Self::Fail => return Err("no stock".into()),
            Self::HangAfterReply => crate::HANG.store(true, std::sync::atomic::Ordering::Relaxed),
            Self::ExitLater(file) => {
                tokio::spawn(async move {
                    there(&file).await;
                    std::process::exit(0);
                });
            }
            Self::Later(file) => {
                let later = journal::begin(n, "later", "victim");
                tokio::spawn(async move {
                    there(&file).await;
                    journal::finish(n, "later", later);
                });
            }
            Self::Stream { parts } => return Ok(Some(stream(n, parts))),
            Self::Child => run_child(n, context).await?,
            Self::Price => price(n).await,
            doom => {
                let doomed = journal::begin(n, "doomed", "victim");
                let end = doomed.context().scope(async {
                    put_facts(n, &doom);
                    tokio::task::yield_now().await;
                    for name in ["doomed", "victim"] {
                        journal::note("kept", n, name, "");
                    }
                    doom.end().await;
                });
                end.await;
                journal::finish(n, "doomed", doomed);
            }
        }
        Ok(None)
    }

    async fn end(self) {
        match self {
            Self::Panic => panic!("no kettle"),
            Self::Exit => std::process::exit(3),
            Self::Abort => std::process::abort(),
            Self::Overflow => drop(overflow(1)),
            Self::Allocate => allocate(),
            Self::Block => std::thread::sleep(Duration::from_secs(3600)),
            Self::Spin => loop {
                std::hint::spin_loop();
            },
            Self::Wait | Self::Refuse => std::future::pending().await,
            Self::Kill => {
                // A process may always send itself a signal.
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
            Self::Await(file) => there(&file).await,
            Self::Until(file) => {
                while !file.exists() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            _ => {}
        }
    }
}

/// Puts facts on the current subsegment, `doomed`.
fn put_facts(n: u64, doom: &Then) {
    let mut facts = json!({
        "annotations": { "doom": format!("o-{n}") },
        "metadata": { "default": { "doom": [n, 2] } },
    });
    let refuses = matches!(doom, Then::Refuse);
    if refuses {
        facts["fault"] = true.into();
        let refused = json!({ "type": "Refused", "message": Refused.to_string() });
        facts["cause"] = json!({ "exceptions": [refused] });
    }
    journal::fact(n, "doomed", &facts);
    tracestitch::annotate("doom", format!("o-{n}"));
    tracestitch::metadata("doom", [n, 2]);
    if refuses {
        tracestitch::record_error(&Refused);
    }
}

async fn price(n: u64) {
    journal::note("begin", n, "priced", "victim");
    let span = tracing::info_span!("priced", order = tracing::field::Empty);
    let work = async {
        crate::begun(n, "priced");
        let refused = json!({ "message": Refused.to_string() });
        let facts = json!({
            "metadata": { "default": { "order": format!("o-{n}") } },
            "fault": true,
            "cause": { "exceptions": [refused] },
        });
        journal::fact(n, "priced", &facts);
        tracing::Span::current().record("order", format!("o-{n}"));
        tracing::error!("{Refused}");
        tokio::task::yield_now().await;
        for name in ["priced", "victim"] {
            journal::note("kept", n, name, "");
        }
        std::future::pending().await
    };
    work.instrument(span).await
}

#[expect(unconditional_recursion, reason = "the stack has to overflow")]
fn overflow(depth: u64) -> u64 {
    let ballast = black_box([depth; 512]);
    overflow(depth + 1) + ballast[0]
}

/// Address space that a function gets when it starts to allocate without end.
///
/// The limit starts there: threads reserve far more address space than they use, so under a limit
/// the number of processors would decide whether a thread can start.
const ADDRESS_SPACE: u64 = 250 * 1024 * 1024;

fn allocate() {
    // Without the limit, the test would see the process end for another reason, and fail.
    let _ = setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE, ADDRESS_SPACE);
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; 1024 * 1024]));
    }
}

/// Waits until a file exists.
async fn there(file: &Path) {
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn stream(n: u64, parts: u32) -> Body {
    let (mut sender, body) = channel();
    // The wrapper itself begins this subsegment, around the polling of the stream.
    journal::note("begin", n, "response", "");
    let subsegment = journal::begin(n, "stream", "victim");
    tokio::spawn(async move {
        for part in 0..parts {
            // The caller may have gone.
            let _ = sender.send_data(format!("part {part}\n").into()).await;
        }
        journal::finish(n, "stream", subsegment);
        // It ends when the sender is dropped.
        journal::note("finish", n, "response", "");
    });
    body
}

/// Runs this program as a child process in the same trace.
async fn run_child(n: u64, context: &lambda_runtime::Context) -> Result<(), Error> {
    let header = Context::current().trace_header();
    let header = header.map(|header| header.to_string()).unwrap_or_default();
    let status = tokio::process::Command::new(std::env::current_exe()?)
        .args(["child", &n.to_string(), &header, &context.request_id])
        .env("AWS_LAMBDA_FUNCTION_NAME", "child")
        .status()
        .await?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the child ended with {status}").into())
    }
}

/// Runs as a process that traces but does not ask Lambda for invocations.
pub(crate) async fn child() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(2);
    let mut argument = || arguments.next().ok_or("a child has three arguments");
    let n = argument()?.parse()?;
    let mut context = lambda_runtime::Context::default();
    context.xray_trace_id = Some(argument()?);
    context.request_id = format!("child of {}", argument()?);
    let handler = service_fn(async |event: LambdaEvent<u64>| {
        let chore = journal::begin(event.payload, "chore", "child");
        journal::finish(event.payload, "chore", chore);
        Ok::<_, Error>(())
    });
    journal::note("begin", n, "child", "victim");
    let traced = TraceLayer::new().layer(handler);
    let outcome = traced.oneshot(LambdaEvent::new(n, context)).await;
    outcome.map_err(|error| format!("{error:?}"))?;
    journal::note("finished", n, "child", "");
    Ok(())
}
