//! System calls: memory files, mappings, and access to a file without a mapping.

pub(crate) mod file;
pub(crate) mod mapping;
pub(crate) mod owner;
pub(crate) mod unmapped;
