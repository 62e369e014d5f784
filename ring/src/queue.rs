//! The queue of frames in memory that two processes share: logic on words, without a system call
//! and without `unsafe`, so that loom and Miri can run it over memory of the heap.
//!
//! `sender` and `receiver` use `frames` and `source`, which use `copy` and `layout`.

mod copy;
mod frames;
pub(crate) mod layout;
pub(crate) mod receiver;
pub(crate) mod sender;
pub(crate) mod source;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
