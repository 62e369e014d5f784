//! The subcommands that read traces, from a local server or from AWS.
//!
//! All of them use the X-Ray API. With `--json` each writes one object with the member `version`,
//! which changes when a member changes its meaning or goes.

mod check;
mod follow;
mod map;
mod period;
mod read;
mod serve;
mod source;
mod stats;
mod verify;

pub use check::CheckOptions;
pub use follow::FollowOptions;
pub use map::MapOptions;
pub use read::{TraceOptions, TracesOptions};
pub use serve::ServeOptions;
pub use stats::StatsOptions;
pub use verify::VerifyOptions;
