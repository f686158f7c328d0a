//! The request line.
