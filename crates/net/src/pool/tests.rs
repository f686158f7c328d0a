//! Against peers in this process.
