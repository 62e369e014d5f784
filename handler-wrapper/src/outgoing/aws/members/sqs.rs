//! Members of the inputs and outputs of SQS, without bodies, attribute values and receipts.

use aws_sdk_sqs::operation::{
    change_message_visibility::ChangeMessageVisibilityInput,
    change_message_visibility_batch::ChangeMessageVisibilityBatchOutput,
    create_queue::{CreateQueueInput, CreateQueueOutput},
    delete_message::DeleteMessageInput,
    delete_message_batch::{DeleteMessageBatchInput, DeleteMessageBatchOutput},
    get_queue_attributes::GetQueueAttributesOutput,
    get_queue_url::GetQueueUrlOutput,
    list_dead_letter_source_queues::ListDeadLetterSourceQueuesOutput,
    list_queues::ListQueuesOutput,
    receive_message::{ReceiveMessageInput, ReceiveMessageOutput},
    send_message::{SendMessageInput, SendMessageOutput},
    send_message_batch::{SendMessageBatchInput, SendMessageBatchOutput},
    set_queue_attributes::SetQueueAttributesInput,
};
use aws_sdk_sqs::types::{BatchResultErrorEntry, MessageSystemAttributeName, QueueAttributeName};
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use tracestitch_wire::document::Fact;

use super::value::{Member, count, enumerations, keys, members, names_of, object};

enumerations!(MessageSystemAttributeName, QueueAttributeName);

names_of! {
    SendMessageInput, SendMessageBatchInput, ReceiveMessageInput, DeleteMessageInput,
    DeleteMessageBatchInput,
}

members! {
    fn of_input(Input);
    SendMessageInput as input {
        "QueueUrl" => input.queue_url.recorded(),
        "DelaySeconds" => input.delay_seconds.recorded(),
        "MessageAttributes" => {
            let attributes = input.message_attributes.as_ref()?;
            keys(attributes.keys().map(String::as_str))
        },
    }
    SendMessageBatchInput as input {
        "QueueUrl" => input.queue_url.recorded(),
        "Entries" => count(input.entries.as_deref()),
    }
    DeleteMessageInput as input {
        "QueueUrl" => input.queue_url.recorded(),
    }
    DeleteMessageBatchInput as input {
        "QueueUrl" => input.queue_url.recorded(),
    }
    ReceiveMessageInput as input {
        "QueueUrl" => input.queue_url.recorded(),
        "AttributeNames" => older_names(input).recorded(),
        "MessageSystemAttributeNames" => input.message_system_attribute_names.recorded(),
        "MessageAttributeNames" => input.message_attribute_names.recorded(),
        "MaxNumberOfMessages" => input.max_number_of_messages.recorded(),
        "VisibilityTimeout" => input.visibility_timeout.recorded(),
        "WaitTimeSeconds" => input.wait_time_seconds.recorded(),
    }
    ChangeMessageVisibilityInput as input {
        "VisibilityTimeout" => input.visibility_timeout.recorded(),
    }
    CreateQueueInput as input {
        "Attributes" => names(input.attributes.as_ref()?.keys()),
    }
    SetQueueAttributesInput as input {
        "Attributes" => names(input.attributes.as_ref()?.keys()),
    }
}

members! {
    fn of_output(Output);
    SendMessageOutput as output {
        "MessageId" => output.message_id.recorded(),
    }
    SendMessageBatchOutput as output {
        "Failed" => count(Some(&output.failed)),
        "Successful" => count(Some(&output.successful)),
    }
    ReceiveMessageOutput as output {
        "Messages" => count(Some(output.messages())),
    }
    DeleteMessageBatchOutput as output {
        "Failed" => output.failed.recorded(),
    }
    ChangeMessageVisibilityBatchOutput as output {
        "Failed" => output.failed.recorded(),
    }
    GetQueueUrlOutput as output {
        "QueueUrl" => output.queue_url.recorded(),
    }
    CreateQueueOutput as output {
        "QueueUrl" => output.queue_url.recorded(),
    }
    GetQueueAttributesOutput as output {
        "Attributes" => names(output.attributes.as_ref()?.keys()),
    }
    ListQueuesOutput as output {
        "QueueUrls" => count(Some(output.queue_urls())),
    }
    ListDeadLetterSourceQueuesOutput as output {
        "QueueUrls" => output.queue_urls.recorded(),
    }
}

#[allow(deprecated, reason = "callers still use it")]
fn older_names(input: &ReceiveMessageInput) -> &Option<Vec<QueueAttributeName>> {
    &input.attribute_names
}

/// Returns the names of a queue's attributes. Their values can be access policies.
fn names<'a>(attributes: impl Iterator<Item = &'a QueueAttributeName>) -> Option<Fact<'static>> {
    keys(attributes.map(QueueAttributeName::as_str))
}

impl Member for BatchResultErrorEntry {
    /// Leaves out the message, which may quote the entry.
    fn recorded(&self) -> Option<Fact<'_>> {
        object([
            ("Id", self.id.recorded()),
            ("Code", self.code.recorded()),
            ("SenderFault", self.sender_fault.recorded()),
        ])
    }
}
