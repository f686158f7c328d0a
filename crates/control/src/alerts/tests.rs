//! Receivers that are there, that are away, that come back; one real Alertmanager.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portcullis_core::{Clock as _, SystemClock};
use portcullis_evidence::event::Severity;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::outbound::NetOutbound;
use crate::testing::{NOON, Office, World, plan};

const BOTH: &str =
    "alerts: { alertmanager: [\"https://am.example/base/\"], webhook: { url: \"https://hook.example\" } }";
const MANAGER: &str = "https://am.example/base/api/v2/alerts";
const HOOK: &str = "https://hook.example";

fn change(about: &str, state: AlertState) -> AlertChange {
    let (since, at) = (NOON, NOON);
    AlertChange {
        rule: Rule::EdgeAway,
        about: about.into(),
        state,
        severity: Severity::Critical,
        detail: "gone".into(),
        since,
        at,
    }
}

struct Bench {
    world: Arc<World>,
    office: Office,
    plans: watch::Sender<Arc<Plan>>,
    changes: mpsc::Sender<AlertChange>,
    task: JoinHandle<()>,
}

impl Bench {
    fn start(more: &str) -> Self {
        let (world, office) = (Arc::new(World::default()), Office::open());
        world.answer(MANAGER, Ok(String::new()));
        world.answer(HOOK, Ok("ok".to_owned()));
        let (plans, planned) = watch::channel(plan(more));
        let (changes, heard) = mpsc::channel(16);
        let outbound = Arc::clone(&world) as Arc<dyn Outbound>;
        let task = tokio::spawn(Delivery::new(outbound, office.desk.clone()).run(heard, planned));
        Self { world, office, plans, changes, task }
    }

    async fn say(&self, about: &str, state: AlertState) {
        self.changes.send(change(about, state)).await.expect("heard");
    }

    /// How often each was called since the last question.
    fn calls(&self) -> (usize, usize) {
        let asked = self.world.take_asked();
        let count = |url: &str| asked.iter().filter(|(u, _)| u == url).count();
        (count(MANAGER), count(HOOK))
    }

    async fn end(self) -> Vec<String> {
        drop(self.changes);
        self.task.await.expect("ends");
        self.office.records("alert").iter().filter_map(|r| r.text("why").map(str::to_owned)).collect()
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn both_receivers_learn_and_alertmanager_is_told_again() {
    let bench = Bench::start(BOTH);
    bench.say("edge", AlertState::Firing).await;
    sleep(secs(1)).await;
    assert_eq!(bench.calls(), (1, 1));
    sleep(secs(300)).await;
    assert_eq!(bench.calls(), (5, 0), "once a minute");
    bench.say("edge", AlertState::Resolved).await;
    sleep(secs(1)).await;
    assert_eq!(bench.calls(), (1, 1));
    sleep(secs(600)).await;
    assert_eq!(bench.calls(), (0, 0), "it knows that it ended");
    let recorded = bench.end().await;
    assert_eq!(recorded.iter().filter(|d| *d == "edge: gone").count(), 2);
    assert_eq!(recorded.iter().filter(|d| d.starts_with("delivered to ")).count(), 4, "{recorded:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_away_is_tried_again_and_delays_no_other() {
    let bench = Bench::start(BOTH);
    bench.world.answer(HOOK, Err(503));
    bench.world.answer(MANAGER, Err(0));
    bench.say("a", AlertState::Firing).await;
    bench.say("b", AlertState::Firing).await;
    sleep(secs(100)).await;
    let (manager, hook) = bench.calls();
    assert!((5..=8).contains(&manager) && (6..=12).contains(&hook), "waits grow: {manager} {hook}");
    bench.world.answer(MANAGER, Ok(String::new()));
    sleep(secs(80)).await;
    assert!(bench.calls().0 > 0);
    bench.world.answer(HOOK, Ok(String::new()));
    sleep(secs(65)).await;
    let recorded = bench.end().await;
    let learned = |to: &str| recorded.iter().filter(|d| d.starts_with(&format!("delivered to {to}"))).count();
    assert_eq!((learned("webhook"), learned("https://am")), (2, 2), "{recorded:?}");
    assert!(
        recorded.iter().filter(|d| d.contains("not delivered")).count() <= 4,
        "said once each: {recorded:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_new_learns_how_things_stand() {
    let bench = Bench::start("");
    bench.say("a", AlertState::Firing).await;
    bench.say("b", AlertState::Firing).await;
    bench.say("a", AlertState::Resolved).await;
    sleep(secs(1)).await;
    assert_eq!(bench.calls(), (0, 0));
    bench.plans.send_replace(plan(BOTH));
    sleep(secs(1)).await;
    let asked = bench.world.take_asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|(_, body)| body.contains(r#""edge":"b""#) && !body.contains(r#""edge":"a""#)));
    bench.plans.send_replace(plan(BOTH));
    sleep(secs(1)).await;
    assert_eq!(bench.calls(), (0, 0), "the same receivers know already");
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_at_the_end_is_still_brought() {
    let bench = Bench::start(BOTH);
    for about in ["a", "b", "c"] {
        bench.say(about, AlertState::Firing).await;
    }
    let world = Arc::clone(&bench.world);
    let recorded = bench.end().await;
    assert_eq!(world.take_asked().iter().filter(|(u, _)| u == HOOK).count(), 3);
    assert_eq!(recorded.iter().filter(|d| d.starts_with("delivered to webhook")).count(), 3);
}

/// Debian's Alertmanager finds its templates under `/usr/share` alone; this copy finds them beside itself, so that it
/// runs from where it was unpacked.
fn unpacked(program: &Path, home: &Path) -> PathBuf {
    let root = program.parent().and_then(Path::parent).expect("a tree").join("root/usr");
    let Ok(mut bytes) = std::fs::read(root.join("bin/prometheus-alertmanager")) else {
        return program.to_owned();
    };
    let fixed: &[u8; 34] = b"/usr/share/prometheus/alertmanager";
    while let Some(at) = bytes.windows(fixed.len()).position(|part| part == fixed) {
        bytes[at..at + fixed.len()].copy_from_slice(b"./templates/./././././././././././");
    }
    let copy = home.join("alertmanager");
    std::os::unix::fs::symlink(root.join("share/prometheus/alertmanager"), home.join("templates"))
        .expect("linked");
    std::fs::write(&copy, bytes).expect("written");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o700)).expect("marked");
    copy
}

/// Debian's Alertmanager takes what we write and shows it.
#[test]
fn a_real_alertmanager_takes_our_alerts() {
    let Some(program) = portcullis_testkit::counterpart("alertmanager") else { return };
    let home = tempfile::tempdir().expect("a directory");
    let config = home.path().join("alertmanager.yml");
    std::fs::write(&config, "route: { receiver: none }\nreceivers: [{ name: none }]\n").expect("written");
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let mut child = std::process::Command::new(unpacked(&program, home.path()))
        .current_dir(home.path())
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", home.path().display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let office = Office::with(Arc::new(SystemClock::default()));
    let base = format!("http://127.0.0.1:{port}");
    let (_plans, planned) = watch::channel(plan(&format!("alerts: {{ alertmanager: [\"{base}\"] }}")));
    let (changes, heard) = mpsc::channel(16);
    let outbound: Arc<dyn Outbound> = Arc::new(NetOutbound::new(Arc::clone(&office.desk.clock)));
    let task = Delivery::new(Arc::clone(&outbound), office.desk).run(heard, planned);
    let task = runtime.spawn(task);
    let now = SystemClock::default().now().wall;
    let alert = AlertChange { since: now, at: now, ..change("edge-7", AlertState::Firing) };
    runtime.block_on(changes.send(alert)).expect("heard");
    let url = Url::parse(&format!("{base}/api/v2/alerts")).expect("an address");
    let ask = Ask { url, sent: Sent::Get, roots: None, loopback: Loopback::Allowed, most: 1 << 20 };
    let shown = portcullis_testkit::wait::within(secs(30), || {
        let body = runtime.block_on(outbound.send(ask.clone())).unwrap_or_default();
        body.starts_with(b"[{").then(|| String::from_utf8(body.to_vec()).expect("JSON"))
    });
    drop(changes);
    runtime.block_on(task).expect("ends");
    let _ = child.kill().and_then(|()| child.wait());
    let shown = shown.expect("shown in time");
    for part in [
        r#""alertname":"edge-away""#,
        r#""edge":"edge-7""#,
        r#""severity":"critical""#,
        r#""environment":"test""#,
    ] {
        assert!(shown.contains(part), "{part} {shown}");
    }
}
