//! Certificates that are issued, and all that must not be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_core::UnixMillis;
use proptest::prelude::*;
use rustls_pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::*;
use crate::key::MemoryKey;

const NOW: u64 = 1_790_000_000;

fn domain() -> TrustDomain {
    TrustDomain::parse("shop.example").expect("a trust domain")
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("an id")
}

fn key() -> MemoryKey {
    MemoryKey::generate().expect("a key").0
}

fn span(from: u64, until: u64) -> Validity {
    Validity { from: UnixMillis::from_seconds(from), until: UnixMillis::from_seconds(until) }
}

fn serial(number: u8) -> Serial {
    Serial::from_random([number; 16])
}

/// A root, and an authority for workloads below it.
fn authorities() -> (Authority, Authority) {
    let root = Authority::root(&domain(), Box::new(key()), serial(1), span(NOW - 100, NOW + 100_000));
    let root = root.expect("a root");
    let own = key();
    let certificate =
        root.certify(own.public(), serial(2), span(NOW - 100, NOW + 50_000)).expect("certified");
    let workloads = Authority::open(certificate, Vec::new(), Box::new(own), &domain()).expect("an authority");
    (root, workloads)
}

fn orders() -> Svid {
    Svid {
        id: id("spiffe://shop.example/orders"),
        key: key().public().clone(),
        serial: serial(3),
        validity: span(NOW - 60, NOW + 3_600),
    }
}

/// What a verifier that nobody here wrote says of a chain, at a time.
fn verify(root: &Authority, chain: &[CertificateDer<'_>], at: u64) -> Result<(), webpki::Error> {
    let anchors = [anchor_from_trusted_cert(root.certificate()).expect("an anchor")];
    let (leaf, above) = chain.split_first().expect("a leaf");
    let leaf = EndEntityCert::try_from(leaf)?;
    let algorithms = [webpki::aws_lc_rs::ECDSA_P256_SHA256];
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at));
    for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
        leaf.verify_for_usage(&algorithms, &anchors, above, time, usage, None, None)?;
    }
    Ok(())
}

#[test]
fn what_is_issued_stands_before_a_verifier_of_others() {
    let (root, workloads) = authorities();
    let issued = workloads.issue(&orders()).expect("issued");
    assert_eq!(issued.chain.len(), 2, "the root is in the bundle");
    for (at, good) in [(NOW - 61, false), (NOW - 60, true), (NOW + 3_599, true), (NOW + 3_600, false)] {
        assert_eq!(verify(&root, &issued.chain, at).is_ok(), good, "{at}");
    }
    let (other, _) = authorities();
    assert!(verify(&other, &issued.chain, NOW).is_err(), "another root of the same name");
}

#[test]
fn ss028_11_1_7a_a_name_of_another_environment_is_not_certified() {
    let (_, workloads) = authorities();
    for foreign in ["spiffe://test.shop.example/orders", "spiffe://shop.example.evil/orders", "spiffe://x/y"]
    {
        let fault = workloads.issue(&Svid { id: id(foreign), ..orders() }).expect_err("foreign");
        assert!(matches!(fault, IssueFault::OtherDomain { .. }), "{fault}");
    }
}

#[test]
fn ss028_11_2_10_nothing_outlives_its_issuer() {
    let (root, workloads) = authorities();
    for (from, until) in [(NOW - 101, NOW), (NOW, NOW + 50_001), (NOW, NOW), (NOW + 1, NOW)] {
        let fault = workloads.issue(&Svid { validity: span(from, until), ..orders() });
        assert_eq!(fault.err(), Some(IssueFault::Outlives), "{from} to {until}");
    }
    let longer = root.certify(key().public(), serial(4), span(NOW, NOW + 100_001));
    assert!(matches!(longer, Err(AuthorityFault::Unfit(_))), "{longer:?}");
}

#[test]
fn each_level_certifies_what_is_below_it_and_nothing_else() {
    let (root, workloads) = authorities();
    assert_eq!(root.issue(&orders()).err(), Some(IssueFault::Root));
    let deeper = workloads.certify(key().public(), serial(5), span(NOW, NOW + 1_000));
    assert!(matches!(deeper, Err(AuthorityFault::Unfit(_))), "{deeper:?}");
}

/// A certificate that some other authority made of an intermediate which may go deeper.
#[test]
fn d4_an_authority_below_a_root_that_may_certify_authorities_is_refused() {
    let (root, _) = authorities();
    let own = key();
    let decided =
        Decided { level: Level::Root, domain: &domain(), serial: serial(9), validity: span(NOW, NOW + 900) };
    let issuer = Issuer::from_ca_cert_der(&root.certificate, plain(&*root.key)).expect("an issuer");
    let made = decided.params().expect("params").signed_by(own.public(), &issuer).expect("made");
    let fault = Authority::open(made.der().clone(), Vec::new(), Box::new(own), &domain()).err();
    assert!(fault.is_some_and(|fault| fault.to_string().contains("may certify authorities")));
}

#[test]
fn c12_a_certificate_that_may_not_sign_is_no_authority() {
    let (root, workloads) = authorities();
    let own = key();
    let open = |der, key| Authority::open(der, Vec::new(), Box::new(key), &domain()).err();
    let leaf = workloads.issue(&Svid { key: own.public().clone(), ..orders() }).expect("issued");
    let leaf = leaf.chain.into_iter().next().expect("a leaf");
    assert!(matches!(open(leaf, own), Some(AuthorityFault::Unfit(_))));
    assert_eq!(open(root.certificate().clone(), key()), Some(AuthorityFault::OtherKey));
    let trailing = CertificateDer::from([root.certificate().as_ref(), b"x"].concat());
    assert_eq!(open(trailing, key()), Some(AuthorityFault::Malformed));
    assert_eq!(open(CertificateDer::from(vec![0x30]), key()), Some(AuthorityFault::Malformed));
}

#[test]
fn an_authority_of_another_trust_domain_is_refused() {
    let own = key();
    let (root, _) = authorities();
    let certificate = root.certify(own.public(), serial(6), span(NOW, NOW + 1_000)).expect("certified");
    let other = TrustDomain::parse("test.example").expect("a trust domain");
    let fault = Authority::open(certificate, Vec::new(), Box::new(own), &other).err();
    assert_eq!(fault, Some(AuthorityFault::OtherDomain(other)));
}

#[test]
fn d4_name_constraints_under_which_no_workload_could_be_verified_are_refused() {
    let own = key();
    let decided = Decided {
        level: Level::Root,
        domain: &domain(),
        serial: serial(7),
        validity: span(NOW, NOW + 1_000),
    };
    let mut params = decided.params().expect("params");
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("shop.example".into())],
        excluded_subtrees: vec![],
    });
    let made = params.self_signed(&plain(&own)).expect("made").der().clone();
    let fault = Authority::open(made, Vec::new(), Box::new(own), &domain()).err();
    assert!(fault.is_some_and(|fault| fault.to_string().contains("name constraints")));
}

/// A key that misbehaves as a token may.
struct Odd {
    key: MemoryKey,
    answers: Mutex<Option<Result<Vec<u8>, SignFault>>>,
    asked: Arc<AtomicUsize>,
}

impl CaKey for Odd {
    fn public(&self) -> &PublicKey {
        self.key.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFault> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let odd = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        odd.unwrap_or_else(|| self.key.sign(message))
    }
}

fn with_odd(answer: Option<Result<Vec<u8>, SignFault>>) -> (Authority, Arc<AtomicUsize>) {
    let (root, _) = authorities();
    let asked = Arc::new(AtomicUsize::new(0));
    let odd = Odd { key: key(), answers: Mutex::new(answer), asked: Arc::clone(&asked) };
    let certificate =
        root.certify(odd.public(), serial(8), span(NOW - 100, NOW + 50_000)).expect("certified");
    (Authority::open(certificate, Vec::new(), Box::new(odd), &domain()).expect("an authority"), asked)
}

#[test]
fn a_key_that_signs_badly_or_not_at_all_issues_nothing() {
    let other = key().sign(b"another message").expect("a signature");
    let table = [
        (Err(SignFault), IssueFault::Sign(SignFault)),
        (Ok(Vec::new()), IssueFault::BadSignature),
        (Ok(vec![0; 72]), IssueFault::BadSignature),
        (Ok(other), IssueFault::BadSignature),
    ];
    for (answer, want) in table {
        let (authority, _) = with_odd(Some(answer));
        assert_eq!(authority.issue(&orders()).err(), Some(want));
    }
}

/// What holds the key answers with something else while it certifies an authority.
#[test]
fn a_root_whose_key_signs_badly_certifies_nothing() {
    let odd = |answers| Odd { key: key(), answers: Mutex::new(answers), asked: Arc::default() };
    let garbage = || Some(Ok(vec![0; 72]));
    let made = Authority::root(&domain(), Box::new(odd(garbage())), serial(1), span(NOW, NOW + 1_000));
    assert_eq!(made.err(), Some(AuthorityFault::Sign(SignFault)));
    let good = odd(None);
    let root = authorities().0;
    let facts = Facts::read(root.certificate(), root.key.public(), &domain()).expect("facts");
    let bad = Odd { key: good.key, ..odd(garbage()) };
    let broken = Authority {
        certificate: root.certificate.clone(),
        above: vec![],
        domain: domain(),
        facts,
        key: Box::new(bad),
    };
    let certified = broken.certify(key().public(), serial(2), span(NOW, NOW + 900));
    assert_eq!(certified.err(), Some(AuthorityFault::Sign(SignFault)));
}

#[test]
fn d5_an_authority_that_is_not_the_decided_one_is_not_used() {
    let (own, domain) = (key(), domain());
    let decided =
        Decided { level: Level::Root, domain: &domain, serial: serial(1), validity: span(NOW, NOW + 1_000) };
    let made = decided.params().expect("params").self_signed(&plain(&own)).expect("made").der().clone();
    let holds = |decided: Decided<'_>, issuer| decided.is_said_by(&made, own.public(), issuer).map(drop);
    assert_eq!(holds(decided, None), Ok(()));
    for other in [
        Decided { serial: serial(2), ..decided },
        Decided { level: Level::Workloads, ..decided },
        Decided { validity: span(NOW, NOW + 1_001), ..decided },
    ] {
        assert_eq!(holds(other, None), Err(AuthorityFault::Unwritable));
    }
    assert_eq!(holds(decided, Some(&[0x30, 0])), Err(AuthorityFault::Unwritable), "another issuer");
}

/// What was built is compared byte for byte: here another certificate than the decided one is handed to be signed.
#[test]
fn d5_what_was_not_decided_is_never_signed() {
    let (authority, asked) = with_odd(None);
    let decided = orders();
    let built = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = decided.params().expect("params");
        change(&mut params);
        let fault = Cell::new(None);
        let sign =
            |tbs: &[u8]| authority.sign_checked(tbs, &decided).map_err(|found| fault.set(Some(found))).ok();
        let signing = Signing { public: authority.key.public(), sign };
        let issuer = Issuer::from_ca_cert_der(&authority.certificate, signing).expect("an issuer");
        params.signed_by(&decided.key, &issuer).err().and(fault.take())
    };
    type Change = fn(&mut rcgen::CertificateParams);
    let table: [(Change, &str); 13] = [
        (
            |p| p.subject_alt_names.push(rcgen::SanType::DnsName("x.example".try_into().expect("a name"))),
            "length of extensions",
        ),
        (
            |p| {
                let other = "spiffe://shop.example/others".try_into().expect("ASCII");
                p.subject_alt_names = vec![rcgen::SanType::URI(other)];
            },
            "name",
        ),
        (|p| p.subject_alt_names.clear(), "length of extensions"),
        (|p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0)), "length of extensions"),
        (
            |p| p.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![1; 20]),
            "subject key identifier",
        ),
        (|p| p.is_ca = rcgen::IsCa::NoCa, "length of extensions"),
        (|p| p.key_usages.push(rcgen::KeyUsagePurpose::KeyCertSign), "key usage"),
        (|p| p.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::CodeSigning), "length of extensions"),
        (|p| p.serial_number = Some(vec![1].into()), "serial number"),
        (|p| p.not_after += Duration::from_secs(1), "times"),
        (|p| p.not_before -= Duration::from_secs(1), "times"),
        (|p| p.distinguished_name.push(rcgen::DnType::CommonName, "root"), "subject"),
        (|p| p.use_authority_key_identifier_extension = false, "length of extensions"),
    ];
    for (change, what) in table {
        assert_eq!(built(change), Some(IssueFault::Built(Mismatch(what))), "{what}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "the key was never asked");
    assert_eq!(built(|_| {}), None);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is decided within the rules can be issued, and the certificate says it.
    #[test]
    fn every_name_that_is_one_can_be_certified(path in "[A-Za-z0-9_-]{1,40}(/[A-Za-z0-9._-]{0,30}[a-z]){0,8}", random: [u8; 16]) {
        let (root, workloads) = authorities();
        let decided = Svid {
            id: id(&format!("spiffe://shop.example/{path}")),
            serial: Serial::from_random(random),
            ..orders()
        };
        let issued = workloads.issue(&decided).expect("issued");
        prop_assert!(verify(&root, &issued.chain, NOW).is_ok());
    }
}
