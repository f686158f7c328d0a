//! Where a process keeps its journal on this machine: `<state>/<role>/journal`, with its key where the plan says.
//!
//! INVARIANT: the folder is readable by its owner alone.
//!
//! Not here: the journal itself (`journal`), its keys (`keys`).

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::Clock;

use crate::journal::{Directory, Journal, JournalParts, JournalPlan, Mirror, OpenError};
use crate::keys::{self, JournalKeysError};
use crate::{Log, Metrics};

/// What a journal at home needs.
pub struct Home<'h> {
    /// The folder of the role.
    pub folder: &'h Path,
    /// The name that its checkpoints carry.
    pub origin: &'h str,
    /// The secret of its keys; without one, one is drawn and kept beside it.
    pub secret: Option<&'h [u8]>,
    /// Its numbers.
    pub plan: JournalPlan,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Where it complains.
    pub log: Arc<Log>,
    /// Where each line goes besides.
    pub mirror: Option<Mirror>,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The folder.
    #[error("the journal's folder cannot be used")]
    Folder(#[source] io::Error),
    /// The keys.
    #[error("the journal's keys cannot be had")]
    Keys(#[source] JournalKeysError),
    /// The journal.
    #[error("the journal cannot be opened")]
    Open(#[source] OpenError),
}

/// The name of the folder that holds the segments.
pub const JOURNAL: &str = "journal";
/// The name of the file that holds a drawn secret.
pub const KEY: &str = "journal.key";

impl Home<'_> {
    /// Opens the journal.
    ///
    /// # Errors
    /// Folder, keys or journal cannot be used; what cannot be recorded must not be served.
    pub fn open(self) -> Result<Journal, HomeError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(self.folder).map_err(HomeError::Folder)?;
        let keys = match self.secret {
            Some(secret) => keys::derive(self.origin, secret),
            None => {
                keys::read_or_draw(&self.folder.join(KEY)).and_then(|s| keys::derive(self.origin, s.expose()))
            }
        };
        let storage = Directory::open(&self.folder.join(JOURNAL)).map_err(HomeError::Folder)?;
        let parts = JournalParts {
            storage: Box::new(storage),
            clock: self.clock,
            metrics: self.metrics,
            log: self.log,
            mirror: self.mirror,
        };
        Journal::open(&self.plan, keys.map_err(HomeError::Keys)?, parts).map_err(HomeError::Open)
    }
}
