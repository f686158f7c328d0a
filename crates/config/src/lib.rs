//! The YAML model with spans, schema and cross-checks; makes a Plan that is never doubted again.

pub mod crossing;
pub mod plan;

pub use plan::Plan;
