//! The service graph.
