//! What tracing costs: instructions and time for a subsegment and for an AWS SDK call.
//!
//! `cargo cost` prints a table: instructions counted by callgrind (user space,
//! repeatable to a few instructions) and CPU time (median of interleaved rounds), each as the
//! difference between many and few repetitions in processes of their own, so that start-up does
//! not count. `cargo cost --check` fails when a row has more instructions than its bar.
//!
//! Needs valgrind. What is measured runs in this same binary, started again as a child whose
//! environment is that of a Lambda function.

#![expect(
    clippy::print_stdout,
    reason = "a table on standard output is what it is for"
)]

use std::env;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, RuntimeComponents};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use tower::{Layer, Service};
use tracestitch::{TraceLayer, aws::TraceInterceptor};

const SAMPLED: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const UNSAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

/// Rounds of the time measurement.
const ROUNDS: usize = 11;

/// One row of the table.
struct Row {
    name: &'static str,
    work: &'static str,
    header: &'static str,
    /// To a reader that sleeps during the handler, as the extension does; else nowhere.
    send: bool,
    /// The row whose cost is taken off.
    over: Option<&'static str>,
    /// Most instructions of one repetition.
    bar: Option<u64>,
    /// Repetitions under callgrind, and in the time measurement.
    repeat: (u32, u32),
}

const ROWS: [Row; 9] = [
    row(
        "subsegment, sampled, not sent",
        "subsegment",
        SAMPLED,
        false,
        None,
        Some(10_000),
    ),
    row(
        "subsegment, sampled, to the extension",
        "subsegment",
        SAMPLED,
        true,
        None,
        None,
    ),
    row(
        "subsegment, not sampled",
        "subsegment",
        UNSAMPLED,
        false,
        None,
        Some(200),
    ),
    row(
        "invocation, bare",
        "invocation-bare",
        SAMPLED,
        false,
        None,
        None,
    ),
    row(
        "invocation of 5 subsegments, to the extension",
        "invocation",
        SAMPLED,
        true,
        Some("invocation-bare"),
        None,
    ),
    row("AWS call, bare", "call-bare", SAMPLED, false, None, None),
    row(
        "AWS call, sampled, not sent",
        "call",
        SAMPLED,
        false,
        Some("call-bare"),
        Some(40_000),
    ),
    row(
        "AWS call, sampled, to the extension",
        "call",
        SAMPLED,
        true,
        Some("call-bare"),
        None,
    ),
    row(
        "AWS call, not sampled",
        "call",
        UNSAMPLED,
        false,
        Some("call-bare"),
        Some(16_000),
    ),
];

const fn row(
    name: &'static str,
    work: &'static str,
    header: &'static str,
    send: bool,
    over: Option<&'static str>,
    bar: Option<u64>,
) -> Row {
    let repeat = if matches!(work.as_bytes()[0], b'c') {
        (100, 2_000)
    } else {
        (1_000, 50_000)
    };
    Row {
        name,
        work,
        header,
        send,
        over,
        bar,
        repeat,
    }
}

fn main() -> ExitCode {
    if let Ok(work) = env::var("BENCH_WORK") {
        child(&work);
        return ExitCode::SUCCESS;
    }
    let check = env::args().any(|argument| argument == "--check");
    let instructions: Vec<u64> = ROWS.iter().map(count_instructions).collect();
    let mut times = vec![Vec::new(); ROWS.len()];
    for _ in 0..if check { 1 } else { ROUNDS } {
        for (row, times) in ROWS.iter().zip(&mut times) {
            times.push(measure_time(row));
        }
    }
    let mut passed = true;
    println!(
        "{:<48}{:>14}{:>10}{:>10}",
        "", "instructions", "bar", "CPU ns"
    );
    for (index, row) in ROWS.iter().enumerate() {
        let median = |index: usize| {
            let mut sorted = times[index].clone();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        let base = row
            .over
            .and_then(|work| ROWS.iter().position(|row| row.work == work));
        let count = instructions[index] - base.map_or(0, |base| instructions[base]);
        let time = median(index) - base.map_or(0.0, median);
        let name = format!("{}{}", if base.is_some() { "+ " } else { "" }, row.name);
        let bar = row.bar.map_or_else(String::new, |bar| bar.to_string());
        let over = row.bar.is_some_and(|bar| count > bar);
        passed &= !over;
        println!(
            "{name:<48}{count:>14}{bar:>10}{time:>10.0}{}",
            if over { "  OVER" } else { "" }
        );
    }
    println!("rows with + show what is added to the bare row above them");
    if check && !passed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn count_instructions(row: &Row) -> u64 {
    let run = |repeat: u32| -> u64 {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        let output = run_child(command.arg(this_program()), row, repeat);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let collected = text
            .lines()
            .find_map(|line| line.split("Collected :").nth(1));
        collected
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or_else(|| panic!("callgrind did not say what it collected:\n{text}"))
    };
    let few = row.repeat.0;
    (run(3 * few) - run(few)) / u64::from(2 * few)
}

fn measure_time(row: &Row) -> f64 {
    let output = run_child(&mut Command::new(this_program()), row, row.repeat.1);
    let nanos: f64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("a number");
    nanos / f64::from(row.repeat.1)
}

fn this_program() -> std::path::PathBuf {
    env::current_exe().expect("the path of this program")
}

fn run_child(command: &mut Command, row: &Row, repeat: u32) -> std::process::Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("handoff.sock");
    if row.send {
        read_as_the_extension_does(&socket);
    }
    let child = command
        .env_clear()
        .envs([
            ("BENCH_WORK", row.work),
            ("BENCH_HEADER", row.header),
            ("BENCH_REPEAT", &repeat.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
            ("_X_AMZN_TRACE_ID", row.header),
            ("TRACESTITCH_TRANSPORT", "extension"),
            ("TRACESTITCH_LOG", "off"),
            (
                "TRACESTITCH_SOCKET",
                socket.to_str().expect("a path in UTF-8"),
            ),
            ("PATH", &env::var("PATH").unwrap_or_default()),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start ({error}); is it installed?"));
    let output = child.wait_with_output().expect("the child's output");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Reads documents only when it is signalled.
fn read_as_the_extension_does(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        let accept = || listener.accept().map(|(stream, _)| stream);
        let (Ok(data), Ok(mut signal)) = (accept(), accept()) else {
            return;
        };
        data.set_nonblocking(true).expect("a flag of the socket");
        let mut buffer = vec![0; 1 << 20];
        while signal.read(&mut buffer).is_ok_and(|length| length > 0) {
            drain(&data, &mut buffer);
        }
    });
}

fn drain(mut data: &UnixStream, buffer: &mut [u8]) {
    while data.read(buffer).is_ok_and(|length| length > 0) {}
}

/// What is measured.
fn child(work: &str) {
    let repeat: u32 = env::var("BENCH_REPEAT")
        .expect("set above")
        .parse()
        .expect("a number");
    let header = env::var("BENCH_HEADER").expect("set above");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let started = cpu_time();
        match work {
            "subsegment" => {
                for count in chunks(repeat) {
                    in_invocation(&header, subsegments(count)).await;
                }
            }
            "invocation" => {
                for _ in 0..repeat {
                    in_invocation(&header, subsegments(5)).await;
                }
            }
            "invocation-bare" => {
                for _ in 0..repeat {
                    bare_invocation(&header).await;
                }
            }
            "call" | "call-bare" => {
                let dynamodb = client(work == "call");
                for count in chunks(repeat) {
                    in_invocation(&header, calls(&dynamodb, count)).await;
                }
            }
            unknown => panic!("no such work: {unknown}"),
        }
        println!("{}", (cpu_time() - started).as_nanos());
    });
}

/// Repetitions by invocation: of one, at most 1000 subsegments are recorded.
fn chunks(repeat: u32) -> impl Iterator<Item = u32> {
    const MOST: u32 = 500;
    (0..repeat)
        .step_by(MOST as usize)
        .map(move |done| MOST.min(repeat - done))
}

async fn subsegments(repeat: u32) {
    for _ in 0..repeat {
        tracestitch::capture("price the order", async {
            tracestitch::annotate("order_id", "o-1234");
            tracestitch::annotate("items", 3);
        })
        .await;
    }
}

fn event(header: &str) -> LambdaEvent<()> {
    let mut context = Context::default();
    context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
    context.xray_trace_id = Some(header.to_owned());
    LambdaEvent::new((), context)
}

async fn bare_invocation(header: &str) {
    let mut handler = service_fn(async |_: LambdaEvent<()>| Ok::<_, Error>(()));
    handler
        .call(event(header))
        .await
        .expect("a handler that does not fail");
}

async fn in_invocation(header: &str, work: impl Future<Output = ()>) {
    thread_local! {
        static TRACE: TraceLayer = TraceLayer::from_env();
    }
    let mut work = Some(work);
    let handler = service_fn(move |_: LambdaEvent<()>| {
        let work = work.take();
        async move {
            if let Some(work) = work {
                work.await;
            }
            Ok::<_, Error>(())
        }
    });
    let mut traced = TRACE.with(|trace| trace.layer(handler));
    traced
        .call(event(header))
        .await
        .expect("a handler that does not fail");
}

fn client(traced: bool) -> aws_sdk_dynamodb::Client {
    let mut config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .http_client(Instantly);
    if traced {
        config = config.interceptor(TraceInterceptor::new());
    }
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

async fn calls(dynamodb: &aws_sdk_dynamodb::Client, repeat: u32) {
    for _ in 0..repeat {
        let key = AttributeValue::S("o-1234".to_owned());
        let call = dynamodb.get_item().table_name("orders").key("orderId", key);
        call.send().await.expect("an answer");
    }
}

/// An HTTP client that answers at once.
#[derive(Debug, Clone)]
struct Instantly;

impl HttpConnector for Instantly {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let status = 200.try_into().expect("a status");
        let mut response = HttpResponse::new(status, SdkBody::from("{}"));
        response
            .headers_mut()
            .insert("x-amzn-requestid", "8476a536e9f411e8");
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Instantly {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// CPU time of this process so far (proc(5), `schedstat`: nanoseconds on a processor).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("a kernel with schedstat");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds come first"))
}
