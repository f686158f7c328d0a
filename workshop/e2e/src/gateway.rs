//! The product on a configuration of its own, with everything around it that it needs.
//!
//! INVARIANT: every gateway has its own folder, keys, port and upstreams, so tests know nothing of each other.
//! INVARIANT: the processes end with the [`Gateway`], and with the test's process however that ends.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_testkit::ca::ClientAuth;
use portcullis_testkit::launch::free_port;
use portcullis_testkit::{
    Behaviour, H2Conn, Launch, Leaf, RawConn, Reply, Running, TestCa, TokenKey, Upstream, jwks,
};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::book;

/// The host that the gateway's first certificate is for.
pub const HOST: &str = "api.test.example";
/// The host that its second certificate is for.
pub const OTHER_HOST: &str = "partners.test.example";
/// The exact `iss` of the first issuer's tokens.
pub const STAFF: &str = "https://login.test.example/staff";
/// The exact `iss` of the second issuer's tokens.
pub const PARTNERS: &str = "https://login.test.example/partners";
/// Where the gateway shows the keys of its internal tokens.
pub const KEYS: &str = "/.well-known/portcullis/jwks.json";

/// How long a gateway may take to be ready, and a record to be written.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the edge prints when its listeners are there.
const SERVES: &str = "the edge serves";

/// What stands around a gateway: its folder, authorities, issuers and upstreams.
pub struct Kit {
    /// The folder of the configuration; the state directory is `state` in it.
    pub dir: TempDir,
    /// The authority of the gateway's own certificates.
    pub edge_ca: TestCa,
    /// The authority of services and of the edge towards them.
    pub workload_ca: TestCa,
    /// The authority of clients.
    pub client_ca: TestCa,
    /// A certificate that is a caller of its own right, with scope `vault.read`.
    pub warehouse: Leaf,
    /// A certificate that identifies nobody, but that tokens may be bound to.
    pub nobody: Leaf,
    /// The key of issuer `staff` (ES256).
    pub staff: TokenKey,
    /// The key of issuer `partners` (EdDSA).
    pub partners: TokenKey,
    /// Behind `/orders` and `/vault`: HTTP/1.1 over mutual TLS.
    pub orders: Upstream,
    /// Behind everything that has no other upstream: HTTP/1.1 without TLS, on loopback.
    pub plain: Upstream,
    /// Behind `/two`: HTTP/2 over mutual TLS.
    pub two: Upstream,
}

/// A gateway about to be started.
pub struct Builder {
    kit: Kit,
    config: Value,
}

/// A running gateway.
pub struct Gateway {
    kit: Kit,
    address: SocketAddr,
    running: Running,
    /// How often the edge has been waited for.
    starts: usize,
}

impl Deref for Gateway {
    type Target = Kit;

    fn deref(&self) -> &Kit {
        &self.kit
    }
}

impl Kit {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (edge_ca, workload_ca, client_ca) =
            (TestCa::root("edge"), TestCa::root("workloads"), TestCa::root("clients"));
        let upstream = |name: &str, alpn: &str| {
            let leaf = workload_ca.spiffe(&format!("spiffe://test.example/{name}"));
            Upstream::start_tls(workload_ca.server_config(&leaf, ClientAuth::Required, &[alpn]))
        };
        let (orders, two) = (upstream("orders", "http/1.1"), upstream("two", "h2"));
        let spec = portcullis_testkit::LeafSpec::server(&["warehouse.test.example"]);
        let warehouse = client_ca.issue(&portcullis_testkit::LeafSpec { client_auth: true, ..spec });
        let nobody = client_ca.client("nobody");
        let (staff, partners) = (TokenKey::es256("staff-1"), TokenKey::eddsa("partners-1"));
        let plain = Upstream::start();
        // What describes a request shows the internal token, and such an answer is cut.
        for upstream in [&orders, &two, &plain] {
            upstream.behave(Behaviour { reply: Reply::Text("fine".to_owned()), ..Behaviour::default() });
        }
        Self { dir, edge_ca, workload_ca, client_ca, warehouse, nobody, staff, partners, orders, plain, two }
    }

    /// The folder of the configuration.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// An access token of issuer `staff` with these scopes and, on top, these claims.
    #[must_use]
    pub fn token(&self, subject: &str, scopes: &str, more: &Value) -> String {
        self.staff.access_token(&claims(STAFF, subject, scopes, more))
    }

    /// A token for everything that is on no special terms.
    #[must_use]
    pub fn anna(&self) -> String {
        self.token("anna", "echo orders.read orders.write", &json!({ "tenant": "north" }))
    }

    /// Writes everything that the configuration names.
    fn write(&self) {
        let dir = self.path();
        let files = [
            ("edge", self.edge_ca.server(&[HOST, "second.test.example", "127.0.0.1"])),
            ("other", self.edge_ca.server(&[OTHER_HOST])),
            ("workload", self.workload_ca.spiffe("spiffe://test.example/edge")),
        ];
        for (name, leaf) in &files {
            let _ = leaf.write(dir, name);
        }
        let _ = self.workload_ca.write_root(dir, "workloads-ca");
        let _ = self.client_ca.write_root(dir, "clients-ca");
        put(dir, "staff.jwks", &jwks(&[&self.staff]));
        put(dir, "partners.jwks", &jwks(&[&self.partners]));
        put(dir, "tenant.cedar", book::TENANT);
        put(dir, "items.openapi.yaml", book::CONTRACT);
    }
}

/// The claims of a good access token (RFC 9068 §2.2), with `more` laid over them; a `null` takes a claim out.
///
/// # Panics
/// If `more` is no object.
#[must_use]
pub fn claims(issuer: &str, subject: &str, scopes: &str, more: &Value) -> Value {
    let now = unix_seconds();
    let id = format!("{subject}-{:x}", SystemTime::now().elapsed_nanos());
    let mut claims = json!({
        "iss": issuer, "sub": subject, "aud": "shop", "client_id": "e2e", "scope": scopes,
        "iat": now, "exp": now + 600, "jti": id,
    });
    let own = claims.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("claims are an object") {
        if value.is_null() {
            own.remove(name);
        } else {
            own.insert(name.clone(), value.clone());
        }
    }
    claims
}

trait Nanos {
    fn elapsed_nanos(&self) -> u128;
}

impl Nanos for SystemTime {
    fn elapsed_nanos(&self) -> u128 {
        self.duration_since(Self::UNIX_EPOCH).map_or(0, |d| d.as_nanos())
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl Builder {
    /// What stands around the gateway.
    #[must_use]
    pub fn kit(&self) -> &Kit {
        &self.kit
    }

    /// Sets one value of the configuration, by JSON pointer; what is missing on the way is made.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let mut at = &mut self.config;
        for step in pointer.split('/').skip(1) {
            at = match at {
                Value::Array(items) => {
                    let index: usize = step.parse().expect("an index");
                    items.get_mut(index).expect("an item")
                }
                other => &mut other[step],
            };
        }
        *at = value;
        self
    }

    /// One more service.
    ///
    /// # Panics
    /// Never: the configuration has a list of services.
    #[must_use]
    pub fn service(mut self, service: Value) -> Self {
        self.config["services"].as_array_mut().expect("a list").push(service);
        self
    }

    /// One more file beside the configuration.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        put(self.kit.path(), name, text);
        self
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// If it is not ready in time.
    #[must_use]
    pub fn start(self) -> Gateway {
        let mut gateway = self.launch();
        gateway.wait_ready();
        gateway
    }

    /// Starts it and does not wait.
    #[must_use]
    pub fn launch(self) -> Gateway {
        let address = free_port();
        let config = self.set("/gateway/listen", json!(address.to_string()));
        // A JSON document is a YAML document.
        put(config.kit.path(), "portcullis.yaml", &format!("{:#}", config.config));
        let file = config.kit.path().join("portcullis.yaml");
        let running = Launch::program(program()).arg("up").arg("--with-parent").arg("-c").arg(file);
        Gateway { kit: config.kit, address, running: running.start(), starts: 0 }
    }
}

impl Gateway {
    /// A configuration with everything in it that the tests have in common.
    #[must_use]
    pub fn builder() -> Builder {
        let kit = Kit::new();
        kit.write();
        let config = book::config(&kit);
        Builder { kit, config }
    }

    /// A gateway on the common configuration.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process: the supervisor.
    pub fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Waits until the edge has said that it serves: once more often than at the last call.
    ///
    /// # Panics
    /// If it has not in time, or the process has ended.
    pub fn wait_ready(&mut self) {
        self.starts += 1;
        let starts = self.starts;
        self.running.wait_until("an edge that serves", PATIENCE, |running| {
            (running.output().matches(SERVES).count() >= starts).then_some(())
        });
    }

    /// The process of a role (`edge`, `control`), from the supervisor's own words.
    ///
    /// # Panics
    /// If it was never started.
    #[must_use]
    pub fn role(&self, role: &str) -> u32 {
        let mark = format!("role=`{role}` is=`");
        let output = self.output();
        let started = output.lines().rfind(|l| l.contains("started") && l.contains(&mark));
        let id = started.and_then(|line| line.split(&mark).nth(1)?.split('`').next()?.parse().ok());
        id.unwrap_or_else(|| panic!("no `{role}` in:\n{output}"))
    }

    /// Its admin socket.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::at(&self.path().join("state/admin.sock"))
    }

    /// Changes the configuration on disk in one step, as an editor of care does.
    ///
    /// # Panics
    /// If the file cannot be read or written.
    pub fn rewrite(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("portcullis.yaml");
        let text = std::fs::read_to_string(&path).expect("our own file");
        let mut config: Value = serde_json::from_str(&text).expect("our own JSON");
        change(&mut config);
        put(self.path(), "next.yaml", &format!("{config:#}"));
        std::fs::rename(self.path().join("next.yaml"), path).expect("our own folder");
    }

    /// An HTTP/1.1 connection without a client certificate.
    ///
    /// # Panics
    /// If the handshake fails.
    #[must_use]
    pub fn raw(&self) -> RawConn {
        self.raw_as(HOST, None)
    }

    /// An HTTP/1.1 connection under this server name, with this client certificate.
    ///
    /// # Panics
    /// If the handshake fails.
    #[must_use]
    pub fn raw_as(&self, name: &str, leaf: Option<&Leaf>) -> RawConn {
        let config = self.client(leaf, "http/1.1");
        RawConn::tls(self.address, name, config).expect("a handshake")
    }

    /// A connection on which the caller writes the frames of HTTP/2.
    ///
    /// # Panics
    /// If the handshake fails.
    #[must_use]
    pub fn frames(&self) -> RawConn {
        RawConn::tls(self.address, HOST, self.client(None, "h2")).expect("a handshake")
    }

    /// An HTTP/2 connection without a client certificate.
    ///
    /// # Panics
    /// If the handshake fails.
    #[must_use]
    pub fn h2(&self) -> H2Conn {
        self.h2_as(HOST, None)
    }

    /// An HTTP/2 connection under this server name, with this client certificate.
    ///
    /// # Panics
    /// If the handshake fails.
    #[must_use]
    pub fn h2_as(&self, name: &str, leaf: Option<&Leaf>) -> H2Conn {
        H2Conn::tls(self.address, name, self.client(leaf, "h2")).expect("a handshake")
    }

    /// How a client of the gateway speaks TLS.
    #[must_use]
    pub fn client(&self, leaf: Option<&Leaf>, alpn: &str) -> Arc<ClientConfig> {
        let config = match leaf {
            Some(_) => self.kit.client_ca.client_config(leaf, &[alpn]),
            None => return self.kit.edge_ca.client_config(None, &[alpn]),
        };
        // The client shows a leaf of one authority and trusts another one.
        let mut config = Arc::unwrap_or_clone(config);
        let trusting = Arc::unwrap_or_clone(self.kit.edge_ca.client_config(None, &[alpn]));
        let resolver = Arc::clone(&config.client_auth_cert_resolver);
        config = trusting;
        config.client_auth_cert_resolver = resolver;
        Arc::new(config)
    }

    /// Everything that its processes have printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.running.output()
    }

    /// The records on its standard output so far.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        let output = self.running.output();
        let lines = output.lines().filter(|line| line.starts_with('{'));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first record for which `found` holds, waiting for it.
    ///
    /// # Panics
    /// If there is none in time.
    #[must_use]
    pub fn record(&self, what: &str, found: impl Fn(&Value) -> bool) -> Value {
        let found = |_: &Running| self.records().into_iter().find(|record| found(record));
        let found = self.running.within(Duration::from_secs(5), found);
        found.unwrap_or_else(|| panic!("no record of {what} in:\n{}", self.output()))
    }

    /// The record that ends the request with this id (the header `x-request-id` of its answer).
    #[must_use]
    pub fn ended(&self, id: &str) -> Value {
        self.record(id, |record| record["event"] == "ended" && record["id"] == id)
    }

    /// A record of a refusal for this reason.
    #[must_use]
    pub fn refused(&self, reason: &str) -> Value {
        self.record(reason, |record| record["reason"] == reason)
    }

    /// Runs the product with these words and `-c` its configuration, to its end: status and output.
    #[must_use]
    pub fn portcullis(&self, words: &[&str]) -> (std::process::ExitStatus, String) {
        let file = self.kit.path().join("portcullis.yaml");
        Launch::program(program()).args(words).arg("-c").arg(file).finish(PATIENCE)
    }

    /// Asks it to end and waits until it has; gives back what is left of it.
    ///
    /// # Panics
    /// If it does not end in time.
    #[must_use]
    pub fn stop(mut self) -> (std::process::ExitStatus, String, Kit) {
        let status = self.running.terminate(PATIENCE);
        (status, self.running.output(), self.kit)
    }
}

/// The built product, beside the folder of the test that runs.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.ancestors().nth(2).expect("a test is in `deps`");
    let program = folder.join("portcullis");
    assert!(program.is_file(), "there is no `{}`: run `cargo build` first", program.display());
    program
}

fn put(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap_or_else(|e| panic!("cannot write `{name}`: {e}"));
}
