//! What the tests of this room stand on: a plan, a journal on a disk of its own, somebody to call.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use portcullis_config::MemoryFiles;
use portcullis_core::{ByteSize, Clock, Name, Now, UnixMillis};
use portcullis_evidence::Record;
use portcullis_snapshot::plan::Plan;
use portcullis_telemetry::journal::read::{JournalReader, Query};
use portcullis_telemetry::journal::{Directory, QueuePlan};
use portcullis_telemetry::{Journal, JournalParts, JournalPlan, Level, Log, LogForm, keys};
use tokio::time::Instant;

use crate::desk::Desk;
use crate::outbound::{Answering, Ask, AskError, Outbound, Sent};

/// When the tests take place.
pub(crate) const NOON: UnixMillis = UnixMillis(1_790_000_000_000);

/// A clock that follows tokio's, which tests pause.
pub(crate) struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Now {
        Now { wall: NOON.plus(self.0.elapsed()), mono: Instant::now().into_std() }
    }
}

/// A desk whose record can be read.
pub(crate) struct Office {
    pub(crate) desk: Desk,
    journal: Option<Journal>,
    directory: tempfile::TempDir,
}

impl Office {
    pub(crate) fn open() -> Self {
        Self::with(Arc::new(TokioClock(Instant::now())))
    }

    pub(crate) fn with(clock: Arc<dyn Clock>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let metrics = Arc::default();
        let log = Arc::new(Log::to(Box::new(std::io::sink()), "control", LogForm::Text, Level::Error));
        let queue = QueuePlan { slots: 8, rated: 1000 };
        let environment = Name::parse("test").expect("a name");
        let plan = JournalPlan::new(environment, 1, queue, ByteSize::kib(8 * 1024)).expect("a plan");
        let parts = JournalParts {
            storage: Box::new(Directory::open(directory.path()).expect("opens")),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            log: Arc::clone(&log),
            mirror: None,
        };
        let journal = Journal::open(&plan, Self::keys(), parts).expect("opens");
        let desk = Desk { clock, recorder: journal.process(), metrics, log };
        Self { desk, journal: Some(journal), directory }
    }

    /// The journal ends: nothing more can be recorded.
    pub(crate) fn close(&mut self) {
        if let Some(journal) = self.journal.take() {
            journal.stop();
        }
    }

    /// Ends the journal and reads it.
    pub(crate) fn records(mut self, event: &str) -> Vec<Record> {
        self.close();
        let storage = Directory::open_to_read(self.directory.path()).expect("opens");
        let keys = Self::keys();
        let reader = JournalReader::new(Box::new(storage), keys.seal, keys.sign.verifier());
        let query = Query { event: Some(event.to_owned()), ..Query::default() };
        let mut found = Vec::new();
        let asked = reader.query(&query, |record, _| {
            found.push(record.clone());
            ControlFlow::Continue(())
        });
        asked.expect("readable");
        found
    }

    fn keys() -> portcullis_telemetry::JournalKeys {
        keys::derive("control", &[7; 32]).expect("keys")
    }
}

/// A plan with these lines added at its top level.
pub(crate) fn plan(more: &str) -> Arc<Plan> {
    let root = format!(
        "environment: test\ntrust_domain: shop.example\nstate: {{ directory: state }}\n\
         gateway: {{ listen: \"127.0.0.1:8443\", certificates: [{{ file: edge.pem, key: {{ file: edge.key }} }}] }}\n\
         services: []\n{more}"
    );
    let pem = |kind| format!("-----BEGIN {kind}-----\nMAA=\n-----END {kind}-----\n");
    let files = MemoryFiles::default()
        .with("portcullis.yaml", root)
        .with("edge.pem", pem("CERTIFICATE"))
        .with("edge.key", pem("PRIVATE KEY"))
        .with("hook.token", "canary-token-0123456789abcdef0123456789");
    Arc::new(
        portcullis_config::load("portcullis.yaml", &files).unwrap_or_else(|problems| panic!("{problems}")),
    )
}

/// One thing that the world answers.
pub(crate) type Says = Result<String, u16>;

/// Everybody whom *control* may call: answers by address, and remembers what it was asked.
#[derive(Default)]
pub(crate) struct World {
    answers: Mutex<BTreeMap<String, Says>>,
    asked: Mutex<Vec<(String, String)>>,
}

impl World {
    pub(crate) fn answer(&self, url: &str, says: Says) {
        self.answers.lock().expect("whole").insert(url.to_owned(), says);
    }

    /// The addresses and bodies of the calls since the last question.
    pub(crate) fn take_asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.asked.lock().expect("whole"))
    }
}

impl Outbound for World {
    fn send(&self, ask: Ask) -> Answering {
        let body = match &ask.sent {
            Sent::Get => String::new(),
            Sent::Json { body, .. } => String::from_utf8(body.to_vec()).expect("JSON is text"),
        };
        self.asked.lock().expect("whole").push((ask.url.to_string(), body));
        let says = self.answers.lock().expect("whole").get(ask.url.as_str()).cloned();
        Box::pin(async move {
            match says {
                // Somebody who hangs.
                Some(Err(0)) => std::future::pending().await,
                Some(Ok(text)) if text.len() > ask.most => Err(AskError::Call("too large".into())),
                Some(Ok(text)) => Ok(Bytes::from(text)),
                Some(Err(status)) => Err(AskError::Status(status)),
                None => Err(AskError::Call("nobody is there".into())),
            }
        })
    }
}
