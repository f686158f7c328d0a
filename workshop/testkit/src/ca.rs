//! A certificate authority that lives as long as one test.
//!
//! Leaves are valid from yesterday to tomorrow unless the test asks for others. All keys are P-256.
//!
//! Sources: RFC 5280; SPIFFE X.509-SVID (one URI name, CA flag off, digital signature).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::client::ClientConfig;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// A root or an intermediate, and its key.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What a leaf must send besides itself: empty for a root.
    chain: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
}

/// What a leaf says. Start from a constructor and change what the test is about.
#[derive(Clone, Debug)]
pub struct LeafSpec {
    /// Subject common name.
    pub common_name: String,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    /// URI names, such as SPIFFE ids.
    pub uris: Vec<String>,
    /// May it be presented by a client?
    pub client_auth: bool,
    /// May it be presented by a server?
    pub server_auth: bool,
    /// First moment of validity, as days from today.
    pub from_days: i64,
    /// Last moment of validity, from now.
    pub to: Duration,
}

/// A certificate with its key and the chain to send.
#[derive(Debug)]
pub struct Leaf {
    /// Leaf first, then intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    key_pem: String,
}

impl LeafSpec {
    /// A server for these DNS names or addresses.
    #[must_use]
    pub fn server(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        Self { names, client_auth: false, ..Self::both("server") }
    }

    /// A client with a common name and no other.
    #[must_use]
    pub fn client(common_name: &str) -> Self {
        Self { server_auth: false, ..Self::both(common_name) }
    }

    /// A workload that is both, known by its SPIFFE id and reachable on loopback.
    #[must_use]
    pub fn spiffe(id: &str) -> Self {
        Self { uris: vec![id.to_owned()], ..Self::both("workload") }
    }

    /// The same leaf, valid between these two days counted from today.
    #[must_use]
    pub fn valid_days(self, from: i64, to: i64) -> Self {
        Self { from_days: from, to: Duration::days(to), ..self }
    }

    /// The same leaf, valid for some more seconds.
    #[must_use]
    pub fn ends_in_seconds(self, seconds: i64) -> Self {
        Self { to: Duration::seconds(seconds), ..self }
    }

    fn both(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            names: Vec::new(),
            uris: Vec::new(),
            client_auth: true,
            server_auth: true,
            from_days: -1,
            to: Duration::days(1),
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params =
            CertificateParams::new(self.names.clone()).expect("names are DNS names or addresses");
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().expect("a URI is ASCII")));
        }
        params.distinguished_name = distinguished(&self.common_name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.client_auth {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        if self.server_auth {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(self.from_days, self.to);
        params
    }
}

impl TestCa {
    /// A self-signed root.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(ca_params(name), new_key()).expect("a root signs itself");
        let root = issuer.der().clone();
        Self { issuer, chain: Vec::new(), root }
    }

    /// An intermediate below this one; its leaves carry it in their chain.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let issuer =
            CertifiedIssuer::signed_by(ca_params(name), new_key(), &self.issuer).expect("an issuer signs");
        let mut chain = vec![issuer.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Self { issuer, chain, root: self.root.clone() }
    }

    /// Issues a leaf exactly as asked, sensible or not.
    #[must_use]
    pub fn issue(&self, spec: &LeafSpec) -> Leaf {
        let key = new_key();
        let cert = spec.params().signed_by(&key, &self.issuer).expect("an issuer signs");
        let mut chain = vec![cert.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Leaf { chain, key: key.serialize_der(), key_pem: key.serialize_pem() }
    }

    /// A server leaf for these names.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Leaf {
        self.issue(&LeafSpec::server(names))
    }

    /// A client leaf.
    #[must_use]
    pub fn client(&self, common_name: &str) -> Leaf {
        self.issue(&LeafSpec::client(common_name))
    }

    /// A workload leaf with a SPIFFE id.
    #[must_use]
    pub fn spiffe(&self, id: &str) -> Leaf {
        self.issue(&LeafSpec::spiffe(id))
    }

    /// The root that a verifier is told to trust, as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        pem("CERTIFICATE", &self.root)
    }

    /// The root that a verifier is told to trust.
    #[must_use]
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Writes the root to `dir/NAME.pem` and says where.
    #[must_use]
    pub fn write_root(&self, dir: &Path, name: &str) -> PathBuf {
        write(dir, &format!("{name}.pem"), &self.root_pem())
    }

    /// A client that trusts this root alone and offers these protocols, with or without a certificate.
    #[must_use]
    pub fn client_config(&self, leaf: Option<&Leaf>, alpn: &[&str]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has both versions")
            .with_root_certificates(self.store());
        let mut config = match leaf {
            Some(leaf) => {
                builder.with_client_auth_cert(leaf.chain.clone(), leaf.key_der()).expect("a good key")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    /// A server that shows `leaf` and, with [`ClientAuth::Required`], insists on a client of this root.
    #[must_use]
    pub fn server_config(&self, leaf: &Leaf, clients: ClientAuth, alpn: &[&str]) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has both versions");
        let builder = match clients {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Required => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(self.store()), provider());
                builder.with_client_cert_verifier(verifier.build().expect("one root"))
            }
        };
        let mut config = builder.with_single_cert(leaf.chain.clone(), leaf.key_der()).expect("a good key");
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(self.root.clone()).expect("our own root parses");
        store
    }
}

/// Whether a test server asks its clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Does not ask.
    None,
    /// Refuses who has none.
    Required,
}

impl Leaf {
    /// The leaf's own certificate.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// The private key, PKCS#8.
    #[must_use]
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }

    /// Leaf and intermediates as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|cert| pem("CERTIFICATE", cert)).collect()
    }

    /// The private key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The `x5t#S256` of the leaf (RFC 8705 §3.1).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.der()))
    }

    /// Writes `dir/NAME.pem` (chain) and `dir/NAME.key` (mode 0600) and says where.
    #[must_use]
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = write(dir, &format!("{name}.key"), &self.key_pem);
        rustix::fs::chmod(&key, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("our own file");
        (write(dir, &format!("{name}.pem"), &self.chain_pem()), key)
    }
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|p| p.as_bytes().to_vec()).collect()
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(-2, Duration::days(30));
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

fn distinguished(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn validity(from_days: i64, to: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now + Duration::days(from_days), now + to)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|b| char::from(*b)));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_leaf_carries_its_id_and_chains_to_the_root() {
        let ca = TestCa::root("root").intermediate("issuing");
        let leaf = ca.spiffe("spiffe://shop.example/orders");
        assert_eq!(leaf.chain.len(), 2, "leaf and intermediate");
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf.der()).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(format!("{names:?}").contains("spiffe://shop.example/orders"));
        assert!(leaf.chain_pem().matches("BEGIN CERTIFICATE").count() == 2);
    }

    #[test]
    fn a_leaf_of_yesterday_has_expired() {
        let leaf = TestCa::root("root").issue(&LeafSpec::client("late").valid_days(-3, -1));
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf.der()).unwrap();
        assert!(!parsed.validity().is_valid());
    }
}
