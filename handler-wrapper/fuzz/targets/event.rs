//! Any bytes are an event with a header or without one; what is found can go on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracestitch::TraceHeader;

fuzz_target!(|event: &[u8]| {
    if let Some(header) = tracestitch::embed::extract_event(event) {
        let printed = header.to_string();
        let read = printed.parse().map(|header: TraceHeader| header.to_string());
        assert_eq!(read, Ok(printed));
    }
});
