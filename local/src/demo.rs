//! Demonstrations with the example functions, to be run inside the workspace of tracestitch.
//!
//! Each builds the functions with cargo, sends orders through them, prints the traces to standard
//! output and checks them.

mod chain;
mod orders;
mod place;
mod unmet;
mod vendor;
mod verify;
mod world;

pub use chain::chain;
pub use orders::orders;
pub use unmet::Unmet;
