//! The door: one program, whose first word says what it is to be.
//!
//! INVARIANT: the hidden words `control` and `edge` are the roles that `up` starts, each its own process; no process is
//! two of them.
//!
//! Not here: what a word does (`commands`, `demo`), how a role is started (`roles`).

mod commands;
mod demo;
mod roles;
mod screen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use portcullis_telemetry::Chain;

use crate::commands::{Outcome, api_key, audit, ca, check, explain, import, init, policy, schema, up};
use crate::screen::Screen;

#[global_allocator]
static ALLOCATOR: portcullis_allocator::Allocator = portcullis_allocator::ALLOCATOR;

/// Makes a set of microservices meet NIST SP 800-204 and DWP SS-028, and proves it.
#[derive(Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Init(init::Init),
    Up(up::Up),
    Check(check::Check),
    Schema(schema::Schema),
    Policy(policy::Policy),
    Explain(explain::Explain),
    Import(import::Import),
    Audit(audit::Audit),
    ApiKey(api_key::ApiKey),
    Ca(ca::Ca),
    #[command(hide = true)]
    Control(roles::Control),
    #[command(hide = true)]
    Edge(roles::Edge),
    #[command(hide = true)]
    DemoService(demo::DemoService),
}

impl Command {
    fn run(self, screen: &Screen) -> Outcome {
        match self {
            Self::Demo(command) => command.run(screen),
            Self::Init(command) => command.run(screen),
            Self::Up(command) => command.run(screen),
            Self::Check(command) => command.run(screen),
            Self::Schema(command) => command.run(screen),
            Self::Policy(command) => command.run(screen),
            Self::Explain(command) => command.run(screen),
            Self::Import(command) => command.run(screen),
            Self::Audit(command) => command.run(screen),
            Self::ApiKey(command) => command.run(screen),
            Self::Ca(command) => command.run(screen),
            Self::Control(role) => role.run(),
            Self::Edge(role) => role.run(),
            Self::DemoService(role) => role.run(),
        }
    }
}

fn main() -> ExitCode {
    let screen = Screen::standard();
    Cli::parse().command.run(&screen).unwrap_or_else(|error| {
        screen.error(&Chain(&*error).to_string());
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// `golden/help.txt` is what people read; when a text changes on purpose, the failing test prints the new one.
    #[test]
    fn the_help_of_every_command_is_as_agreed() {
        let mut told = String::new();
        let mut command = Cli::command();
        command.build();
        write_help(&mut command, "", &mut told);
        assert!(told == include_str!("golden/help.txt"), "golden/help.txt should read:\n{told}");
    }

    fn write_help(command: &mut clap::Command, path: &str, told: &mut String) {
        let path = format!("{path} {}", command.get_name());
        told.push_str(&format!("${path} --help\n{}\n", plain(&command.render_long_help().to_string())));
        for inner in command.get_subcommands_mut().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
            write_help(inner, &path, told);
        }
    }

    /// Without the spaces that end some lines.
    fn plain(help: &str) -> String {
        help.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
