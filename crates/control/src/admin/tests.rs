//! The socket as a whole: who gets in, what they get, what is recorded.

use std::sync::Mutex;

use portcullis_net::listen::DrainSwitch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::*;
use crate::testing::{Office, plan};

/// A *control* with one data plane.
#[derive(Default)]
struct House {
    reloads: Mutex<Vec<Asker>>,
    broken: bool,
    following: u64,
}

const KNOWN: &str = "0123456789abcdef0123456789abcdef";

impl Edges for House {
    fn ask(&self, question: Question) -> Later<'_, Vec<(String, Reply)>> {
        let reply = match question {
            Question::Metrics => Reply::Text(portcullis_telemetry::Metrics::default().encode()),
            Question::Explain(id) if id.to_string() == KNOWN => Reply::Text("because\n".to_owned()),
            Question::Explain(_) => Reply::Unknown("not here".to_owned()),
        };
        Box::pin(async move {
            vec![("edge-6".to_owned(), Reply::Unknown("no".into())), ("edge-7".to_owned(), reply)]
        })
    }

    fn overview(&self) -> Overview {
        let edge = EdgeOverview {
            name: "edge-7".to_owned(),
            version: "0.1.0".to_owned(),
            listening: vec!["127.0.0.1:8443".to_owned()],
            plan: Generation(self.following),
            keys: Generation(1),
            refused: None,
            in_flight: 2,
            streams: 0,
        };
        Overview { config_hash: "ab".repeat(32), edges: vec![edge], alerts: Vec::new() }
    }

    fn reload(&self, who: Asker) -> Later<'_, Result<(), String>> {
        self.reloads.lock().expect("whole").push(who);
        let result = if self.broken { Err("portcullis.yaml:3: wrong".to_owned()) } else { Ok(()) };
        Box::pin(async move { result })
    }
}

struct Bench {
    office: Office,
    house: Arc<House>,
    folder: tempfile::TempDir,
    switch: DrainSwitch,
    thread: JoinHandle<()>,
}

impl Bench {
    fn start(house: House, who: Who, uids: &str) -> Self {
        let (office, house) = (Office::open(), Arc::new(house));
        let folder = tempfile::tempdir().expect("a directory");
        let (switch, drain) = DrainSwitch::new();
        let plan = plan(&format!("admin: {{ uids: [{uids}] }}"));
        let listener = bind(&folder.path().join("run/admin.sock"), &plan.admin.uids).expect("binds");
        let edges = Arc::clone(&house) as Arc<dyn Edges>;
        let state = AdminState { edges, desk: office.desk.clone(), plans: watch::channel(plan).1 };
        let thread = Admin { who, ..Admin::new(state) }.start(Doors::socket_only(listener), drain);
        let thread = thread.expect("starts");
        Self { office, house, folder, switch, thread }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("run/admin.sock")
    }

    async fn ask(&self, method: Method, path: &str) -> (u16, String) {
        call(&self.path(), method, path).await.expect("an answer")
    }

    async fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.path()).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    }

    /// What was recorded: action, permission, subject.
    fn end(self) -> Vec<String> {
        self.switch.begin();
        self.thread.join().expect("ends");
        let text = |r: &portcullis_evidence::Record, key| r.text(key).unwrap_or_default().to_owned();
        let records = self.office.records("admin");
        records.iter().map(|r| ["action", "outcome", "subject"].map(|k| text(r, k)).join(" ")).collect()
    }
}

#[tokio::test]
async fn every_page_answers_and_is_recorded() {
    let bench = Bench::start(House { following: 3, ..House::default() }, peer_uid, "");
    assert_eq!(bench.ask(Method::Get, "/live").await, (200, "live\n".to_owned()));
    assert_eq!(bench.ask(Method::Get, "/ready").await, (200, "{\"ready\":true,\"edges\":1}\n".to_owned()));
    let (status, text) = bench.ask(Method::Get, "/status").await;
    let golden = format!(
        concat!(
            r#"{{"config_hash":"{}","edges":[{{"name":"edge-7","version":"0.1.0","listening":["127.0.0.1:8443"],"#,
            r#""plan":3,"keys":1,"refused":null,"in_flight":2,"streams":0}}],"alerts":[]}}"#,
            "\n"
        ),
        "ab".repeat(32)
    );
    assert_eq!((status, text), (200, golden));
    let (status, text) = bench.ask(Method::Get, "/metrics").await;
    assert!(status == 200 && text.contains("{process=\"control\"}") && text.contains("{process=\"edge-7\"}"));
    assert!(!text.contains("edge-6"));
    assert_eq!(bench.ask(Method::Get, &format!("/explain/{KNOWN}")).await, (200, "because\n".to_owned()));
    for unknown in ["/explain/0123456789abcdef0123456789abcdee", "/explain/x", "/nothing"] {
        assert_eq!(bench.ask(Method::Get, unknown).await.0, 404, "{unknown}");
    }
    assert_eq!(bench.ask(Method::Post, "/reads/read-records/edge").await.0, 200);
    assert_eq!(bench.ask(Method::Get, "/reads/verify-records/edge").await.0, 405);
    assert_eq!(bench.ask(Method::Get, "/reload").await.0, 405);
    assert_eq!(bench.ask(Method::Post, "/reload").await, (200, "{\"reloaded\":true}\n".to_owned()));
    assert_eq!(
        *bench.house.reloads.lock().expect("whole"),
        [Asker::Uid(rustix::process::geteuid().as_raw())]
    );
    let recorded = bench.end();
    assert_eq!(recorded.len(), 12, "{recorded:?}");
    assert_eq!(recorded.last().map(String::as_str), Some("reload allowed /reload"));
    assert!(recorded.iter().any(|r| *r == format!("explain allowed /explain/{KNOWN}")));
}

#[tokio::test]
async fn a_house_without_a_plan_is_not_ready_and_a_broken_one_says_why() {
    let bench = Bench::start(House { broken: true, ..House::default() }, peer_uid, "");
    assert_eq!(bench.ask(Method::Get, "/ready").await.0, 503);
    let (status, text) = bench.ask(Method::Post, "/reload").await;
    assert!(status == 409 && text.contains("portcullis.yaml:3: wrong"), "{text}");
}

#[tokio::test]
async fn f1_only_listed_users_get_in() {
    let strangers: [Who; 2] = [|_| Ok(4_242), |_| Err(io::ErrorKind::PermissionDenied.into())];
    for stranger in strangers {
        let bench = Bench::start(House { following: 1, ..House::default() }, stranger, "4241");
        let called = call(&bench.path(), Method::Post, "/reload").await;
        assert!(matches!(called, Err(AdminCallError::Form | AdminCallError::Broken(_))), "{called:?}");
        assert!(bench.house.reloads.lock().expect("whole").is_empty());
        assert_eq!(bench.end(), ["inspect refused connect"]);
    }
    let listed: [Who; 2] = [|_| Ok(4_241), |_| Ok(0)];
    for who in listed {
        let bench = Bench::start(House::default(), who, "4241");
        assert_eq!(bench.ask(Method::Get, "/live").await.0, 200);
    }
}

#[tokio::test]
async fn f1_a_browser_and_another_host_are_refused_and_recorded() {
    let bench = Bench::start(House::default(), peer_uid, "");
    for field in [
        "Host: evil.example",
        "Host: localhost\r\nOrigin: https://evil.example",
        "Host: localhost\r\nSec-Fetch-Site: cross-site",
    ] {
        let answer = bench
            .raw(&format!(
                "POST /reload HTTP/1.1\r\n{field}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let smuggled = bench.raw("GET /live HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n").await;
    assert!(smuggled.starts_with("HTTP/1.1 400 "), "{smuggled}");
    assert!(bench.house.reloads.lock().expect("whole").is_empty());
    let recorded = bench.end();
    assert_eq!(recorded.iter().filter(|r| *r == "reload refused /reload").count(), 3, "{recorded:?}");
    assert_eq!(recorded.len(), 4);
}

#[tokio::test]
async fn c15_what_cannot_be_recorded_is_not_done() {
    let mut bench = Bench::start(House::default(), peer_uid, "");
    bench.office.close();
    assert_eq!(bench.ask(Method::Post, "/reload").await.0, 503);
    assert_eq!(bench.ask(Method::Get, "/status").await.0, 503);
    assert_eq!(bench.ask(Method::Get, "/live").await.0, 200);
    assert!(bench.house.reloads.lock().expect("whole").is_empty());
}

#[test]
fn f1_the_socket_is_private_and_takes_nobodys_place() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("run/admin.sock");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
    let listener = bind(&path, &[]).expect("binds");
    assert_eq!((mode(&path), mode(&folder.path().join("run"))), (0o600, 0o700));
    assert!(matches!(bind(&path, &[]), Err(AdminSocketError::InUse(_))));
    drop(listener);
    drop(bind(&path, &[7]).expect("a dead one is replaced"));
    assert_eq!(mode(&path), 0o666);
    let file = folder.path().join("run/file");
    std::fs::write(&file, "mine").expect("written");
    assert!(matches!(bind(&file, &[]), Err(AdminSocketError::System { .. })));
    assert_eq!(std::fs::read(&file).expect("still there"), b"mine");
    std::fs::set_permissions(folder.path().join("run"), Permissions::from_mode(0o777)).expect("marked");
    assert!(matches!(bind(&path, &[]), Err(AdminSocketError::TooOpen { mode: 0o777, .. })));
}
