//! The one way in which a plan and its secrets leave this process.
//!
//! A plan serialises without its secrets: each shows its digest. [`pack`] adds a table of the secrets behind
//! those digests; [`open`] puts them back, and fails when one is missing or is not what its digest says. The
//! bytes are for an authenticated channel between two of our own processes; whoever sends them signs them.
//!
//! INVARIANT: outside a call of [`pack`] or [`open`] no code can serialise or deserialise the bytes of a secret.
//! INVARIANT: no map of secrets outlives the call.
//!
//! Not here: the signature over a generation and the socket (`portcullis-control`, `portcullis-snapshot`).
//!
//! Sources: SS028-11.2.10c; threat C13.

use std::cell::RefCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::{Location, Sensitive};
use serde::{Deserialize, Serialize, Serializer};

use crate::plan::{Digest, Plan, Secret};

/// Why bytes are not a plan.
#[derive(Debug, thiserror::Error)]
pub enum CrossingError {
    /// The plan could not be written.
    #[error("the plan cannot be written for crossing")]
    Pack(#[source] serde_json::Error),
    /// The bytes are not what [`pack`] writes.
    #[error("the bytes are not a plan of this version")]
    Open(#[source] serde_json::Error),
    /// A secret is not what its digest says.
    #[error("the secret with digest `{0}` is missing or damaged")]
    Secret(Digest),
}

/// Secrets by digest, in the written form.
type Table = BTreeMap<Digest, Secret>;

/// What serialising does at the moment, on this thread.
enum Mode {
    /// Secrets show their digest and cannot be read.
    Closed,
    /// Secrets that are written are noted.
    Packing(Table),
    /// Secrets that are read are looked up.
    Opening(Table),
    /// A digest of a section is taken: places in files are left out.
    Section,
}

thread_local! {
    // A serializer has no room for a context of ours; this is that room, for the length of one call.
    static MODE: RefCell<Mode> = const { RefCell::new(Mode::Closed) };
}

/// Sets the mode for the length of one call, and back however that call ends.
struct Scope;

impl Scope {
    fn enter(mode: Mode) -> Self {
        MODE.with(|m| m.replace(mode));
        Self
    }

    fn leave(self) -> Mode {
        MODE.with(|m| m.replace(Mode::Closed))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        MODE.with(|m| m.replace(Mode::Closed));
    }
}

/// Notes a secret that is being written, if a crossing is being packed.
pub(crate) fn declare(secret: &Secret) {
    MODE.with(|m| {
        if let Mode::Packing(table) = &mut *m.borrow_mut() {
            table.insert(secret.digest(), secret.clone());
        }
    });
}

/// The secret behind a digest, if a crossing is being opened.
pub(crate) fn claim(digest: Digest) -> Option<Secret> {
    MODE.with(|m| match &*m.borrow() {
        Mode::Opening(table) => table.get(&digest).cloned(),
        _ => None,
    })
}

/// Writes a place in a file, or nothing while the digest of a section is taken: a comment that moves a route
/// down a line changes no decision.
pub(crate) fn place<S: Serializer>(at: &Location, out: S) -> Result<S::Ok, S::Error> {
    match MODE.with(|m| matches!(&*m.borrow(), Mode::Section)) {
        true => out.serialize_unit(),
        false => at.serialize(out),
    }
}

/// Runs `digest` with places in files left out.
pub(crate) fn without_places<T>(digest: impl FnOnce() -> T) -> T {
    let scope = Scope::enter(Mode::Section);
    let value = digest();
    scope.leave();
    value
}

#[derive(Serialize)]
struct Outgoing<'a> {
    plan: &'a serde_json::value::RawValue,
    secrets: Vec<Sealed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming<'a> {
    #[serde(borrow)]
    plan: &'a serde_json::value::RawValue,
    secrets: Vec<Sealed>,
}

/// One secret in the table, base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    digest: Digest,
    bytes: String,
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // Wiped on drop, like the bytes it stands for.
        drop(Sensitive::new(std::mem::take(&mut self.bytes)));
    }
}

/// Writes a plan with its secrets, for an authenticated channel to another of our processes.
///
/// # Errors
/// The plan could not be serialised, which no plan of [`crate::load`] causes.
pub fn pack(plan: &Plan) -> Result<Sensitive<Vec<u8>>, CrossingError> {
    let scope = Scope::enter(Mode::Packing(Table::new()));
    let written = serde_json::value::to_raw_value(plan);
    let mode = scope.leave();
    let table = match mode {
        Mode::Packing(table) => table,
        _ => Table::new(),
    };
    let plan = written.map_err(CrossingError::Pack)?;
    let secrets = table
        .into_iter()
        .map(|(digest, secret)| Sealed { digest, bytes: STANDARD.encode(secret.expose()) })
        .collect();
    serde_json::to_vec(&Outgoing { plan: &plan, secrets }).map(Sensitive::new).map_err(CrossingError::Pack)
}

/// Reads what [`pack`] wrote. The caller has checked who sent it.
///
/// # Errors
/// The bytes are of another form or version, or a secret is missing or damaged.
pub fn open(bytes: &[u8]) -> Result<Plan, CrossingError> {
    let incoming: Incoming<'_> = serde_json::from_slice(bytes).map_err(CrossingError::Open)?;
    let table = incoming.secrets.iter().map(unseal).collect::<Result<Table, _>>()?;
    let scope = Scope::enter(Mode::Opening(table));
    let plan = serde_json::from_str(incoming.plan.get()).map_err(CrossingError::Open);
    scope.leave();
    plan
}

fn unseal(sealed: &Sealed) -> Result<(Digest, Secret), CrossingError> {
    let damaged = || CrossingError::Secret(sealed.digest);
    let secret = Secret::new(STANDARD.decode(&sealed.bytes).map_err(|_| damaged())?);
    (secret.digest() == sealed.digest).then_some((sealed.digest, secret)).ok_or_else(damaged)
}
