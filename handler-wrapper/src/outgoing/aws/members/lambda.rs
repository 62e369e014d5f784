//! Members of Lambda's inputs and outputs, without payloads, client contexts and logs.

use aws_sdk_lambda::operation::invoke::{InvokeInput, InvokeOutput};
use aws_sdk_lambda::types::{InvocationType, LogType};
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use tracestitch_wire::document::Fact;

use super::value::{Member, enumerations, members};

enumerations!(InvocationType, LogType);

members! {
    fn of_input(Input);
    InvokeInput as input {
        "InvocationType" => input.invocation_type.recorded(),
        "LogType" => input.log_type.recorded(),
    }
}

members! {
    fn of_output(Output);
    InvokeOutput as output {
        "FunctionError" => output.function_error.recorded(),
        "StatusCode" => output.status_code.recorded(),
    }
}
