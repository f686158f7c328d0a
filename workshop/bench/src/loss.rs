//! `bench loss`: what a killed edge process takes with it.
//!
//! Under load the edge gets SIGKILL. Every answer that a caller had got by then has a request id; after the supervisor has
//! started the edge anew, and it has recovered its journal, the ids without a record are counted. The window is the time
//! from the first of them to the kill.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis_testkit::launch::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::Outcome;
use crate::load::h1::{self, field, framed};
use crate::load::prepared::head;
use crate::load::{self, Target};
use crate::plan::Work;
use crate::process;
use crate::rounds::say;
use crate::runner::target;
use crate::stats::{Figure, round};
use crate::systems::{EDGE, Started, portcullis};
use crate::wish::Wish;
use crate::world::World;

/// Callers that ask one after the other.
const CALLERS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);
const READ: usize = 16 * 1024;

/// An answer that a caller got.
struct Got {
    id: String,
    at: Instant,
}

pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let (mut lost, mut windows, mut answered) = (Vec::new(), Vec::new(), 0);
    for number in 1..=wish.rounds() {
        let found = kill(wish.span())?;
        say(&format!(
            "round {number}: {} answers, {} without a record, window {:?}",
            found.0, found.1, found.2
        ));
        answered += found.0;
        lost.push(load::count(u64::try_from(found.1).unwrap_or(u64::MAX)));
        windows.push(found.2.as_secs_f64() * 1e3);
    }
    let (lost, window) = (Figure::of(&lost), Figure::of(&windows));
    Ok(json!({
        "kills": wish.rounds(), "answers": answered, "records_lost": round(lost.middle),
        "records_lost_worst": round(lost.most), "window_ms": round(window.middle),
        "window_ms_worst": round(window.most),
    }))
}

/// Answers, those of them without a record, and how long before the kill the first of those came.
fn kill(span: Duration) -> Outcome<(usize, usize, Duration)> {
    let world = World::make(Work::Secure)?;
    let address = free_port();
    let started = portcullis::with(&world, address, &portcullis::config(&world, address))?;
    let target = Target { address, ..target(Work::Secure, &world)? };
    let over = Arc::new(AtomicBool::new(false));
    let (asking, seen) = (target.clone(), Arc::clone(&over));
    let callers =
        std::thread::Builder::new().name("callers".to_owned()).spawn(move || ask_all(&asking, &seen));
    let callers = callers.map_err(|e| e.to_string())?;
    std::thread::sleep(span);
    let killed = kill_edge(&started)?;
    over.store(true, Ordering::Relaxed);
    let got = callers.join().map_err(|_| "the callers stopped".to_owned())?;
    again(&started, &target)?;
    let kept = recorded(&world)?;
    let missing: Vec<&Got> = got.iter().filter(|got| got.at <= killed && !kept.contains(&got.id)).collect();
    let first = missing.iter().map(|got| got.at).min().unwrap_or(killed);
    Ok((got.len(), missing.len(), killed - first))
}

fn kill_edge(started: &Started) -> Outcome<Instant> {
    let edge = process::below(started.running.id(), EDGE).ok_or("there is no edge process")?;
    let pid = i32::try_from(edge).ok().and_then(Pid::from_raw).ok_or("no process id")?;
    kill_process(pid, Signal::KILL).map_err(|e| e.to_string())?;
    Ok(Instant::now())
}

/// Until it serves again.
fn again(started: &Started, target: &Target) -> Outcome<()> {
    let end = Instant::now() + PATIENCE;
    let token = target.tokens.first().map_or("", String::as_str);
    while Instant::now() < end {
        if load::status(target, token) == Ok(200) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("the edge does not serve {PATIENCE:?} after it was killed\n{}", started.running.output()))
}

/// The ids of all requests on record.
fn recorded(world: &World) -> Outcome<HashSet<String>> {
    let query = portcullis::command(world, &["audit", "query", "--event", "ended"])?;
    let (status, text) = query.finish(PATIENCE * 3);
    if !status.success() {
        return Err(format!("`audit query` ended with {status}\n{text}"));
    }
    let id = |line: &str| {
        let record: Value = serde_json::from_str(line).ok()?;
        Some(record.get("id")?.as_str()?.to_owned())
    };
    Ok(text.lines().filter_map(id).collect())
}

fn ask_all(target: &Target, over: &Arc<AtomicBool>) -> Vec<Got> {
    process::stay_on_core(0);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    runtime.block_on(async {
        let mut set = tokio::task::JoinSet::new();
        for user in 0..CALLERS {
            set.spawn(ask(target.clone(), user, Arc::clone(over)));
        }
        let mut all = Vec::new();
        while let Some(got) = set.join_next().await {
            all.extend(got.unwrap_or_default());
        }
        all
    })
}

/// One caller, until it is told to stop or its connection breaks.
async fn ask(target: Target, user: usize, over: Arc<AtomicBool>) -> Vec<Got> {
    let mut got = Vec::new();
    let Ok(mut stream) = h1::connect(&target).await else { return got };
    let (request, mut buffer) = (head(&target, user, ""), Vec::with_capacity(READ));
    while !over.load(Ordering::Relaxed) {
        buffer.clear();
        if stream.write_all(&request).await.is_err() || stream.flush().await.is_err() {
            return got;
        }
        while framed(&buffer).is_none_or(|(_, length)| buffer.len() < length) {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return got,
                Ok(_) => {}
            }
        }
        if let Some(id) = field(&buffer, b"x-request-id") {
            got.push(Got { id: String::from_utf8_lossy(id).into_owned(), at: Instant::now() });
        }
    }
    got
}
