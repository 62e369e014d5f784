//! Members of EventBridge's inputs, without the details of events.

use aws_sdk_eventbridge::operation::put_events::PutEventsInput;
use aws_smithy_runtime_api::client::interceptors::context::Input;
use tracestitch_wire::document::Fact;

use super::value::{Member, list, members};

members! {
    fn of_input(Input);
    PutEventsInput as input {
        "Entries" => buses(input),
    }
}

/// Returns the bus, or a list if the entries name several. An entry without a bus goes to the
/// default one.
fn buses(input: &PutEventsInput) -> Option<Fact<'_>> {
    let mut buses: Vec<&str> = input
        .entries()
        .iter()
        .map(|entry| entry.event_bus_name().unwrap_or("default"))
        .collect();
    buses.sort_unstable();
    buses.dedup();
    match buses[..] {
        [] => None,
        [bus] => bus.recorded(),
        _ => list(buses, Member::recorded),
    }
}
