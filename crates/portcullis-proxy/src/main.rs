//! The data plane alone: what runs at the edge or beside a service, with nothing else linked in.
//!
//! INVARIANT: it takes generations from one socket, under one public key, of one epoch, and from nowhere else.
//!
//! Not here: the request line (`portcullis-dataplane`), who starts this (`portcullis up`).

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use portcullis_dataplane::Edge;
use portcullis_telemetry::{Chain, Level, Log, LogForm};
use rustix::process::{Signal, set_parent_process_death_signal};

#[global_allocator]
static ALLOCATOR: portcullis_allocator::Allocator = portcullis_allocator::ALLOCATOR;

/// The data plane of Portcullis: serves what *control* tells it to, and keeps serving when that is gone.
#[derive(Debug, Parser)]
#[command(name = "portcullis-proxy", version, max_term_width = 100)]
struct Arguments {
    /// The unix socket of *control*.
    #[arg(long, value_name = "PATH")]
    link: PathBuf,
    /// The key that generations are signed with, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    public_key: [u8; 32],
    /// The supervisor's life that is followed.
    #[arg(long, value_name = "NUMBER")]
    epoch: u64,
    /// End when the process that started this one ends.
    #[arg(long)]
    with_parent: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere to say that this failed.
            let _ = writeln!(std::io::stderr(), "portcullis-proxy: error: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if arguments.with_parent {
        set_parent_process_death_signal(Some(Signal::TERM))?;
    }
    let edge = Edge { link: arguments.link, public: arguments.public_key, epoch: arguments.epoch };
    let log = Arc::new(Log::to_stderr("edge", LogForm::Text, Level::Notice));
    Ok(portcullis_dataplane::run(edge, log)?)
}

fn public_key(text: &str) -> Result<[u8; 32], &'static str> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or("expected 64 hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(key: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([
            "portcullis-proxy",
            "--link",
            "/run/link.sock",
            "--epoch",
            "7",
            "--public-key",
            key,
        ])
    }

    #[test]
    fn f3_a_key_of_another_length_is_refused() {
        let good = parsed(&"0a".repeat(32)).expect("64 digits");
        assert_eq!((good.public_key, good.epoch), ([10; 32], 7));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64)] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
