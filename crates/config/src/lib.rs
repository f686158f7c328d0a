//! The YAML model with spans, schema and cross-checks; makes a [`Plan`] that is never doubted again.
//!
//! ```text
//! text ── yaml::tree ── raw (keys, schema) ── check (files, clauses) ── Plan ── crossing ── another process
//!          E9 budgets    shape, spans          names, order, overlap     sections, hash
//! ```
//!
//! INVARIANT: this room opens no file, reads no environment and knows no clock; contents come through [`Files`].
//! INVARIANT: [`load`] reports everything that is wrong at once, and returns a plan only when nothing is.
//! INVARIANT: no problem, no `Debug` and no plain serialisation shows a byte of a secret (C13).
//!
//! Not here: compiling (`portcullis-snapshot`), watching files and reloading (`portcullis-control`).
//!
//! Sources: DESIGN §6; SS028-11.2.10c; threats B1, B4, B7, B11, C12, C13, E9.

pub mod crossing;
pub mod files;
pub mod fuzzing;
pub mod plan;
pub mod reload;
pub mod schema;
pub mod sections;

mod check;
mod raw;
mod yaml;

#[cfg(test)]
mod tests;

use portcullis_core::Problems;

pub use files::{FileError, FileFacts, Files, MemoryFiles, Source};
pub use plan::Plan;
pub use reload::not_reloadable;
pub use schema::schema;
pub use sections::Sections;

use yaml::site::Report;
use yaml::{Read, Site};

/// Reads `root_file` and all that it names, checks everything, and makes a plan.
///
/// # Errors
/// All problems, in the order of the files.
pub fn load(root_file: &str, files: &dyn Files) -> Result<Plan, Problems> {
    let mut report = Report::default();
    let plan = read(root_file, files, &mut report);
    let problems = report.finish();
    match plan {
        Some(plan) => problems.into_result(plan),
        None if problems.is_empty() => {
            // Every `None` follows a report; should one not, the answer is still no.
            let mut problems = Problems::default();
            problems.add(&portcullis_core::Location::file(root_file), "", "cannot be read");
            Err(problems)
        }
        None => match problems.into_result(()) {
            Err(problems) => Err(problems),
            Ok(()) => Err(Problems::default()),
        },
    }
}

fn read(root_file: &str, files: &dyn Files, report: &mut Report) -> Option<Plan> {
    let site = Site::root(root_file);
    let mut loader = files::Loader::new(files);
    let text = loader.yaml(root_file, &site, report)?;
    let node = yaml::tree::parse(&text.text, &site, report)?;
    let raw = raw::root::RawRoot::read(&node, &site.at(node.mark), report)?;
    check::plan(&raw, &mut check::Context { files: &mut loader, report })
}
