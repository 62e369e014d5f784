//! Checks that every environment gives settings.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| tracestitch_extension::fuzzing::settings(input));
