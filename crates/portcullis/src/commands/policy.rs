//! `portcullis policy`: tables of questions, and what policies may say.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_policy::TrialTable;
use portcullis_snapshot::authorisation;

use super::Outcome;
use super::loaded::{LoadError, Loaded, Told};
use crate::screen::Screen;

/// Test policies, and print what they may say.
#[derive(Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Ask the rule book a table of questions, and fail on an answer that is otherwise than expected.
    Test {
        /// The table, YAML: a list `tests`, each with caller, service, route, method, path and what to expect.
        file: PathBuf,
        /// The configuration.
        #[arg(short, long, default_value = "portcullis.yaml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Print the Cedar schema that the policies are checked against, with the routes.
    Schema {
        /// The configuration.
        #[arg(short, long, default_value = "portcullis.yaml", value_name = "FILE")]
        config: PathBuf,
    },
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the table `{path}`")]
struct TableError {
    path: PathBuf,
    #[source]
    cause: std::io::Error,
}

impl Policy {
    /// Prints the outcome.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        match self.word {
            Word::Test { file, config } => test(&file, &config, screen),
            Word::Schema { config } => {
                let loaded = Loaded::read(&config)?;
                screen.line(portcullis_policy::schema_text(&authorisation::source(&loaded.plan)).trim_end());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn test(file: &Path, config: &Path, screen: &Screen) -> Outcome {
    let text = std::fs::read_to_string(file).map_err(|cause| TableError { path: file.to_owned(), cause })?;
    let table =
        TrialTable::parse(&file.to_string_lossy(), &text).map_err(|p| LoadError::Problems(Told(p)))?;
    let compiled = Loaded::read(config)?.compile()?;
    let report = table.run(compiled.authorisation.book());
    screen.line(report.to_string().trim_end());
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
