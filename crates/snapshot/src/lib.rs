//! Compiles immutable generations out of the engines, and signs and checks them on the wire.
pub mod link;
pub mod router;
pub mod signed;
