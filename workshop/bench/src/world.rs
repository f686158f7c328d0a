//! Everything that all systems are given alike: names, keys, certificates, tokens, origins.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis_testkit::{Leaf, TestCa, TokenKey, jwks};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Outcome;
use crate::origin;
use crate::plan::Work;

pub(crate) const ISSUER: &str = "https://issuer.bench.example";
pub(crate) const AUDIENCE: &str = "shop";
pub(crate) const SCOPE: &str = "orders:read";
/// High enough that nothing is refused: the price is that of counting.
pub(crate) const REQUESTS_PER_SECOND: u32 = 1_000_000;
/// One world for one run of one work.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) root: PathBuf,
    /// The proxy's server certificate and key.
    pub(crate) edge: (PathBuf, PathBuf),
    /// The proxy's client certificate and key.
    pub(crate) client: (PathBuf, PathBuf),
    pub(crate) jwks: PathBuf,
    /// The issuer's public key as PEM, for systems that read no key set.
    pub(crate) issuer_pem: PathBuf,
    /// One for each user of the work.
    pub(crate) tokens: Vec<String>,
    /// Tokens that must be refused, with what is wrong with each.
    pub(crate) bad_tokens: Vec<(&'static str, String)>,
    pub(crate) plain_origin: SocketAddr,
    pub(crate) tls_origin: SocketAddr,
    /// TLS that asks for no certificate of the proxy.
    pub(crate) open_origin: SocketAddr,
    ca: TestCa,
    key: TokenKey,
}

impl World {
    pub(crate) fn make(work: Work) -> Outcome<Self> {
        let dir =
            tempfile::Builder::new().prefix("portcullis-bench-").tempdir().map_err(|e| e.to_string())?;
        let ca = TestCa::root("bench root");
        let key = TokenKey::es256("bench");
        let leaf = ca.server(&["localhost"]);
        let world = Self {
            root: ca.write_root(dir.path(), "root"),
            edge: ca.server(&["localhost"]).write(dir.path(), "edge"),
            client: ca.spiffe("spiffe://bench.example/edge").write(dir.path(), "client"),
            jwks: write(dir.path(), "jwks.json", &jwks(&[&key]))?,
            issuer_pem: write(dir.path(), "issuer.pem", &public_pem(&key)?)?,
            tokens: (0..work.users()).map(|user| key.access_token(&claims(user))).collect(),
            bad_tokens: bad_tokens(&key),
            plain_origin: origin::start(None)?,
            tls_origin: origin::start(Some(origin_config(&ca, &leaf, Asks::Certificate)?))?,
            open_origin: origin::start(Some(origin_config(&ca, &leaf, Asks::Nothing)?))?,
            ca,
            key,
            dir,
        };
        Ok(world)
    }

    /// Writes a file of a system's own and says where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        write(self.dir.path(), name, text)
    }

    /// The token that is bad in this way.
    pub(crate) fn bad_token(&self, what: &str) -> Option<String> {
        self.bad_tokens.iter().find(|(why, _)| *why == what).map(|(_, token)| token.clone())
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What a single HTTP/1.1 request of this work is sent over.
    pub(crate) fn probe_tls(&self, work: Work) -> Outcome<Option<Arc<ClientConfig>>> {
        if work.is_secure() { self.client_config("http/1.1").map(Some) } else { Ok(None) }
    }

    /// A token of this user that has not been seen before.
    pub(crate) fn token(&self, user: usize) -> String {
        self.key.access_token(&claims(user))
    }

    /// What the load generator offers: TLS 1.3, AES-128-GCM, X25519, no resumption.
    pub(crate) fn client_config(&self, alpn: &str) -> Outcome<Arc<ClientConfig>> {
        self.client_of(alpn, Version::Tls13, Group::X25519)
    }

    /// The same with another version or group.
    pub(crate) fn client_of(&self, alpn: &str, version: Version, group: Group) -> Outcome<Arc<ClientConfig>> {
        let version = match version {
            Version::Tls12 => &rustls::version::TLS12,
            Version::Tls13 => &rustls::version::TLS13,
        };
        let mut config = ClientConfig::builder_with_provider(provider(group))
            .with_protocol_versions(&[version])
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots(&self.ca)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// A TLS version that clients offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// A group for the key exchange that clients offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    X25519,
    /// X25519MLKEM768.
    Hybrid,
}

/// What the origin wants to see of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Certificate,
    Nothing,
}

/// One suite and one group for everybody, so that nobody wins by agreeing on a cheaper one.
fn provider(group: Group) -> Arc<CryptoProvider> {
    let group = match group {
        Group::X25519 => aws_lc_rs::kx_group::X25519,
        Group::Hybrid => aws_lc_rs::kx_group::X25519MLKEM768,
    };
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    })
}

fn roots(ca: &TestCa) -> Outcome<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root_der().clone()).map_err(|e| e.to_string())?;
    Ok(roots)
}

/// The same suite and group on the other leg.
fn origin_config(ca: &TestCa, leaf: &Leaf, asks: Asks) -> Outcome<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_provider(provider(Group::X25519))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?;
    let builder = match asks {
        Asks::Nothing => builder.with_no_client_auth(),
        Asks::Certificate => {
            let roots = Arc::new(roots(ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider(Group::X25519));
            builder.with_client_cert_verifier(verifier.build().map_err(|e| e.to_string())?)
        }
    };
    let certified = builder.with_single_cert(leaf.chain.clone(), leaf.key_der());
    let mut config = certified.map_err(|e| e.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

pub(crate) fn claims(user: usize) -> Value {
    // An hour at most: an issuer's entry refuses tokens that live longer.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user-{user}"), "client_id": "bench",
        "scope": format!("profile {SCOPE}"), "jti": format!("token-{user}"),
        "iat": now, "exp": now + 3_500,
    })
}

fn bad_tokens(key: &TokenKey) -> Vec<(&'static str, String)> {
    let with = |name: &str, value: Value| {
        let mut claims = claims(0);
        if let Some(claim) = claims.get_mut(name) {
            *claim = value;
        }
        key.access_token(&claims)
    };
    vec![
        ("no token at all", String::new()),
        ("a forged signature", TokenKey::es256("bench").access_token(&claims(0))),
        ("another audience", with("aud", json!("other"))),
        ("an expired token", with("exp", json!(1_700_000_060))),
        ("a missing scope", with("scope", json!("profile"))),
    ]
}

/// The P-256 key as a SubjectPublicKeyInfo (RFC 5480 §2): a fixed prefix and the uncompressed point.
fn public_pem(key: &TokenKey) -> Outcome<String> {
    const PREFIX: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";
    let mut der = STANDARD.decode(PREFIX).map_err(|e| e.to_string())?;
    for part in ["x", "y"] {
        let jwk = key.jwk();
        let text = jwk.get(part).and_then(|v| v.as_str()).unwrap_or_default();
        der.extend(URL_SAFE_NO_PAD.decode(text).map_err(|e| e.to_string())?);
    }
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der)))
}

fn write(dir: &Path, name: &str, text: &str) -> Outcome<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}
