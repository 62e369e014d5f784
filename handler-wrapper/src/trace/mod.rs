//! The core: traces, the documents recorded in them, and the context of the running code.

pub(crate) mod ambient;
pub(crate) mod capture;
pub(crate) mod changes;
pub(crate) mod context;
pub(crate) mod deadline;
pub(crate) mod failure;
pub(crate) mod followers;
pub(crate) mod init;
pub(crate) mod open;
pub(crate) mod outlet;
pub(crate) mod panic_hook;
pub(crate) mod subsegment;
pub(crate) mod tail_sampled;
#[expect(
    clippy::module_inception,
    reason = "the type has this name, and the folder is named after it"
)]
pub(crate) mod trace;
pub(crate) mod tracer;
