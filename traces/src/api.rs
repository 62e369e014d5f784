//! The X-Ray API over a store.

mod guard;

pub use guard::refuse_foreign;
