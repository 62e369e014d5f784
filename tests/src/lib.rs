//! Shared parts of the end-to-end tests. The tests are in `tests/e2e/` and `tests/faults/`, the
//! functions under test in `tests/functions/` and `examples/`.
//!
//! | module | contents |
//! |---|---|
//! | [`binaries`] | builds the programs under test and finds them |
//! | [`tools`] | fetches AWS's Runtime Interface Emulator |
//! | [`rie`] | runs a function, with or without the extension, under that emulator |
//! | [`invocation`] | an event for that function, and the function's answer |
//! | [`shim`] | adds the runtime's trace header, which that emulator does not send |
//! | [`fake_aws`] | an AWS endpoint that follows a script and records its requests |
//! | [`world`] | daemon, AWS endpoint and functions of one test |
//! | [`journal`] | the record that function and test keep of a run |
//! | [`facts`] | annotations, metadata and errors in that record |
//! | [`oracle`] | the documents that must have arrived according to that record |
//! | [`outline`] | a trace as a few lines of text, for comparison |
//! | [`node`] | installs the X-Ray SDK for Node.js |
//! | [`python`] | installs the Python clients of X-Ray |
//! | [`wait`] | waits for a condition, with a deadline |
//!
//! The helpers panic when the machine lacks something or when a deadline has passed: each caller
//! is a test, and the message says what to do.

pub mod binaries;
pub mod facts;
pub mod fake_aws;
mod http;
pub mod invocation;
pub mod journal;
pub mod node;
pub mod oracle;
pub mod outline;
mod packages;
pub mod python;
pub mod rie;
pub mod shim;
pub mod tools;
pub mod wait;
pub mod world;
