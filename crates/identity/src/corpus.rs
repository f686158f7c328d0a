//! Certificates that must not name anybody, and some that must: public SVIDs and leaves made here.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::{Binding, Name, Proof, SpiffeFault, TrustDomain, UnixMillis};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};

use crate::*;

/// The first certificate of a PEM file.
fn vector(file: &str) -> Option<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors/spiffe");
    let text = std::fs::read_to_string(Path::new(folder).join(file)).expect("a vector file");
    let (_, body) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = body.split_once("-----END CERTIFICATE-----")?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

fn domain(text: &str) -> TrustDomain {
    TrustDomain::parse(text).expect("a trust domain")
}

fn spiffe(text: &str) -> CertificateNames {
    CertificateNames {
        issuer: Name::parse("workloads").expect("a name"),
        which: NameKind::Spiffe(domain(text)),
    }
}

fn dns() -> CertificateNames {
    CertificateNames { issuer: Name::parse("partners").expect("a name"), which: NameKind::Dns }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

fn host(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

/// A leaf for client authentication with these names, changed by `change`.
fn leaf(names: Vec<SanType>, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.serial_number = Some(SerialNumber::from(vec![0x00, 0x9a, 0x0b]));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

/// A subject alternative name extension of one name with any bytes: a tag (0x82 DNS, 0x86 URI) and its content.
fn raw_name(tag: u8, content: &[u8]) -> Vec<u8> {
    let short = |length: usize| u8::try_from(length).expect("a short name");
    let mut names = vec![0x30, short(content.len() + 2), tag, short(content.len())];
    names.extend_from_slice(content);
    leaf(Vec::new(), |params| {
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
    })
}

fn read(der: Vec<u8>) -> Result<ClientCertificate, CertificateFault> {
    ClientCertificate::read(&[der])
}

#[test]
fn spf2_public_svids() {
    let good = "spiffe://example.org/workload-1";
    for (file, want) in [
        ("good-leaf-only.pem", Ok(good)),
        ("good-leaf-and-intermediate.pem", Ok(good)),
        ("good-cert-and-key.pem", Ok(good)),
        ("good-key-and-cert.pem", Ok(good)),
        // What is wrong with these two is an authority: the handshake refuses the chain, not this room the leaf.
        ("wrong-intermediate-no-ca.pem", Ok(good)),
        ("wrong-intermediate-no-key-cert-sign.pem", Ok(good)),
        ("wrong-leaf-ca-true.pem", Err(CertificateFault::Authority)),
        ("wrong-leaf-cert-sign.pem", Err(CertificateFault::Authority)),
        ("wrong-leaf-crl-sign.pem", Err(CertificateFault::Authority)),
        ("wrong-leaf-no-digital-signature.pem", Err(CertificateFault::Authority)),
        ("wrong-leaf-empty-id.pem", Err(CertificateFault::Ambiguous { kind: "URI", found: 0 })),
    ] {
        let got = read(vector(file).expect("a certificate"))
            .and_then(|leaf| leaf.principal(&spiffe("example.org")));
        assert_eq!(got.map(|p| p.subject.to_string()), want.map(str::to_owned), "{file}");
    }
    if let Some(corrupt) = vector("corrupt-cert.pem") {
        assert!(read(corrupt).is_err());
    }
    for file in ["corrupt-key.pem", "key-pkcs8-ecdsa.pem", "key-pkcs8-rsa.pem", "not-pem"] {
        assert!(vector(file).is_none_or(|der| read(der).is_err()), "{file}");
    }
}

#[test]
fn a_client_certificate_gives_its_facts() {
    let der = leaf(vec![uri("spiffe://shop.example/orders"), host("orders.shop.example")], |_| {});
    let leaf = read(der.clone()).expect("reads");
    assert_eq!((leaf.common_name(), leaf.serial()), (Some("admin"), "9a0b"));
    assert_eq!((leaf.dns_names(), leaf.uris().len()), (&["orders.shop.example".to_owned()][..], 1));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    assert_eq!(leaf.thumbprint().as_slice(), digest.as_ref());
    assert_eq!(leaf.x5t_s256().len(), 43);
    let principal = leaf.principal(&spiffe("shop.example")).expect("names a workload");
    assert_eq!((principal.proof, principal.binding), (Proof::Certificate, Binding::MutualTls));
    assert_eq!(&*principal.subject, "spiffe://shop.example/orders");
    assert_eq!((principal.credential.as_deref(), principal.expires), (Some("9a0b"), Some(leaf.not_after())));
    assert_eq!(leaf.principal(&dns()).map(|p| p.subject.to_string()), Ok("orders.shop.example".to_owned()));
    assert!(leaf.is_valid_at(UnixMillis::from_seconds(1_790_000_000)));
    assert!(!leaf.is_valid_at(leaf.not_after()));
}

#[test]
fn d3_a_name_with_two_readings_refuses_the_certificate() {
    let good = raw_name(0x82, b"orders.shop.example");
    assert!(
        read(good).and_then(|leaf| leaf.principal(&dns())).is_ok(),
        "the way the bad ones are made is good"
    );
    for (tag, content) in [
        (0x82, &b"orders.shop.example\0.evil.example"[..]),
        (0x82, b"orders.shop.example\n"),
        (0x82, b"orders shop"),
        (0x82, b"\xc3\xb6rders.shop.example"),
        (0x82, b"\xff"),
        (0x82, b""),
        (0x86, b"spiffe://shop.example/orders\0"),
        (0x86, b"spiffe://shop.example/\xe2\x80\xae"),
        (0x81, b"a\0@shop.example"),
    ] {
        let got = read(raw_name(tag, content));
        assert_eq!(got.err(), Some(CertificateFault::OddName), "{:?}", String::from_utf8_lossy(content));
    }
}

#[test]
fn d3_what_could_name_two_names_nobody() {
    let two = vec![uri("spiffe://shop.example/a"), uri("spiffe://shop.example/b")];
    let table: [(Vec<SanType>, CertificateNames, CertificateFault); 9] = [
        (two, spiffe("shop.example"), CertificateFault::Ambiguous { kind: "URI", found: 2 }),
        (vec![], spiffe("shop.example"), CertificateFault::Ambiguous { kind: "URI", found: 0 }),
        (vec![], dns(), CertificateFault::Ambiguous { kind: "DNS", found: 0 }),
        (
            vec![host("a.example"), host("b.example")],
            dns(),
            CertificateFault::Ambiguous { kind: "DNS", found: 2 },
        ),
        (vec![host("*.shop.example")], dns(), CertificateFault::Host),
        (vec![host("orders..example")], dns(), CertificateFault::Host),
        (vec![host("orders.example.")], dns(), CertificateFault::Host),
        (
            vec![uri("https://shop.example/a")],
            spiffe("shop.example"),
            CertificateFault::Spiffe(SpiffeFault::Scheme),
        ),
        (
            vec![uri("spiffe://shop.example")],
            spiffe("shop.example"),
            CertificateFault::Spiffe(SpiffeFault::NoPath),
        ),
    ];
    for (names, rules, want) in table {
        let got = read(leaf(names.clone(), |_| {})).expect("reads").principal(&rules);
        assert_eq!(got.err(), Some(want), "{names:?}");
    }
}

#[test]
fn spf8_an_authority_names_only_workloads_of_its_own_trust_domain() {
    let leaf = read(leaf(vec![uri("spiffe://shop.example/orders")], |_| {})).expect("reads");
    for other in ["example", "shop.example.evil", "evil.shop.example", "shop_example"] {
        let got = leaf.principal(&spiffe(other)).err();
        assert_eq!(got, Some(CertificateFault::OtherTrustDomain { want: domain(other) }));
    }
}

#[test]
fn d3_a_certificate_for_something_else_authenticates_nobody() {
    let id = || vec![uri("spiffe://shop.example/orders")];
    let of = |change: fn(&mut CertificateParams)| read(leaf(id(), change)).err();
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    assert_eq!(of(|p| p.extended_key_usages = vec![ServerAuth]), Some(CertificateFault::NotForClients));
    assert_eq!(of(|p| p.extended_key_usages = vec![Any]), Some(CertificateFault::NotForClients));
    assert_eq!(of(|p| p.extended_key_usages = vec![ServerAuth, ClientAuth]), None);
    assert_eq!(of(|p| p.extended_key_usages.clear()), None, "SPF-2: optional beside a key usage");
    assert_eq!(
        of(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        Some(CertificateFault::Authority)
    );
    assert_eq!(of(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)), Some(CertificateFault::Authority));
    let encipher = |p: &mut CertificateParams| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    assert_eq!(of(encipher), Some(CertificateFault::NoDigitalSignature));
    let nothing = |p: &mut CertificateParams| {
        p.key_usages.clear();
        p.extended_key_usages.clear();
    };
    assert_eq!(of(nothing), Some(CertificateFault::NotForClients));
    let twice = |p: &mut CertificateParams| {
        let usage = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![0x03, 0x02, 0x07, 0x80]);
        p.custom_extensions.push(usage);
    };
    assert!(matches!(of(twice), Some(CertificateFault::Malformed { .. })));
}

#[test]
fn d3_the_common_name_names_nobody() {
    let common =
        leaf(Vec::new(), |params| params.distinguished_name.push(DnType::CommonName, "orders.shop.example"));
    let leaf = read(common).expect("reads");
    assert!(leaf.principal(&dns()).is_err() && leaf.principal(&spiffe("shop.example")).is_err());
}

#[test]
fn what_is_not_one_certificate_is_none() {
    assert_eq!(ClientCertificate::read(&[]).err(), Some(CertificateFault::NoLeaf));
    let mut two = leaf(vec![host("a.example")], |_| {});
    two.push(0);
    for bad in [two, Vec::new(), vec![0x30], vec![0x30, 0x80], vec![0; 65 * 1024]] {
        assert!(matches!(read(bad).err(), Some(CertificateFault::Malformed { .. })));
    }
}

#[test]
fn e9_too_many_names_are_refused() {
    let names = |count: usize| (0..count).map(|n| host(&format!("h{n}.example"))).collect();
    assert!(read(leaf(names(64), |_| {})).is_ok());
    assert_eq!(read(leaf(names(65), |_| {})).err(), Some(CertificateFault::OddName));
}

proptest! {
    /// Any change of one byte of a certificate is read or refused, without a panic, and changes its thumbprint.
    #[test]
    fn d3_changed_bytes_never_panic(at in 0usize..400, byte in any::<u8>(), cut in 0usize..3) {
        let mut der = vector("good-leaf-only.pem").expect("a certificate");
        let before = read(der.clone()).expect("reads");
        let at = at % der.len();
        let same = der[at] == byte && cut > 0;
        if cut == 0 { der.truncate(at) } else { der[at] = byte }
        if let Ok(after) = read(der) {
            prop_assert_eq!(after.thumbprint() == before.thumbprint(), same);
        }
    }
}
