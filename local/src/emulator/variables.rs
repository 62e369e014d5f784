//! The environment variables of a process: the documented ones and the user's, nothing else.
//!
//! Source: Lambda developer guide, "Defined runtime environment variables", and Extensions API,
//! "Environment variables".

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use super::function::Function;

/// Names that extensions do not get, in addition to names with a leading underscore.
const WITHHELD_FROM_EXTENSIONS: [&str; 8] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

type Variables = BTreeMap<String, String>;

/// Returns the variables of the runtime's process.
pub(super) fn of_runtime(function: &Function, api: SocketAddr, socket: &Path) -> Variables {
    let task_root = function.program.parent().unwrap_or(&function.program);
    let mut own = vec![
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
        ("AWS_DEFAULT_REGION", function.region.clone()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            function.memory_mb.to_string(),
        ),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            initialization_type(function).to_owned(),
        ),
        (
            "AWS_LAMBDA_LOG_GROUP_NAME",
            format!("/aws/lambda/{}", function.name),
        ),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local/[$LATEST]1".to_owned()),
        ("AWS_REGION", function.region.clone()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("AWS_SESSION_TOKEN", "local".to_owned()),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("LAMBDA_TASK_ROOT", task_root.to_string_lossy().into_owned()),
        ("TRACESTITCH_SOCKET", socket.to_string_lossy().into_owned()),
        ("TZ", ":UTC".to_owned()),
        ("_HANDLER", function.handler.clone()),
    ];
    if let Some(daemon) = function.daemon {
        own.extend([
            ("AWS_XRAY_DAEMON_ADDRESS", daemon.to_string()),
            ("_AWS_XRAY_DAEMON_ADDRESS", daemon.ip().to_string()),
            ("_AWS_XRAY_DAEMON_PORT", daemon.port().to_string()),
        ]);
    }
    if let Some(limit) = function.max_concurrency {
        own.push(("AWS_LAMBDA_MAX_CONCURRENCY", limit.to_string()));
    }
    if let Ok(path) = std::env::var("PATH") {
        own.push(("PATH", path));
    }
    let mut variables: Variables = own
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    variables.extend(function.variables.clone());
    variables.insert("AWS_LAMBDA_RUNTIME_API".into(), api.to_string());
    variables
}

/// Returns the variables of an extension's process.
pub(super) fn of_extension(function: &Function, api: SocketAddr, socket: &Path) -> Variables {
    let mut variables = of_runtime(function, api, socket);
    variables.retain(|name, _| {
        !name.starts_with('_') && !WITHHELD_FROM_EXTENSIONS.contains(&name.as_str())
    });
    variables
}

fn initialization_type(function: &Function) -> &'static str {
    if function.is_managed() {
        "lambda-managed-instances"
    } else {
        "on-demand"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_and_extensions_get_documented_variables() {
        let api = SocketAddr::from(([127, 0, 0, 1], 9001));
        let function = Function::new("orders", "/task/bootstrap")
            .xray_daemon(SocketAddr::from(([127, 0, 0, 1], 2000)))
            .env("TABLE_NAME", "orders")
            .env("TRACESTITCH_LOG", "debug")
            .env("AWS_LAMBDA_RUNTIME_API", "elsewhere")
            .env("_SECRET", "1")
            .env("AWS_REGION", "eu-west-1");
        let on_demand = function.clone();
        let managed = function
            .env("TRACESTITCH_SOCKET", "/mine")
            .managed_instances(4);
        for (name, function, runtime, extension, reason) in [
            (
                "AWS_LAMBDA_RUNTIME_API",
                &on_demand,
                Some("127.0.0.1:9001"),
                Some("127.0.0.1:9001"),
                "cannot be set by the user",
            ),
            (
                "AWS_LAMBDA_FUNCTION_NAME",
                &on_demand,
                Some("orders"),
                Some("orders"),
                "platform variable",
            ),
            (
                "AWS_REGION",
                &on_demand,
                Some("eu-west-1"),
                Some("eu-west-1"),
                "the user's value wins",
            ),
            (
                "TABLE_NAME",
                &on_demand,
                Some("orders"),
                Some("orders"),
                "the user's own",
            ),
            (
                "TRACESTITCH_LOG",
                &on_demand,
                Some("debug"),
                Some("debug"),
                "settings of tracestitch",
            ),
            (
                "TRACESTITCH_SOCKET",
                &on_demand,
                Some("/s"),
                Some("/s"),
                "one socket for both",
            ),
            (
                "TRACESTITCH_SOCKET",
                &managed,
                Some("/mine"),
                Some("/mine"),
                "unless the user set it",
            ),
            (
                "LAMBDA_TASK_ROOT",
                &on_demand,
                Some("/task"),
                None,
                "withheld",
            ),
            (
                "AWS_LAMBDA_LOG_GROUP_NAME",
                &on_demand,
                Some("/aws/lambda/orders"),
                None,
                "withheld",
            ),
            (
                "AWS_XRAY_CONTEXT_MISSING",
                &on_demand,
                Some("LOG_ERROR"),
                None,
                "withheld",
            ),
            (
                "AWS_XRAY_DAEMON_ADDRESS",
                &on_demand,
                Some("127.0.0.1:2000"),
                None,
                "withheld",
            ),
            (
                "_AWS_XRAY_DAEMON_ADDRESS",
                &on_demand,
                Some("127.0.0.1"),
                None,
                "withheld",
            ),
            (
                "_HANDLER",
                &on_demand,
                Some("bootstrap"),
                None,
                "leading underscore",
            ),
            (
                "_SECRET",
                &on_demand,
                Some("1"),
                None,
                "leading underscore, although the user's",
            ),
            (
                "_X_AMZN_TRACE_ID",
                &on_demand,
                None,
                None,
                "set by the runtime client",
            ),
            (
                "AWS_EXECUTION_ENV",
                &on_demand,
                None,
                None,
                "not on OS-only runtimes",
            ),
            (
                "AWS_LAMBDA_MAX_CONCURRENCY",
                &on_demand,
                None,
                None,
                "Managed Instances only",
            ),
            (
                "AWS_LAMBDA_MAX_CONCURRENCY",
                &managed,
                Some("4"),
                None,
                "the runtime's alone",
            ),
            (
                "AWS_LAMBDA_INITIALIZATION_TYPE",
                &on_demand,
                Some("on-demand"),
                Some("on-demand"),
                "default",
            ),
            (
                "AWS_LAMBDA_INITIALIZATION_TYPE",
                &managed,
                Some("lambda-managed-instances"),
                Some("lambda-managed-instances"),
                "both need it",
            ),
            (
                "CARGO_MANIFEST_DIR",
                &on_demand,
                None,
                None,
                "nothing is inherited",
            ),
        ] {
            let value = |variables: Variables| variables.get(name).cloned();
            let socket = Path::new("/s");
            let found = value(of_runtime(function, api, socket));
            assert_eq!(found.as_deref(), runtime, "{name} in the runtime: {reason}");
            let found = value(of_extension(function, api, socket));
            assert_eq!(
                found.as_deref(),
                extension,
                "{name} in an extension: {reason}"
            );
        }
    }
}
