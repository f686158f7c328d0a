//! Puts a reading of the record on record.

use std::sync::Arc;

use portcullis_control::admin::{AdminCallError, Method};
use portcullis_core::{ByteSize, Clock as _, Millis, RequestId, SystemClock};
use portcullis_evidence::event::{Actor, Admin, AdminAction, Permission};
use portcullis_evidence::{Event, SafeText};
use portcullis_telemetry::home::Home;
use portcullis_telemetry::journal::{JournalPlan, PlanFault, QueuePlan};
use portcullis_telemetry::{Chain, Level, Log, LogForm, Metrics};

use super::Role;
use crate::commands::ask::{AskError, ask, segment};
use crate::commands::loaded::Loaded;
use crate::screen::Screen;

/// Who reads what, in words.
#[derive(Debug)]
pub(super) struct Reading {
    action: AdminAction,
    subject: String,
}

impl Reading {
    /// Records are shown.
    pub(super) fn shown(of: Role, what: &str) -> Self {
        Self { action: AdminAction::ReadRecords, subject: format!("{}: {what}", of.word()) }
    }

    /// Records are verified and none is shown.
    pub(super) fn verified(of: Role) -> Self {
        Self { action: AdminAction::VerifyRecords, subject: of.word().to_owned() }
    }
}

/// Records the reading before it happens, or says that it could not.
pub(super) fn note(loaded: &Loaded, reading: &Reading, screen: &Screen) {
    let path = format!("/reads/{}/{}", reading.action.word(), segment(&reading.subject));
    let why = match ask(&loaded.socket(), Method::Post, &path) {
        Ok((200..300, _)) => return,
        Ok((status, _)) => format!("control answered {status}"),
        Err(AskError::Call(AdminCallError::Connect { .. })) => match alone(loaded, reading) {
            Ok(()) => return,
            Err(why) => why,
        },
        Err(error) => Chain(&error).to_string(),
    };
    screen.warning(&format!("this read is not recorded: {why}"));
}

/// Nobody answers, so *control*'s record is ours to write, unless somebody holds it all the same.
fn alone(loaded: &Loaded, reading: &Reading) -> Result<(), String> {
    let folder = loaded.state().join("control");
    if !folder.is_dir() {
        return Err("control has never run with this configuration".to_owned());
    }
    let clock = Arc::new(SystemClock::default());
    let home = Home {
        folder: &folder,
        origin: "control",
        secret: loaded.plan.audit.key.as_ref().map(portcullis_config::plan::Secret::expose),
        plan: journal_plan(loaded).map_err(|fault| fault.to_string())?,
        clock: clock.clone(),
        metrics: Arc::new(Metrics::default()),
        log: Arc::new(Log::to_stderr("audit", LogForm::Text, Level::Warning)),
        mirror: None,
    };
    let journal = home.open().map_err(|error| Chain(&error).to_string())?;
    let (now, mut random) = (clock.now(), [0; 16]);
    // Without randomness the time alone tells events apart.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let event = Event::Admin(Admin {
        action: reading.action,
        actor: Actor::Uid(rustix::process::getuid().as_raw()),
        permission: Permission::Allowed,
        subject: SafeText::new(&reading.subject),
    });
    let id = RequestId::new(now.wall, u128::from_be_bytes(random));
    let recorded = journal.process().record(now, id, &event).map_err(|full| full.to_string());
    journal.stop();
    recorded
}

fn journal_plan(loaded: &Loaded) -> Result<JournalPlan, PlanFault> {
    let queue = QueuePlan { slots: 1, rated: 100 };
    let environment = loaded.plan.environment.name().clone();
    JournalPlan::new(environment, 1, queue, ByteSize::kib(256 * 1024))?
        .segments(ByteSize::kib(8 * 1024), Millis::from_secs(24 * 3_600))
}
