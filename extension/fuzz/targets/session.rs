//! Checks that no function can harm the extension through shared memory or its socket.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tracestitch_extension::fuzzing::session(input));
