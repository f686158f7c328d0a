//! The events that are not about traffic: changes, administration, alerts, issuers, the process, the record.
//!
//! Sources: SS028-11.1.5 (alerts), 11.6.2c (crashes), MS-SS-5.

use portcullis_core::{Generation, Name};

use crate::{SafeText, Source};

/// Who did something to the product itself.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// A local process, by the user id that the kernel vouches for (`SO_PEERCRED`).
    Uid(u32),
    /// A peer proven by mutual TLS.
    Peer(SafeText<'a>),
    /// A program on this machine, of which no more is known than its address.
    Local(Source),
    /// The file watcher, because the configuration's bytes changed.
    File,
    /// A signal.
    Signal,
    /// The product itself, by its own schedule.
    Itself,
}

words! {
    /// What was changed.
    ChangeKind {
        /// The whole configuration.
        Config = "config",
        /// Policies or revocations.
        Authorisation = "authorisation",
        /// Routes, limits or contracts.
        Routes = "routes",
        /// Certificates or roots.
        Tls = "tls",
        /// Keys that we sign with.
        Keys = "keys",
        /// Endpoints of a service.
        Endpoints = "endpoints",
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In force.
    Accepted,
    /// Not in force; the one before stays.
    Refused {
        /// How many problems were found.
        problems: u32,
    },
}

/// A generation was accepted or refused.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What kind of generation.
    pub kind: ChangeKind,
    /// Its number.
    pub generation: Generation,
    /// SHA-256 of its content.
    pub hash: [u8; 32],
    /// What became of it.
    pub verdict: Verdict,
    /// Who brought it.
    pub actor: Actor<'a>,
    /// The first problem, if it was refused.
    pub detail: SafeText<'a>,
}

words! {
    /// What an administrator did.
    AdminAction {
        /// Read records.
        ReadRecords = "read-records",
        /// Verified the record.
        VerifyRecords = "verify-records",
        /// Took records out.
        ExportRecords = "export-records",
        /// Asked why a request was decided as it was.
        Explain = "explain",
        /// Asked for a reload.
        Reload = "reload",
        /// Asked for a drain.
        Drain = "drain",
        /// Revoked a token, subject or session.
        Revoke = "revoke",
        /// Looked at state.
        Inspect = "inspect",
    }
}

words! {
    /// Whether something asked for was permitted.
    Permission {
        /// It was.
        Allowed = "allowed",
        /// It was not.
        Refused = "refused",
    }
}

/// Somebody used the admin interface or the command line.
#[derive(Clone, Copy, Debug)]
pub struct Admin<'a> {
    /// What they did.
    pub action: AdminAction,
    /// Who.
    pub actor: Actor<'a>,
    /// Whether they could.
    pub permission: Permission,
    /// To what: the query, the request id, the session.
    pub subject: SafeText<'a>,
}

words! {
    /// Whether an alert began or ended.
    AlertState {
        /// It began.
        Firing = "firing",
        /// It ended.
        Resolved = "resolved",
    }
}

words! {
    /// How bad it is.
    Severity {
        /// Somebody should look today.
        Warning = "warning",
        /// Somebody should look now.
        Critical = "critical",
    }
}

/// An alert began or ended (11.1.5).
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Whether it began.
    pub state: AlertState,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen.
    pub detail: SafeText<'a>,
}

/// What became of an issuer's keys.
#[derive(Clone, Copy, Debug)]
pub enum IssuerState<'a> {
    /// Read anew.
    Refreshed {
        /// How many are in use.
        keys: u32,
        /// The generation of keys they belong to.
        generation: Generation,
    },
    /// Could not be read.
    Failed {
        /// Seconds since they were last read.
        age: u64,
        /// Why.
        why: SafeText<'a>,
    },
    /// Older than the stated age: its tokens are refused (C15).
    Silent {
        /// Seconds since they were last read.
        age: u64,
    },
}

/// News of an issuer.
#[derive(Clone, Copy, Debug)]
pub struct Issuer<'a> {
    /// Its configured name.
    pub issuer: &'a Name,
    /// What became of its keys.
    pub state: IssuerState<'a>,
}

/// How the record of the run before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// There was none.
    None,
    /// With a signed footer.
    Clean,
    /// Without one: the process or the machine died. The bytes of a torn block are lost.
    Died {
        /// How many bytes could not be read.
        torn: u64,
    },
}

/// A process started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Its version.
    pub version: &'a str,
    /// Its process id.
    pub pid: u32,
    /// How the record before it ended.
    pub previous: Previous,
}

/// A process that we look after died by itself (11.6.2c). Its dump is sealed elsewhere or not taken.
#[derive(Clone, Copy, Debug)]
pub struct Crash<'a> {
    /// The role or workload.
    pub process: &'a Name,
    /// Its process id.
    pub pid: u32,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// Its exit status, if it had one.
    pub status: Option<i32>,
    /// Where the dump is, or that there is none.
    pub dump: SafeText<'a>,
}

words! {
    /// What a sink or the journal has to say about itself.
    RecordState {
        /// A sink other than the journal could not keep up; its lines are in the journal.
        SinkBehind = "sink-behind",
        /// The journal's quota passed 70 %.
        Quota70 = "quota-70",
        /// The journal's quota passed 85 %.
        Quota85 = "quota-85",
        /// The journal's quota is used up: traffic is refused.
        QuotaFull = "quota-full",
        /// Writing failed for a while: traffic was refused.
        WriteFailed = "write-failed",
        /// Writing works again.
        Recovered = "recovered",
        /// Retention deleted a sealed segment; its proofs are kept.
        SegmentDeleted = "segment-deleted",
    }
}

/// News of the record itself.
#[derive(Clone, Copy, Debug)]
pub struct Keeping<'a> {
    /// What happened.
    pub state: RecordState,
    /// How many lines, bytes or segments it concerns.
    pub count: u64,
    /// The sink or file.
    pub detail: SafeText<'a>,
}
