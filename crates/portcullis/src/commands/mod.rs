//! The words of the command line, one file each.

pub(crate) mod api_key;
pub(crate) mod ask;
pub(crate) mod audit;
pub(crate) mod ca;
mod certificates;
pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod loaded;
pub(crate) mod policy;
pub(crate) mod schema;
pub(crate) mod up;

use std::error::Error;
use std::process::ExitCode;

/// How a command ended; an error is printed with its causes and ends with status 1.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error>>;
