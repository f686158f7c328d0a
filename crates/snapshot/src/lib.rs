//! Compiles immutable generations out of the engines, and signs and checks them on the wire.
