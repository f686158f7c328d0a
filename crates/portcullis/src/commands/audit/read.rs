//! Opens a record and shows it.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use portcullis_evidence::Record;
use portcullis_telemetry::home;
use portcullis_telemetry::journal::Directory;
use portcullis_telemetry::journal::read::{JournalReader, Query};
use portcullis_telemetry::keys::{self, JournalKeysError};

use super::Role;
use crate::commands::Outcome;
use crate::commands::loaded::Loaded;
use crate::screen::Screen;

/// Between two looks at the end of the record.
const LOOK: Duration = Duration::from_millis(200);

/// Why a record cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenRecordError {
    #[error("there is no record in `{path}`; has the gateway run with this configuration?")]
    Nothing {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the record's keys cannot be had")]
    Keys(#[from] JournalKeysError),
}

/// A reader of the record of `of`, beside whoever writes it.
pub(super) fn reader(loaded: &Loaded, of: Role) -> Result<JournalReader, OpenRecordError> {
    let folder = loaded.state().join(of.word());
    let path = folder.join(home::JOURNAL);
    let nothing = |cause| OpenRecordError::Nothing { path: path.clone(), cause };
    let storage = Directory::open_to_read(&path).map_err(nothing)?;
    let keys = match &loaded.plan.audit.key {
        Some(secret) => keys::derive(of.word(), secret.expose())?,
        None => {
            let file = folder.join(home::KEY);
            // Reading must not draw a key where there is none.
            std::fs::metadata(&file).map_err(nothing)?;
            keys::derive(of.word(), keys::read_or_draw(&file)?.expose())?
        }
    };
    Ok(JournalReader::new(Box::new(storage), keys.seal, keys.sign.verifier()))
}

/// Shows what is asked for.
pub(super) fn query(loaded: &Loaded, of: Role, query: &Query, screen: &Screen) -> Outcome {
    reader(loaded, of)?.query(query, |_, line| show(line, screen))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what is written from now on, until somebody ends it.
pub(super) fn tail(loaded: &Loaded, of: Role, screen: &Screen) -> Outcome {
    let mut tail = reader(loaded, of)?.tail()?;
    let mut each = |_: &Record, line: &[u8]| show(line, screen);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
                () = tokio::time::sleep(LOOK) => tail.poll(&mut each)?,
            }
        }
    })
}

fn show(line: &[u8], screen: &Screen) -> ControlFlow<()> {
    screen.line(String::from_utf8_lossy(line).trim_end());
    ControlFlow::Continue(())
}
