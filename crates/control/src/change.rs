//! The change line: read, check everything, compile, sign, publish, record.
//!
//! INVARIANT: all or nothing: a configuration with one problem changes nothing, and every problem is told.
//! INVARIANT: each attempt that differs from what is in force is an event with the hash of what was tried.
//! INVARIANT: what cannot be reloaded is a problem, not ignored.
//!
//! Not here: noticing that files changed (`files`), sending (`publish`).
//!
//! Sources: SS028-11.3.1; DESIGN §4 (generations), §6; threats B13, F7.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::plan::Digest;
use portcullis_config::{Plan, load, not_reloadable};
use portcullis_core::{Generation, Now, Problems, RequestId, UnixMillis};
use portcullis_evidence::SafeText;
use portcullis_evidence::event::{Actor, Change, ChangeKind, Event, Verdict};
use portcullis_snapshot::keys::Fetched;
use portcullis_snapshot::signed::{Header, Kind, Signed, Signer};
use portcullis_snapshot::{Compiled, compile, pack_plan};
use portcullis_telemetry::journal::Recorder;

use crate::files::DiskFiles;

/// How long a generation is good for. It is signed anew long before that.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3_600);

/// What is in force and how the next comes about.
pub struct Changes {
    config: PathBuf,
    files: DiskFiles,
    signer: Signer,
    epoch: u64,
    plans: Generation,
    keys: Generation,
    in_force: Option<(Digest, Compiled)>,
}

/// What an attempt came to.
#[derive(Debug)]
pub enum Attempt {
    /// The files say what is in force already.
    Same,
    /// Something new, signed and ready.
    New(Box<Signed>, Arc<Plan>),
}

impl Changes {
    /// Nothing is in force yet.
    #[must_use]
    pub fn new(config: PathBuf, signer: Signer, epoch: u64) -> Self {
        let files = DiskFiles::new(&config);
        Self { config, files, signer, epoch, plans: Generation(0), keys: Generation(0), in_force: None }
    }

    /// Whether a file changed since it was read.
    #[must_use]
    pub fn stale(&self) -> bool {
        self.files.changed()
    }

    /// The hash of the configuration in force.
    #[must_use]
    pub fn hash(&self) -> Option<Digest> {
        self.in_force.as_ref().map(|(hash, _)| *hash)
    }

    /// Reads the files again, and makes a generation of them if they say something new.
    ///
    /// # Errors
    /// Every problem; what is in force stays.
    pub fn attempt(&mut self, fetched: &Arc<Fetched>, now: UnixMillis) -> Result<Attempt, Problems> {
        let root = DiskFiles::root_name(&self.config);
        let plan = Arc::new(load(&root, &self.files)?);
        let hash = plan.hash();
        let before = self.in_force.as_ref().map(|(_, compiled)| compiled);
        // The hash is that of what crosses to data planes, and the authority's secret does not.
        if self.hash() == Some(hash) && before.is_some_and(|before| before.plan.ca == plan.ca) {
            return Ok(Attempt::Same);
        }
        if let Some(before) = before {
            not_reloadable(&root, &before.plan, &plan).into_result(())?;
        }
        let number = self.plans.next();
        let compiled = compile(Arc::clone(&plan), Arc::clone(fetched), number, before)?;
        let signed = self.sign(&plan, number, now).map_err(|text| one_problem(&root, &text))?;
        self.plans = number;
        self.in_force = Some((hash, compiled));
        Ok(Attempt::New(Box::new(signed), plan))
    }

    /// Signs what is in force again, so that it does not run out.
    #[must_use]
    pub fn renew(&mut self, now: UnixMillis) -> Option<Signed> {
        let plan = Arc::clone(&self.in_force.as_ref()?.1.plan);
        let number = self.plans.next();
        let signed = self.sign(&plan, number, now).ok()?;
        self.plans = number;
        Some(signed)
    }

    /// Signs key sets.
    #[must_use]
    pub fn sign_keys(&mut self, fetched: &Fetched, now: UnixMillis) -> Option<Signed> {
        let payload = serde_json::to_string(fetched).ok()?;
        self.keys = self.keys.next();
        Some(self.signer.sign(self.header(Kind::Keys, self.keys, now), payload))
    }

    fn sign(&self, plan: &Plan, number: Generation, now: UnixMillis) -> Result<Signed, String> {
        let packed = pack_plan(plan).map_err(|fault| fault.to_string())?;
        let payload = String::from_utf8(packed.expose().clone()).map_err(|fault| fault.to_string())?;
        Ok(self.signer.sign(self.header(Kind::Plan, number, now), payload))
    }

    fn header(&self, kind: Kind, number: Generation, now: UnixMillis) -> Header {
        Header { kind, epoch: self.epoch, number, not_after: now.plus(GOOD_FOR) }
    }

    /// Records what became of an attempt.
    pub fn record(&self, recorder: &Recorder, made: &Made<'_>, now: Now, id: RequestId) {
        let event = Event::Change(Change {
            kind: ChangeKind::Config,
            generation: self.plans,
            hash: made.hash.map_or([0; 32], |hash| *hash.as_bytes()),
            verdict: match made.problems {
                None => Verdict::Accepted,
                Some(problems) => {
                    Verdict::Refused { problems: u32::try_from(problems.count()).unwrap_or(u32::MAX) }
                }
            },
            actor: made.actor,
            detail: SafeText::new(made.detail),
        });
        let _ = recorder.record(now, id, &event);
    }
}

/// An attempt, for the record.
pub struct Made<'m> {
    /// Who or what asked for it.
    pub actor: Actor<'m>,
    /// The hash of what was read, if it could be read.
    pub hash: Option<Digest>,
    /// What was wrong.
    pub problems: Option<&'m Problems>,
    /// The first problem, or nothing.
    pub detail: &'m str,
}

fn one_problem(root: &str, text: &str) -> Problems {
    let mut problems = Problems::default();
    problems.add(&portcullis_core::Location::file(root), "", text);
    problems
}
