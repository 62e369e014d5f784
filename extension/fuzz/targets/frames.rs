//! Checks that no frames lose or double a document, or hold an invocation without end.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tracestitch_extension::fuzzing::frames(input));
