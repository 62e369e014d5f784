//! Any text is a header, which prints as one that is read as the same again, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracestitch_wire::{header::TraceHeader, w3c};

fuzz_target!(|text: &str| {
    for read in [text.parse::<TraceHeader>(), w3c::parse(text)] {
        match read {
            Ok(header) => {
                let header = header.with_state(text);
                let goes_on = |byte| (b' '..=b'~').contains(&byte);
                assert!(header.state().is_none_or(|state| state.bytes().all(goes_on)));
                let printed = header.to_string();
                assert!(printed.bytes().all(goes_on));
                let read = printed.parse().map(|header: TraceHeader| header.to_string());
                assert_eq!(read, Ok(printed));
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        }
    }
});
