//! The X-Ray API over a store.
