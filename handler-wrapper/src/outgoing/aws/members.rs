//! Readers of members that the SDK does not capture by name: numbers, flags, enumerations, counts,
//! lists, and all of the output. [`parameters`](super::parameters) decides which are recorded.

#[cfg(feature = "aws-sdk-dynamodb")]
mod dynamodb;
#[cfg(feature = "aws-sdk-eventbridge")]
mod eventbridge;
#[cfg(feature = "aws-sdk-lambda")]
mod lambda;
#[cfg(feature = "aws-sdk-sqs")]
mod sqs;
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each service needs some of it; where no service's feature is on, none is needed"
)]
mod value;

use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use tracestitch_wire::document::Fact;

/// Reads `member` of an input. Returns `None` if it is absent or unknown.
pub(super) fn of_input<'a>(service: &str, input: &'a Input, member: &str) -> Option<Fact<'a>> {
    // Without a service's feature there is nothing to read with.
    let _ = (input, member);
    match service {
        #[cfg(feature = "aws-sdk-dynamodb")]
        "DynamoDB" => dynamodb::of_input(input, member),
        #[cfg(feature = "aws-sdk-eventbridge")]
        "EventBridge" => eventbridge::of_input(input, member),
        #[cfg(feature = "aws-sdk-lambda")]
        "Lambda" => lambda::of_input(input, member),
        #[cfg(feature = "aws-sdk-sqs")]
        "SQS" => sqs::of_input(input, member),
        _ => None,
    }
}

/// Returns true if [`of_input`] reads the names of this input, too. It does for the most frequent
/// calls, if their service's feature is on, because that is cheaper than capture by the SDK.
pub(super) fn has_names(input: &Input) -> bool {
    let _ = input;
    #[cfg(feature = "aws-sdk-dynamodb")]
    if dynamodb::has_names(input) {
        return true;
    }
    #[cfg(feature = "aws-sdk-sqs")]
    if sqs::has_names(input) {
        return true;
    }
    false
}

/// Reads `member` of an output. Returns `None` if it is absent or unknown.
pub(super) fn of_output<'a>(service: &str, output: &'a Output, member: &str) -> Option<Fact<'a>> {
    let _ = (output, member);
    match service {
        #[cfg(feature = "aws-sdk-dynamodb")]
        "DynamoDB" => dynamodb::of_output(output, member),
        #[cfg(feature = "aws-sdk-lambda")]
        "Lambda" => lambda::of_output(output, member),
        #[cfg(feature = "aws-sdk-sqs")]
        "SQS" => sqs::of_output(output, member),
        _ => None,
    }
}
