//! The story of one request across queues.
