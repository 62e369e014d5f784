//! Any file: a reader returns at most a ring of bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tracestitch_ring::fuzzing::file(input));
