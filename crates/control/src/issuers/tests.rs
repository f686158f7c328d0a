//! Roll-over, silence, wrong issuers: with a world that answers as told, and time that runs when nobody works.

use std::time::Duration;

use portcullis_snapshot::keys::Fetched;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::testing::{NOON, Office, World, plan};

const DISCOVERY: &str = "https://login.example/staff/.well-known/openid-configuration";
const KEYS: &str = "https://login.example/staff/jwks";
const STAFF: &str = "issuers: [{ name: staff, oidc: \"https://login.example/staff\", audience: shop, \
                     algorithms: EdDSA, refresh: 10m, silent_after: 1h }]\n";

/// A key set with one Ed25519 key: base points and other well known ones do.
fn key_set(kid: &str) -> String {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"; // RFC 8037 §A.2
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","alg":"EdDSA","x":"{x}"}}]}}"#)
}

fn metadata(issuer: &str, keys: &str) -> String {
    format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}","token_endpoint":"https://login.example/t"}}"#)
}

struct Bench {
    world: Arc<World>,
    office: Office,
    plans: watch::Sender<Arc<Plan>>,
    out: watch::Receiver<Arc<Fetched>>,
    task: JoinHandle<()>,
}

impl Bench {
    fn start(more: &str) -> Self {
        let (world, office) = (Arc::new(World::default()), Office::open());
        world.answer(DISCOVERY, Ok(metadata("https://login.example/staff", KEYS)));
        world.answer(KEYS, Ok(key_set("one")));
        let (plans, planned) = watch::channel(plan(more));
        let (sender, out) = watch::channel(Arc::default());
        let outbound = Arc::clone(&world) as Arc<dyn Outbound>;
        let task = tokio::spawn(Issuers::new(outbound, office.desk.clone()).run(planned, sender));
        Self { world, office, plans, out, task }
    }

    fn known(&self, name: &str) -> Option<FetchedSet> {
        self.out.borrow().0.get(&Name::parse(name).expect("a name")).cloned()
    }

    fn kid(&self) -> Option<&'static str> {
        let set = self.known("staff")?;
        ["one", "two"].into_iter().find(|kid| set.document.contains(&format!("\"{kid}\"")))
    }

    /// The states of the issuer that were recorded.
    async fn end(self) -> Vec<String> {
        drop(self.plans);
        self.task.await.expect("ends");
        let records = self.office.records("issuer");
        records.iter().filter_map(|r| r.text("state").map(str::to_owned)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn keys_roll_over_without_an_outage() {
    let bench = Bench::start(STAFF);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.kid(), Some("one"));
    bench.world.answer(KEYS, Ok(key_set("two")));
    for _ in 0..100 {
        sleep(Duration::from_secs(6)).await;
        assert!(bench.kid().is_some(), "there is always a set");
    }
    assert_eq!(bench.kid(), Some("two"), "within the refresh time");
    assert_eq!(
        bench.world.take_asked().len(),
        4,
        "two reads of two documents each: ahead of time, not often"
    );
    assert_eq!(bench.end().await, ["refreshed", "refreshed"]);
}

#[tokio::test(start_paused = true)]
async fn c15_a_silent_issuer_keeps_its_old_set_with_its_old_time() {
    let bench = Bench::start(STAFF);
    sleep(Duration::from_secs(1)).await;
    let first = bench.known("staff").expect("read");
    assert!(first.at >= NOON && first.at.since(NOON) < Duration::from_secs(1));
    for broken in [Err(503), Ok("{\"keys\":[]".to_owned()), Ok("x".repeat(600_000)), Err(0), Err(302)] {
        bench.world.answer(KEYS, broken);
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(bench.known("staff"), Some(first.clone()));
    }
    bench.world.answer(KEYS, Ok(key_set("two")));
    sleep(Duration::from_secs(90)).await;
    assert_eq!(bench.kid(), Some("two"), "tried again within the longest wait");
    let said = bench.end().await;
    assert_eq!(said.iter().filter(|s| *s == "silent").count(), 1, "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("refreshed"));
    assert!((60..200).contains(&said.len()), "retries wait: {}", said.len());
}

#[tokio::test(start_paused = true)]
async fn c3_c12_a_document_of_somebody_else_gives_no_keys() {
    let table = [
        metadata("https://login.example/staff/", KEYS),
        metadata("https://login.example/other", KEYS),
        metadata("https://login.example/staff", "http://login.example/staff/jwks"),
        metadata("https://login.example/staff", "https://127.0.0.1/jwks"),
        metadata("https://login.example/staff", "https://[::1]/jwks"),
        metadata("https://login.example/staff", "file:///etc/passwd"),
        format!(r#"{{"issuer":"x","issuer":"https://login.example/staff","jwks_uri":"{KEYS}"}}"#),
        format!("[{}]", metadata("https://login.example/staff", KEYS)),
        "{}".to_owned(),
    ];
    for document in table {
        let bench = Bench::start(STAFF);
        bench.world.answer(DISCOVERY, Ok(document.clone()));
        sleep(Duration::from_secs(20)).await;
        let asked = bench.world.take_asked();
        assert!(bench.known("staff").is_none(), "{document}");
        assert!(asked.iter().all(|(url, _)| url == DISCOVERY), "nothing else was called: {asked:?}");
        assert!(bench.end().await.iter().all(|s| s == "failed"));
    }
}

#[tokio::test(start_paused = true)]
async fn c13_a_set_with_a_private_key_is_never_published() {
    let bench = Bench::start(STAFF);
    bench.world.answer(KEYS, Ok(key_set("one").replace("\"x\":", "\"d\":\"Y2FuYXJ5\",\"x\":")));
    sleep(Duration::from_secs(20)).await;
    assert!(bench.known("staff").is_none());
    assert!(!bench.end().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_authorization_server_without_openid_is_found_too() {
    let bench = Bench::start(STAFF);
    bench.world.answer(DISCOVERY, Err(404));
    let second = "https://login.example/.well-known/oauth-authorization-server/staff";
    bench.world.answer(second, Ok(metadata("https://login.example/staff", KEYS)));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.kid(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn one_issuer_that_hangs_delays_no_other() {
    let two = STAFF.replace(
        "}]\n",
        "}, { name: guests, jwks_url: \"https://guests.example/jwks\", \
                                     issuer: guests, audience: shop, algorithms: EdDSA }]\n",
    );
    let bench = Bench::start(&two);
    bench.world.answer(DISCOVERY, Err(0));
    bench.world.answer("https://guests.example/jwks", Ok(key_set("one")));
    sleep(Duration::from_secs(1)).await;
    assert!(bench.known("guests").is_some() && bench.known("staff").is_none());
}

#[tokio::test(start_paused = true)]
async fn c3_a_plan_with_another_source_forgets_the_set_and_one_with_other_rules_judges_it_again() {
    let table = [
        ("refresh: 10m", "refresh: 11m", true),
        ("oidc: ", "issuer: other, oidc: ", false),
        ("login.example", "evil.example", false),
        ("algorithms: EdDSA", "algorithms: ES256", false),
        ("issuers: [", "issuers: []\n# ", false),
    ];
    for (from, to, kept) in table {
        let bench = Bench::start(STAFF);
        sleep(Duration::from_secs(1)).await;
        assert!(bench.known("staff").is_some());
        bench.world.answer(DISCOVERY, Err(503));
        bench.plans.send_replace(plan(&STAFF.replacen(from, to, 1)));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.known("staff").is_some(), kept, "{to}");
    }
}
