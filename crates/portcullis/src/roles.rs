//! The role processes: how *control* and *edge* are started, and what they do when they are.
//!
//! INVARIANT: the key under which generations are signed is drawn here for one life of the supervisor and reaches
//! *control* alone, on its standard input; the edge gets the public half (DESIGN §4, Generations).
//! INVARIANT: a role ends when its supervisor ends, however that happens.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use portcullis_control::ControlError;
use portcullis_control::supervise::{self, Role};
use portcullis_core::Sensitive;
use portcullis_snapshot::signed::Signer;
use portcullis_telemetry::{Level, Log, LogForm};
use rustix::process::Signal;

use crate::commands::Outcome;

/// The change line: reload, issuers, admin, monitor. Started by `up`.
#[derive(Args)]
pub(crate) struct Control {
    /// The configuration.
    #[arg(long)]
    config: PathBuf,
    /// The socket for data planes.
    #[arg(long)]
    link: PathBuf,
    /// The supervisor's life.
    #[arg(long)]
    epoch: u64,
}

/// The data plane, where no `portcullis-proxy` lies beside this program. Started by `up`.
#[derive(Args)]
pub(crate) struct Edge {
    /// The socket of *control*.
    #[arg(long)]
    link: PathBuf,
    /// The key that generations are signed with, 64 hexadecimal digits.
    #[arg(long, value_parser = public_key)]
    public_key: [u8; 32],
    /// The supervisor's life.
    #[arg(long)]
    epoch: u64,
    /// End when the process that started this one ends.
    #[arg(long)]
    with_parent: bool,
}

impl Control {
    /// Runs until told to end.
    pub(crate) fn run(self) -> Outcome {
        end_with_parent()?;
        let mut key = Vec::new();
        std::io::stdin().take(4_096).read_to_end(&mut key)?;
        let control = portcullis_control::Control {
            config: self.config,
            link: self.link,
            epoch: self.epoch,
            key: Sensitive::new(key),
        };
        match portcullis_control::run(control, log("control")) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error @ ControlError::Configuration(_)) => {
                crate::screen::Screen::standard().error(&error.to_string());
                Ok(ExitCode::from(supervise::GIVES_UP))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Edge {
    /// Runs until told to end.
    pub(crate) fn run(self) -> Outcome {
        if self.with_parent {
            end_with_parent()?;
        }
        let edge = portcullis_dataplane::Edge { link: self.link, public: self.public_key, epoch: self.epoch };
        portcullis_dataplane::run(edge, log("edge"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What a role may take to end beyond its drain.
const CLOSING: Duration = Duration::from_secs(10);

/// Starts both roles and keeps them running until a signal asks for an end; requests then have `drain` to finish.
pub(crate) fn supervise(config: &Path, link: &Path, drain: Duration) -> Outcome {
    let key = Signer::draw()?;
    let public = Signer::from_pkcs8(&key)?.public();
    let mut epoch = [0; 8];
    aws_lc_rs::rand::fill(&mut epoch).map_err(|_| std::io::Error::other("the system gives no randomness"))?;
    let epoch = u64::from_be_bytes(epoch).to_string();
    let ours = std::env::current_exe()?;
    let words =
        |words: &[&dyn AsRef<std::ffi::OsStr>]| words.iter().map(|w| OsString::from(w.as_ref())).collect();
    let control = Role {
        name: "control",
        program: ours.clone(),
        arguments: words(&[&"control", &"--config", &config, &"--link", &link, &"--epoch", &epoch]),
        input: Some(key),
        patience: CLOSING,
    };
    let public = hex(&public);
    let mut arguments: Vec<OsString> =
        words(&[&"--link", &link, &"--public-key", &public, &"--epoch", &epoch, &"--with-parent"]);
    let beside = ours.with_file_name("portcullis-proxy");
    let program = if beside.is_file() { beside } else { ours };
    if !program.ends_with("portcullis-proxy") {
        arguments.insert(0, OsString::from("edge"));
    }
    let edge = Role { name: "edge", program, arguments, input: None, patience: drain + CLOSING };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(supervise::run(control, edge, &log("up"))) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

/// Asks the kernel to end this process when the one that started it ends, so that nothing outlives a supervisor that
/// was killed.
pub(crate) fn end_with_parent() -> std::io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?)
}

fn log(role: &'static str) -> Arc<Log> {
    Arc::new(Log::to_stderr(role, LogForm::Text, Level::Notice))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn public_key(text: &str) -> Result<[u8; 32], String> {
    let nibble = |c: u8| char::from(c).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let bytes: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect();
    bytes.and_then(|b| b.try_into().ok()).ok_or_else(|| "expected 64 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_has_exactly_64_digits() {
        let key: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 7).expect("small"));
        assert_eq!(public_key(&hex(&key)), Ok(key));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64), &"é".repeat(32)] {
            assert!(public_key(bad).is_err(), "{bad}");
        }
    }
}
