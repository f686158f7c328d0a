//! The shop of the demo and of the starter, as files in a folder: keys, certificates, tokens, policies, contracts.
//!
//! INVARIANT: everything secret is made here anew, for this folder alone, and is readable by its owner only.
//! INVARIANT: the starter never carries the demo's trust domain, whose keys vouch for nobody (SS028-11.1.7a).
//!
//! Not here: who runs it (`run`), what to try (`cases`).

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use portcullis_config::plan::DEMO_TRUST_DOMAIN;

use portcullis_core::{Name, NameFault, UnixMillis};
use time::OffsetDateTime;

use super::authority::{Authority, AuthorityError, Leaf};
use super::issuer::{self, Issuer, Subject};
use crate::commands::api_key;

/// Files that are written as they are.
const AS_THEY_ARE: [(&str, &str); 5] = [
    ("policies/orders.cedar", ORDERS_POLICY),
    ("policies/orders.test.yaml", include_str!("files/policies/orders.test.yaml")),
    ("contracts/orders.openapi.yaml", include_str!("files/contracts/orders.openapi.yaml")),
    ("contracts/payments.openapi.yaml", include_str!("files/contracts/payments.openapi.yaml")),
    ("contracts/stock.openapi.yaml", include_str!("files/contracts/stock.openapi.yaml")),
];
/// The policy that the cases speak of.
pub(crate) const ORDERS_POLICY: &str = include_str!("files/policies/orders.cedar");
const CONFIGURATION: &str = include_str!("files/portcullis.yaml");
const API_KEYS: &str = include_str!("files/api-keys.yaml");

/// How a shop differs from another.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    /// Where it is written.
    pub(crate) folder: PathBuf,
    /// Its `environment`.
    pub(crate) environment: &'static str,
    /// Its `trust_domain`.
    pub(crate) trust_domain: &'static str,
    /// `json` or `off`.
    pub(crate) stdout_log: &'static str,
    /// Where it listens.
    pub(crate) addresses: Addresses,
    /// Now.
    pub(crate) now: UnixMillis,
}

/// Where a shop's processes listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) gateway: SocketAddr,
    pub(crate) orders: SocketAddr,
    pub(crate) payments: SocketAddr,
    pub(crate) stock: SocketAddr,
}

/// Why a shop cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShopError {
    /// The disk.
    #[error("cannot write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Certificates.
    #[error("cannot make certificates")]
    Authority(#[from] AuthorityError),
    /// Tokens and keys.
    #[error("cannot make keys")]
    Keys(#[from] issuer::KeyError),
    /// A name of ours that is none, which a test excludes.
    #[error("cannot name the API key")]
    Name(#[from] NameFault),
    /// Randomness.
    #[error("the system gives no randomness")]
    Random(#[source] io::Error),
}

/// Who may read a file.
#[derive(Clone, Copy)]
enum Readable {
    ByOwner,
    ByAll,
}

impl Shop {
    /// The trust domain of `portcullis demo`.
    pub(crate) const DEMO: &'static str = DEMO_TRUST_DOMAIN;

    /// Writes everything.
    pub(crate) fn write(&self) -> Result<(), ShopError> {
        for folder in ["", "tls", "issuer", "keys", "tokens", "policies", "contracts"] {
            let path = self.folder.join(folder);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|cause| ShopError::Write { path, cause })?;
        }
        self.file("portcullis.yaml", &self.configuration(), Readable::ByAll)?;
        for (name, text) in AS_THEY_ARE {
            self.file(name, text, Readable::ByAll)?;
        }
        let device = self.certificates()?;
        self.api_keys()?;
        self.tokens(&device)
    }

    fn configuration(&self) -> String {
        let Addresses { gateway, orders, payments, stock } = self.addresses;
        let values = [
            ("@ENVIRONMENT@", self.environment.to_owned()),
            ("@TRUST_DOMAIN@", self.trust_domain.to_owned()),
            ("@STDOUT_LOG@", format!("\"{}\"", self.stdout_log)),
            ("@GATEWAY@", gateway.to_string()),
            ("@ORDERS@", orders.to_string()),
            ("@PAYMENTS@", payments.to_string()),
            ("@STOCK@", stock.to_string()),
        ];
        values.iter().fold(CONFIGURATION.to_owned(), |text, (mark, value)| text.replace(mark, value))
    }

    /// Three authorities, so that a certificate of one is worth nothing before another. Yields the device's thumbprint.
    fn certificates(&self) -> Result<String, ShopError> {
        let id = |name: &str| format!("spiffe://{}/{name}", self.trust_domain);
        let public = Authority::new("gateway", self.now)?;
        self.leaf("gateway", &public.server(&["localhost", "shop.localhost", "127.0.0.1", "::1"])?)?;
        self.file("tls/ca.pem", public.certificate(), Readable::ByAll)?;
        let workloads = Authority::new("workloads", self.now)?;
        self.file("tls/workloads-ca.pem", workloads.certificate(), Readable::ByAll)?;
        for name in ["edge", "orders", "payments", "stock"] {
            self.leaf(name, &workloads.workload(&id(name))?)?;
        }
        let devices = Authority::new("devices", self.now)?;
        self.file("tls/devices-ca.pem", devices.certificate(), Readable::ByAll)?;
        let device = devices.workload(&id("devices/till-3"))?;
        self.leaf("device", &device)?;
        Ok(device.thumbprint())
    }

    fn leaf(&self, name: &str, leaf: &Leaf) -> Result<(), ShopError> {
        self.file(&format!("tls/{name}.pem"), &leaf.certificate, Readable::ByAll)?;
        self.file(&format!("tls/{name}.key"), leaf.key.expose(), Readable::ByOwner)
    }

    fn api_keys(&self) -> Result<(), ShopError> {
        let mut secret = [0; 32];
        let drawn = aws_lc_rs::rand::fill(&mut secret).map_err(|_| io::Error::other("no random bytes"));
        drawn.map_err(ShopError::Random)?;
        // As text, so that a person can move it.
        let secret = portcullis_core::Sensitive::new(crate::roles::hex(&secret));
        self.file("keys/hash.key", secret.expose(), Readable::ByOwner)?;
        let (key, hash) =
            api_key::draw(&Name::parse("courier")?, secret.expose().as_bytes()).map_err(ShopError::Random)?;
        let entries =
            API_KEYS.replace("@HASH@", &hash).replace("@EXPIRES@", &format!("\"{}\"", self.next_year()));
        self.file("keys/api-keys.yaml", &entries, Readable::ByOwner)?;
        self.file("tokens/courier", &format!("X-Api-Key: {}\n", key.expose()), Readable::ByOwner)
    }

    /// Each as a header that `curl -H @FILE` sends, so that no token stands in a list of processes.
    fn tokens(&self, device: &str) -> Result<(), ShopError> {
        let issuer = Issuer::draw(&format!("https://login.{}", self.trust_domain))?;
        self.file("issuer/jwks.json", &issuer.jwks(), Readable::ByAll)?;
        let alice = Subject::new("alice", Some("c-17"), "orders.read orders.refund");
        let tokens = [
            ("alice", issuer.token(&alice, self.now)?),
            ("bob", issuer.token(&Subject::new("bob", Some("c-42"), "orders.read orders.refund"), self.now)?),
            (
                "alice-expired",
                issuer.token(&alice, UnixMillis(self.now.0.saturating_sub(issuer::LIFE_MS * 2)))?,
            ),
            ("alice-forged", Issuer::draw(issuer.name())?.token(&alice, self.now)?),
            ("clerk", issuer.token(&Subject::new("clerk", None, "stock.read"), self.now)?),
            ("till", issuer.token(&Subject::new("till", None, "payments.read"), self.now)?),
            (
                "till-bound",
                issuer.token(&Subject::new("till", None, "payments.read").bound_to(device), self.now)?,
            ),
        ];
        for (name, token) in tokens {
            let header = format!("Authorization: Bearer {}\n", token.expose());
            self.file(&format!("tokens/{name}"), &header, Readable::ByOwner)?;
        }
        Ok(())
    }

    fn file(&self, name: &str, text: &str, readable: Readable) -> Result<(), ShopError> {
        let path = self.folder.join(name);
        let mode = match readable {
            Readable::ByOwner => 0o600,
            Readable::ByAll => 0o644,
        };
        // SECURITY: `create_new` follows no link and overwrites nobody's file.
        let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|cause| ShopError::Write { path, cause })
    }

    fn next_year(&self) -> String {
        let seconds = i64::try_from(self.now.seconds()).unwrap_or(0);
        let today = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        format!("{:04}-12-31", today.year().saturating_add(1))
    }
}

/// Whether `folder` is one that a demo made: only such a one is ever removed.
pub(crate) fn is_demo(folder: &Path) -> bool {
    let text = std::fs::read_to_string(folder.join("portcullis.yaml")).unwrap_or_default();
    text.lines().any(|line| line == format!("trust_domain: {}", Shop::DEMO))
}
