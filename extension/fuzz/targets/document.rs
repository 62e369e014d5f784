//! Whatever a function calls a document, what is sent fits a datagram.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tracestitch_extension::fuzzing::document(input));
