//! What the end-to-end tests stand on. The tests themselves are in `tests/e2e/`, the functions
//! they run in `tests/functions/` and `examples/`.
//!
//! | module | what |
//! |---|---|
//! | [`binaries`] | builds the programs under test, takes their paths from cargo |
//! | [`tools`] | fetches AWS's Runtime Interface Emulator, once |
//! | [`rie`] | a function, and the extension if wanted, under that emulator |
//! | [`invocation`] | an event for that function, and its answer |
//! | [`shim`] | what Lambda does and that emulator does not: the trace header of the runtime |
//! | [`fake_aws`] | an AWS endpoint that answers as told and remembers what it was asked |
//! | [`world`] | daemon, AWS endpoint and functions of one test |
//! | [`journal`] | what happened in a run, as function and test wrote it down |
//! | [`oracle`] | which documents must have arrived, by that journal |
//! | [`outline`] | a trace in a few words, to compare with |
//! | [`wait`] | waiting on a condition, with a deadline |
//!
//! The helpers panic when the machine lacks something or when a deadline is over: each caller is
//! a test, and the message says what to do.

pub mod binaries;
pub mod fake_aws;
mod http;
pub mod invocation;
pub mod journal;
pub mod oracle;
pub mod outline;
pub mod rie;
pub mod shim;
pub mod tools;
pub mod wait;
pub mod world;
