//! `portcullis check`: everything that is wrong, or that nothing is.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use portcullis_policy::SliceReport;
use portcullis_snapshot::Compiled;

use super::Outcome;
use super::loaded::{LoadError, Loaded};
use crate::screen::{Mood, Screen};

/// Check a configuration and everything it names, and print every problem with its place.
///
/// Loads and compiles as the gateway would: keys, certificates, routes, policies, contracts. Status 0 when it would be
/// taken, 1 when not.
#[derive(Args)]
pub(crate) struct Check {
    /// The configuration.
    #[arg(short, long, default_value = "portcullis.yaml", value_name = "FILE")]
    config: PathBuf,
}

impl Check {
    /// Prints what was found.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        let compiled = match Loaded::read(&self.config).and_then(|loaded| loaded.compile()) {
            Ok(compiled) => compiled,
            Err(LoadError::Problems(told)) => {
                screen.line(told.0.to_string().trim_end());
                screen.line(format!("{}: {} problems", screen.paint(Mood::Bad, "refused"), told.0.count()));
                return Ok(ExitCode::FAILURE);
            }
            Err(error) => return Err(error.into()),
        };
        warn(&compiled.authorisation.book().slice_report(), screen);
        screen.line(format!("{}: {}", screen.paint(Mood::Good, "ok"), summary(&compiled)));
        Ok(ExitCode::SUCCESS)
    }
}

fn warn(report: &SliceReport, screen: &Screen) {
    if report.is_alarming() || report.closed_count > 0 {
        screen.line(format!("{}:", screen.paint(Mood::Care, "look at")));
        screen.line(report.to_string().trim_end());
    }
}

fn summary(compiled: &Compiled) -> String {
    let plan = &compiled.plan;
    let routes: usize = plan.services.iter().map(|service| service.routes.len()).sum();
    format!(
        "{routes} routes, {} policy files, {} services, {} issuers, hash {}",
        plan.policies.len(),
        plan.services.len(),
        plan.issuers.len(),
        plan.hash()
    )
}
