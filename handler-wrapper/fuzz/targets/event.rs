//! Any bytes are an event with a header or without one; what is found can go on.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|event: &[u8]| {
    if let Some(header) = tracestitch::embed::from_event(event) {
        assert_eq!(header.to_string().parse(), Ok(header));
    }
});
