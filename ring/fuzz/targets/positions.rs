//! Any position of the reader: the writer reclaims at most a ring of bytes and starts anew.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tracestitch_ring::fuzzing::positions(input));
