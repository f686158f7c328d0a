//! `portcullis import`: routes out of somebody else's document.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_contract::{Contract, import};
use portcullis_core::Name;

use super::Outcome;
use super::loaded::{LoadError, Told};
use crate::screen::Screen;

/// Make routes out of other documents.
#[derive(Args)]
pub(crate) struct Import {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Print the `services` entry for an OpenAPI document; what it does not say is marked with `?`.
    Openapi {
        /// The document, OpenAPI 3.0 or 3.1, YAML or JSON.
        file: PathBuf,
        /// The service's name.
        #[arg(long, value_parser = name)]
        service: Name,
    },
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the document `{path}`")]
struct DocumentError {
    path: PathBuf,
    #[source]
    cause: std::io::Error,
}

impl Import {
    /// Prints the routes.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        let Word::Openapi { file, service } = self.word;
        let text =
            std::fs::read_to_string(&file).map_err(|cause| DocumentError { path: file.clone(), cause })?;
        let contract =
            Contract::parse(&file.to_string_lossy(), &text).map_err(|p| LoadError::Problems(Told(p)))?;
        screen.line(import::routes(&contract, &service).trim_end());
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|fault| fault.to_string())
}
