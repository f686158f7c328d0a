//! What runs beside the change line: issuers' keys, the monitor, alerts, administration.
//!
//! INVARIANT: none of these can hold up the change line: they are told through bounded queues and channels that keep the
//! newest value, and what they ask for comes back the same way.
//!
//! Not here: what each of them does (`issuers`, `monitor`, `alerts`, `admin`).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use portcullis_config::Plan;
use portcullis_config::plan::Digest;
use portcullis_core::{Generation, Now};
use portcullis_net::listen::DrainSwitch;
use portcullis_snapshot::keys::Fetched;
use portcullis_snapshot::link::{Question, Reply};
use portcullis_telemetry::journal::Journal;
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{Admin, AdminState, AlertOverview, Asker, Doors, EdgeOverview, Edges, Later, Overview};
use crate::alerts::Delivery;
use crate::desk::Desk;
use crate::issuers::Issuers;
use crate::monitor::{self, AlertChange, Monitor};
use crate::outbound::{NetOutbound, Outbound};
use crate::publish::{EdgeView, News, Publisher};

/// A reload that somebody waits for.
pub(crate) struct Reload {
    /// Who asks.
    pub who: Asker,
    /// Where the outcome goes.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// What the change line hears from the tasks and tells them.
pub(crate) struct Tasks {
    /// Key sets, whenever they change.
    pub fetched: watch::Receiver<Arc<Fetched>>,
    /// Reloads that were asked for.
    pub reloads: mpsc::Receiver<Reload>,
    plans: watch::Sender<Arc<Plan>>,
    hash: Arc<Mutex<Option<Digest>>>,
    drain: DrainSwitch,
    admin: Option<JoinHandle<()>>,
}

/// Alerts that wait to be delivered.
const CHANGES: usize = 256;

impl Tasks {
    /// Starts all of them.
    pub(crate) fn start(
        desk: &Desk,
        journal: &Arc<Journal>,
        (publisher, news): (&Publisher, mpsc::Receiver<News>),
        plan: &Arc<Plan>,
    ) -> io::Result<Self> {
        let (plans, seen) = watch::channel(Arc::clone(plan));
        let outbound: Arc<dyn Outbound> = Arc::new(NetOutbound::new(Arc::clone(&desk.clock)));
        let (fetched_out, fetched) = watch::channel(Arc::new(Fetched::default()));
        tokio::spawn(Issuers::new(Arc::clone(&outbound), desk.clone()).run(seen.clone(), fetched_out));
        let (changes, delivered) = mpsc::channel(CHANGES);
        tokio::spawn(Delivery::new(outbound, desk.clone()).run(delivered, seen.clone()));
        let active = Arc::new(Mutex::new(Vec::new()));
        let watcher = Watcher {
            desk: desk.clone(),
            journal: Arc::clone(journal),
            monitor: Monitor::new(plan, desk.now()),
            changes,
            active: Arc::clone(&active),
            gone: Vec::new(),
        };
        tokio::spawn(watcher.run(news, seen.clone(), fetched.clone()));
        let (reload, reloads) = mpsc::channel(4);
        let hash = Arc::new(Mutex::new(None));
        let view = View { publisher: publisher.clone(), hash: Arc::clone(&hash), active, reload };
        let doors = Doors::open(plan, &desk.clock)?;
        let (drain, watch) = DrainSwitch::new();
        let state = AdminState { edges: Arc::new(view), desk: desk.clone(), plans: seen };
        let admin = Some(Admin::new(state).start(doors, watch)?);
        Ok(Self { fetched, reloads, plans, hash, drain, admin })
    }

    /// Another plan is in force.
    pub(crate) fn follow(&self, plan: Arc<Plan>, hash: Option<Digest>) {
        *lock(&self.hash) = hash;
        self.plans.send_replace(plan);
    }

    /// Ends administration; the others end with the channels.
    pub(crate) fn end(mut self) {
        self.drain.begin();
        if let Some(admin) = self.admin.take() {
            let _ = admin.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Feeds the monitor, and passes on what it finds.
struct Watcher {
    desk: Desk,
    journal: Arc<Journal>,
    monitor: Monitor,
    changes: mpsc::Sender<AlertChange>,
    active: Arc<Mutex<Vec<AlertChange>>>,
    gone: Vec<String>,
}

impl Watcher {
    async fn run(
        mut self,
        mut news: mpsc::Receiver<News>,
        mut plans: watch::Receiver<Arc<Plan>>,
        fetched: watch::Receiver<Arc<Fetched>>,
    ) {
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        loop {
            let changes = tokio::select! {
                told = news.recv() => match told {
                    Some(told) => self.hear(told),
                    None => return,
                },
                changed = plans.changed() => match changed {
                    Ok(()) => {
                        let plan = Arc::clone(&plans.borrow_and_update());
                        self.monitor.replan(&plan, self.desk.now())
                    }
                    Err(_) => return,
                },
                _ = beat.tick() => self.beat(&fetched),
            };
            self.pass_on(changes);
        }
    }

    fn hear(&mut self, told: News) -> Vec<AlertChange> {
        let now: Now = self.desk.now();
        match told {
            News::Hello(edge) => {
                self.monitor.expect(&edge, now);
                // A data plane that takes the place of one that went: nobody waits for that one any more.
                let gone = std::mem::take(&mut self.gone);
                gone.iter().flat_map(|old| self.monitor.forget(old, now)).collect()
            }
            News::Status(edge, status) => self.monitor.observe(&edge, &status, now),
            News::Refused(edge, number, problems) => self.monitor.refused(&edge, number, &problems, now),
            News::Took(edge) => self.monitor.took(&edge, now),
            News::Gone(edge) => {
                self.gone.push(edge);
                Vec::new()
            }
        }
    }

    fn beat(&mut self, fetched: &watch::Receiver<Arc<Fetched>>) -> Vec<AlertChange> {
        let now = self.desk.now();
        let mut changes = self.monitor.tick(now);
        let own = monitor::own_status(&self.journal.state(), &self.desk.metrics, now.wall);
        changes.extend(self.monitor.observe(monitor::CONTROL, &own, now));
        let fetched = Arc::clone(&fetched.borrow());
        changes.extend(self.monitor.keys(&fetched, now));
        changes
    }

    fn pass_on(&mut self, changes: Vec<AlertChange>) {
        if changes.is_empty() {
            return;
        }
        *lock(&self.active) = self.monitor.active();
        for change in changes {
            // A full queue means that deliveries hang; the alert stays active and is shown by `/status`.
            let _ = self.changes.try_send(change);
        }
    }
}

/// What administration sees of the rest.
struct View {
    publisher: Publisher,
    hash: Arc<Mutex<Option<Digest>>>,
    active: Arc<Mutex<Vec<AlertChange>>>,
    reload: mpsc::Sender<Reload>,
}

impl Edges for View {
    fn ask(&self, question: Question) -> Later<'_, Vec<(String, Reply)>> {
        Box::pin(async move { self.publisher.ask(&question).await })
    }

    fn overview(&self) -> Overview {
        let edges = self.publisher.views();
        Overview {
            config_hash: lock(&self.hash).map(|hash| hash.to_string()).unwrap_or_default(),
            edges: edges.into_iter().map(|(name, view)| edge_overview(name, view)).collect(),
            alerts: lock(&self.active).iter().map(AlertOverview::from).collect(),
        }
    }

    fn reload(&self, who: Asker) -> Later<'_, Result<(), String>> {
        Box::pin(async move {
            let away = || "the change line does not answer".to_owned();
            let (done, outcome) = oneshot::channel();
            self.reload.try_send(Reload { who, done }).map_err(|_| away())?;
            outcome.await.map_err(|_| away())?
        })
    }
}

fn edge_overview(name: String, view: EdgeView) -> EdgeOverview {
    let (in_flight, streams) = view.status.map_or((0, 0), |s| (s.in_flight, s.streams));
    EdgeOverview {
        name,
        version: view.hello.version,
        listening: view.hello.listening,
        plan: view.plan,
        keys: view.keys,
        refused: view.refused.map(|(_, problems): (Generation, Vec<String>)| problems),
        in_flight,
        streams,
    }
}
