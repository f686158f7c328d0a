//! The JSON Schema of the configuration, from the same declarations that read it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::raw::root::RawRoot;

/// The JSON Schema (2020-12) of the root file, for editors and for `portcullis schema`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawRoot>();
    schema.insert("title".into(), "Portcullis configuration".into());
    schema.to_value()
}

/// The JSON Schema of a file of API keys.
#[must_use]
pub fn key_file_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<crate::raw::identify::RawKeyFile>().to_value()
}
