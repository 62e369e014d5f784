//! Whatever a function writes, no document is lost or doubled.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tracestitch_extension::fuzzing::frames(input));
