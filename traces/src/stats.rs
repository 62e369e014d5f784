//! Statistics of calls.
