//! Checks that documents of a function fit a datagram after they were split and trimmed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tracestitch_extension::fuzzing::document(input));
