//! The socket that data planes connect to: generations out, acknowledgements, status and replies in.
//!
//! INVARIANT: only a process of our own user (or root) is talked to; the kernel says who it is (F3).
//! INVARIANT: whoever connects gets the generations in force at once, so that the order in which processes start does
//! not matter; a slow or stuck data plane holds up nobody else.
//!
//! Not here: what a generation is (`change`), what a status leads to (`monitor`).

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use portcullis_core::Generation;
use portcullis_snapshot::link::{FromEdge, Hello, Question, Reply, Status, ToEdge, read_frame, write_frame};
use portcullis_snapshot::signed::{Kind, Signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

/// Frames that wait for one data plane.
const WAITING: usize = 64;
/// More data planes than this are not talked to at a time.
const MOST: usize = 256;
/// How long a data plane may take to answer a question.
const PATIENCE: Duration = Duration::from_secs(5);

/// The generations in force, as they are sent.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// The plan.
    pub plan: Option<Arc<Signed>>,
    /// The key sets.
    pub keys: Option<Arc<Signed>>,
}

/// One data plane, as far as it is known.
#[derive(Clone, Debug)]
pub struct EdgeView {
    /// What it said first.
    pub hello: Hello,
    /// The plan that it follows.
    pub plan: Generation,
    /// The key sets that it follows.
    pub keys: Generation,
    /// What it refused last, and why.
    pub refused: Option<(Generation, Vec<String>)>,
    /// Its last status.
    pub status: Option<Status>,
}

/// Something that a data plane said, for the monitor.
#[derive(Clone, Debug)]
pub enum News {
    /// It is there.
    Hello(String),
    /// It follows the newest generation.
    Took(String),
    /// A status.
    Status(String, Status),
    /// It did not take a generation.
    Refused(String, Generation, Vec<String>),
    /// Its link ended.
    Gone(String),
}

type Replies = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Reply>>>>;

struct Known {
    view: EdgeView,
    out: mpsc::Sender<ToEdge>,
    replies: Replies,
}

/// All data planes.
#[derive(Clone)]
pub struct Publisher {
    in_force: watch::Sender<InForce>,
    edges: Arc<Mutex<BTreeMap<u64, Known>>>,
    next: Arc<AtomicU64>,
    news: mpsc::Sender<News>,
}

impl Publisher {
    /// A publisher that nobody follows yet; what data planes say goes to `news`.
    #[must_use]
    pub fn new(news: mpsc::Sender<News>) -> Self {
        let in_force = watch::Sender::new(InForce::default());
        Self { in_force, edges: Arc::default(), next: Arc::default(), news }
    }

    /// Listens at `path`, in a folder that only our user may enter.
    ///
    /// # Errors
    /// The folder or the socket cannot be made.
    pub fn listen(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let publisher = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if publisher.edges().len() < MOST && is_ours(&stream) {
                    tokio::spawn(publisher.clone().follow(stream));
                }
            }
        });
        Ok(())
    }

    /// Puts a generation in force for everybody who follows.
    pub fn publish(&self, signed: Signed) {
        let signed = Arc::new(signed);
        self.in_force.send_modify(|in_force| match signed.header().kind {
            Kind::Plan => in_force.plan = Some(Arc::clone(&signed)),
            Kind::Keys => in_force.keys = Some(Arc::clone(&signed)),
        });
    }

    /// Every data plane that is connected, by its name.
    #[must_use]
    pub fn views(&self) -> Vec<(String, EdgeView)> {
        self.edges().values().map(|known| (name(&known.view.hello), known.view.clone())).collect()
    }

    /// Asks every data plane, and waits for those that answer in time.
    pub async fn ask(&self, question: &Question) -> Vec<(String, Reply)> {
        let asked: Vec<_> =
            self.edges().values().map(|k| (name(&k.view.hello), k.out.clone(), k.replies.clone())).collect();
        let mut replies = Vec::with_capacity(asked.len());
        for (edge, out, waiting) in asked {
            if let Some(reply) = self.ask_one(question, &out, &waiting).await {
                replies.push((edge, reply));
            }
        }
        replies
    }

    async fn ask_one(
        &self,
        question: &Question,
        out: &mpsc::Sender<ToEdge>,
        waiting: &Replies,
    ) -> Option<Reply> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(waiting).insert(number, sender);
        let asked = out.try_send(ToEdge::Ask(number, question.clone()));
        let reply = match asked {
            Ok(()) => tokio::time::timeout(PATIENCE, receiver).await.ok()?.ok(),
            Err(_) => None,
        };
        lock(waiting).remove(&number);
        reply
    }

    fn edges(&self) -> MutexGuard<'_, BTreeMap<u64, Known>> {
        lock(&self.edges)
    }

    /// One data plane, until its link ends.
    async fn follow(self, stream: UnixStream) {
        let (mut reader, writer) = stream.into_split();
        let mut input = BytesMut::new();
        let Some(FromEdge::Hello(hello)) = next(&mut reader, &mut input).await else { return };
        let (out, waiting) = mpsc::channel(WAITING);
        let replies = Replies::default();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let edge = name(&hello);
        let none = Generation(0);
        let view = EdgeView { hello, plan: none, keys: none, refused: None, status: None };
        self.edges().insert(number, Known { view, out, replies: Arc::clone(&replies) });
        let _ = self.news.try_send(News::Hello(edge.clone()));
        tokio::select! {
            () = send(writer, waiting, self.in_force.subscribe()) => {}
            () = self.hear(number, &edge, reader, input, &replies) => {}
        }
        self.edges().remove(&number);
        let _ = self.news.try_send(News::Gone(edge));
    }

    async fn hear(
        &self,
        number: u64,
        edge: &str,
        mut reader: OwnedReadHalf,
        mut input: BytesMut,
        replies: &Replies,
    ) {
        while let Some(message) = next(&mut reader, &mut input).await {
            match message {
                FromEdge::Reply(asked, reply) => {
                    if let Some(waiting) = lock(replies).remove(&asked) {
                        let _ = waiting.send(reply);
                    }
                }
                other => self.note(number, edge, other),
            }
        }
    }

    fn note(&self, number: u64, edge: &str, message: FromEdge) {
        let mut edges = self.edges();
        let Some(known) = edges.get_mut(&number) else { return };
        let news = match message {
            FromEdge::Took(Kind::Plan, generation) => {
                (known.view.plan, known.view.refused) = (generation, None);
                News::Took(edge.to_owned())
            }
            FromEdge::Took(Kind::Keys, generation) => {
                known.view.keys = generation;
                return;
            }
            FromEdge::Refused(_, generation, problems) => {
                known.view.refused = Some((generation, problems.clone()));
                News::Refused(edge.to_owned(), generation, problems)
            }
            FromEdge::Status(status) => {
                known.view.status = Some(status.clone());
                News::Status(edge.to_owned(), status)
            }
            FromEdge::Hello(_) | FromEdge::Reply(..) => return,
        };
        let _ = self.news.try_send(news);
    }
}

/// A data plane's name in alerts and status.
fn name(hello: &Hello) -> String {
    format!("edge-{}", hello.pid)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SECURITY: the signature protects the data plane from us; this protects us, and the secrets in a plan, from others.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn next(reader: &mut OwnedReadHalf, input: &mut BytesMut) -> Option<FromEdge> {
    loop {
        if let Some(message) = read_frame(input).ok()? {
            return Some(message);
        }
        if reader.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

/// Sends what is in force whenever it changes, and questions in between.
async fn send(
    mut writer: OwnedWriteHalf,
    mut waiting: mpsc::Receiver<ToEdge>,
    mut in_force: watch::Receiver<InForce>,
) {
    let mut sent = InForce::default();
    loop {
        let now = in_force.borrow_and_update().clone();
        // Keys first: the plan that names an issuer then finds its keys there.
        for (old, new) in [(&mut sent.keys, now.keys), (&mut sent.plan, now.plan)] {
            let Some(new) = new.filter(|n| old.as_ref().is_none_or(|o| !Arc::ptr_eq(o, n))) else { continue };
            if write(&mut writer, &ToEdge::Generation(Box::new((*new).clone()))).await.is_err() {
                return;
            }
            *old = Some(new);
        }
        let message = tokio::select! {
            changed = in_force.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            message = waiting.recv() => message,
        };
        match message {
            Some(message) if write(&mut writer, &message).await.is_ok() => {}
            _ => return,
        }
    }
}

async fn write(writer: &mut OwnedWriteHalf, message: &ToEdge) -> io::Result<()> {
    let mut out = BytesMut::new();
    write_frame(message, &mut out).map_err(io::Error::other)?;
    writer.write_all(&out).await
}
