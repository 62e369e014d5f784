//! Checks that answers of the Extensions API are read as events or errors.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tracestitch_extension::fuzzing::event(input));
