//! The keys, as people write them, each documented where it is declared.
//!
//! The documentation of a key becomes its description in the schema. A section that may be left out has a safe
//! default for each of its keys; a key without a safe default is `required`.
//!
//! Not here: whether values fit together (`check`).

pub(crate) mod gateway;
pub(crate) mod identify;
pub(crate) mod operate;
pub(crate) mod root;
pub(crate) mod service;
pub(crate) mod upstream;
pub(crate) mod values;

pub(crate) use values::{FilePath, SecretSource};
