//! The rows of Lambda.

use aws_sdk_lambda::types::{InvocationType, LogType};

use aws_smithy_types::Blob;

use super::{
    super::*,
    row::{Row, row},
};

pub(super) fn rows() -> Vec<Row> {
    let failed = ("x-amz-function-error", "Unhandled");
    let invoke = row!(aws_sdk_lambda "Lambda" "Invoke",
        |lambda| lambda.invoke().function_name("pay").qualifier("live")
            .invocation_type(InvocationType::RequestResponse).log_type(LogType::None)
            .client_context("s3cr3t").payload(Blob::new("s3cr3t")),
        "", { "function_name": "pay", "qualifier": "live", "log_type": "None",
              "invocation_type": "RequestResponse", "status_code": 200,
              "function_error": "Unhandled" });
    #[allow(deprecated, reason = "callers may still use it")]
    let older = row!(aws_sdk_lambda "Lambda" "InvokeAsync",
        |lambda| lambda.invoke_async().function_name("pay")
            .invoke_args(b"s3cr3t".to_vec().into()),
        "", { "function_name": "pay" });
    vec![
        Row {
            answer: Answer::With(200, failed, "{}".to_owned()),
            ..invoke
        },
        older,
    ]
}
