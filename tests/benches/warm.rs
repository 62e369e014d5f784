//! A warm invocation of order-api under the emulator, with the wrapper and the extension against
//! `TRACESTITCH_ENABLED=false` without an extension, by turns:
//! `cargo bench --package e2e --bench warm`.
//!
//! `TRACESTITCH_TEST_FUNCTION` and `TRACESTITCH_TEST_EXTENSION` name other programs than those of
//! the test build, for example optimised ones.

#![allow(clippy::unwrap_used, reason = "a failure ends the bench")]
#![allow(clippy::print_stdout, reason = "the bench prints its result")]

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Instant;

use e2e::binaries;
use e2e::world::World;
use serde_json::json;
use tracestitch_local::emulator::{Environment, Invoke};

/// Invocations of each function.
const ROUNDS: usize = 1_000;

/// Invocations before that, which fill caches and open connections.
const WARM_UP: usize = 50;

#[tokio::main]
async fn main() {
    let program = |variable, built: fn() -> &'static std::path::Path| {
        env::var_os(variable).map_or_else(|| built().to_owned(), PathBuf::from)
    };
    let function = program("TRACESTITCH_TEST_FUNCTION", binaries::order_api);
    let extension = program("TRACESTITCH_TEST_EXTENSION", binaries::extension);
    let folder = tempfile::tempdir().unwrap();
    // Extensions register under their file name.
    let link = folder.path().join("tracestitch");
    symlink(fs::canonicalize(extension).unwrap(), &link).unwrap();

    let world = World::start().await;
    let alone = world.emulated_alone("order-api", &function);
    let functions = [
        alone.clone().env("TRACESTITCH_ENABLED", "false"),
        alone.extension(link),
    ];
    let mut environments = Vec::new();
    for function in functions {
        environments.push(function.start().await.unwrap());
    }
    let mut times = [const { (Vec::new(), Vec::new()) }; 2];
    let mut before = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        if round == WARM_UP {
            before = environments.iter().map(cpu_times).collect();
        }
        for (environment, (replied, settled)) in environments.iter().zip(&mut times) {
            let [reply, end] = invoke(environment, round).await;
            if round >= WARM_UP {
                replied.push(reply);
                settled.push(end);
            }
        }
    }
    print(&environments, times, &before);
    for environment in environments {
        environment.shutdown().await;
    }
}

/// Returns microseconds from the invocation to the reply, and to the end of all work after it.
async fn invoke(environment: &Environment, round: usize) -> [f64; 2] {
    let invoke = Invoke::new(event(round))
        .trace_header("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1");
    let began = Instant::now();
    let outcome = environment.invoke(invoke).await;
    let replied = began.elapsed();
    environment.settled().await;
    assert!(outcome.is_response(), "{outcome:?}");
    [replied, began.elapsed()].map(|time| time.as_secs_f64() * 1e6)
}

/// Returns an order as API Gateway (HTTP API) sends it.
fn event(round: usize) -> String {
    let order = json!({ "orderId": round.to_string(), "item": "teapot", "quantity": 2 });
    json!({
        "version": "2.0",
        "routeKey": "POST /orders",
        "rawPath": "/orders",
        "rawQueryString": "",
        "headers": { "content-type": "application/json" },
        "requestContext": {
            "http": { "method": "POST", "path": "/orders", "protocol": "HTTP/1.1" },
            "requestId": "request",
            "stage": "$default",
        },
        "body": order.to_string(),
        "isBase64Encoded": false,
    })
    .to_string()
}

fn print(environments: &[Environment], times: [(Vec<f64>, Vec<f64>); 2], before: &[[f64; 2]]) {
    println!(
        "| order-api | reply p50, µs | ratio | p99 | ratio | end p50, µs | ratio | p99 | ratio | CPU of function, µs | CPU of extension, µs | function, KB | extension, KB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let percentiles = times.map(|(replied, settled)| {
        let (replied, settled) = (sorted(replied), sorted(settled));
        [
            (&replied, 50),
            (&replied, 99),
            (&settled, 50),
            (&settled, 99),
        ]
        .map(|(times, percent)| times[(times.len() - 1) * percent / 100])
    });
    let names = ["`TRACESTITCH_ENABLED=false`, no extension", "both halves"];
    for (index, (name, figures)) in names.iter().zip(percentiles).enumerate() {
        let cells: String = figures
            .iter()
            .zip(percentiles[0])
            .map(|(figure, base)| format!(" {figure:.0} | {:.2} |", figure / base))
            .collect();
        let now = cpu_times(&environments[index]);
        let [function, extension] =
            [0, 1].map(|process| (now[process] - before[index][process]) / ROUNDS as f64);
        let resident = processes(&environments[index]).map(|pids| total(&pids, resident));
        let [of_function, of_extension] = resident;
        println!(
            "| {name} |{cells} {function:.0} | {extension:.0} | {of_function:.0} | {of_extension:.0} |"
        );
    }
}

/// Returns the processes of the function and of extensions.
fn processes(environment: &Environment) -> [Vec<u32>; 2] {
    let function = environment.function_pid().into_iter().collect();
    [function, environment.extension_pids()]
}

/// Returns microseconds of CPU time of the function and of extensions so far.
fn cpu_times(environment: &Environment) -> [f64; 2] {
    processes(environment).map(|pids| total(&pids, cpu_time))
}

fn total(pids: &[u32], of: fn(u32) -> f64) -> f64 {
    pids.iter().map(|&pid| of(pid)).sum()
}

/// Returns microseconds for which the threads of a process ran (proc(5), schedstat).
fn cpu_time(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = tasks.map(|task| {
        // A thread may have ended since it was listed.
        let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
        nanos.unwrap_or(0.0)
    });
    nanos.sum::<f64>() / 1e3
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}

/// Returns resident kilobytes of a process (proc(5), status).
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}
