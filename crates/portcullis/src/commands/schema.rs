//! `portcullis schema`: the JSON Schema of the configuration, for editors.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Outcome;
use crate::screen::Screen;

/// Print the JSON Schema of the configuration, for editors and other tools.
#[derive(Args)]
pub(crate) struct Schema {
    /// Of which file.
    #[arg(value_enum, default_value = "configuration")]
    of: Of,
}

#[derive(Clone, Copy, ValueEnum)]
enum Of {
    /// The configuration itself.
    Configuration,
    /// A file of API keys.
    ApiKeys,
}

impl Schema {
    /// Prints it.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        let schema = match self.of {
            Of::Configuration => portcullis_config::schema(),
            Of::ApiKeys => portcullis_config::schema::key_file_schema(),
        };
        screen.line(serde_json::to_string_pretty(&schema)?);
        Ok(ExitCode::SUCCESS)
    }
}
