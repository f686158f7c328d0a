//! What a workload sends to be certified: PKCS #10, of which only the key is used.
//!
//! INVARIANT: whoever sent it holds the private key (the request is signed by it).
//! INVARIANT: a request that asks for a name other than the attested one, or to be an authority, is refused, not cut down
//! to what is permitted: it says what its sender is after (D5). Its subject is not looked at.
//!
//! Sources: RFC 2986; SPIFFE X509-SVID §4; threats D5, E12 (sizes); Consul CVE-2022-40716 (more than one URI name).

use portcullis_core::{SpiffeFault, SpiffeId};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKCS9_EXTENSION_REQUEST, OID_SIG_ECDSA_WITH_SHA256};
use x509_parser::prelude::FromDer as _;

use crate::key::{KeyFault, PublicKey};

/// The longest request that is read, in bytes.
const LARGEST: usize = 8 * 1024;

/// A request whose sender holds the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    key: PublicKey,
    asks_for: Option<SpiffeId>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// Longer than any request for one name.
    #[error("the request is longer than {LARGEST} bytes")]
    TooLong,
    /// Not one PKCS #10 request in DER.
    #[error("the request is not one well-formed PKCS #10 request")]
    Malformed,
    /// The key is of another kind.
    #[error("the request's key cannot be certified")]
    Key(#[source] KeyFault),
    /// The signature is not by the key, or not ECDSA with SHA-256.
    #[error("the request is not signed by its own key with ECDSA and SHA-256")]
    NotSigned,
    /// It asks to sign certificates.
    #[error("the request asks to be an authority")]
    Authority,
    /// It asks for names, and not for one SPIFFE id alone.
    #[error("the request asks for {0} names, but a workload has one, a SPIFFE id")]
    Names(usize),
    /// It asks for a name that is none.
    #[error("the request asks for a name that is not a SPIFFE id")]
    NotSpiffe(#[source] SpiffeFault),
    /// It asks for a name that was not attested.
    #[error("the request asks for another name than the one that was attested")]
    OtherName,
}

impl Request {
    /// Reads a request in DER.
    ///
    /// # Errors
    /// See [`RequestFault`].
    pub fn read(der: &[u8]) -> Result<Self, RequestFault> {
        let request = parse(der)?;
        let info = &request.certification_request_info;
        let key = PublicKey::from_spki(info.subject_pki.raw).map_err(RequestFault::Key)?;
        let is_ecdsa = request.signature_algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256;
        if !is_ecdsa || !key.verifies(info.raw, &request.signature_value.data) {
            return Err(RequestFault::NotSigned);
        }
        Ok(Self { key, asks_for: asked(&request)? })
    }

    /// The key, if the request asks for no other name than `attested`.
    ///
    /// # Errors
    /// It asks for another name.
    pub fn key_for(&self, attested: &SpiffeId) -> Result<&PublicKey, RequestFault> {
        match &self.asks_for {
            Some(other) if other != attested => Err(RequestFault::OtherName),
            _ => Ok(&self.key),
        }
    }
}

pub(crate) fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, RequestFault> {
    if der.len() > LARGEST {
        return Err(RequestFault::TooLong);
    }
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestFault::Malformed)?;
    if rest.is_empty() { Ok(request) } else { Err(RequestFault::Malformed) }
}

/// The one name that is asked for, if any.
pub(crate) fn asked(request: &X509CertificationRequest<'_>) -> Result<Option<SpiffeId>, RequestFault> {
    let lists = request.certification_request_info.iter_attributes();
    let lists = lists.filter(|attribute| attribute.oid == OID_PKCS9_EXTENSION_REQUEST);
    // SECURITY: of several lists only the first would be read below.
    if lists.count() > 1 {
        return Err(RequestFault::Malformed);
    }
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::BasicConstraints(basic) if basic.ca => return Err(RequestFault::Authority),
            ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
                return Err(RequestFault::Authority);
            }
            ParsedExtension::SubjectAlternativeName(asked) => names.extend(&asked.general_names),
            ParsedExtension::ParseError { .. } => return Err(RequestFault::Malformed),
            _ => {}
        }
    }
    match names.as_slice() {
        [] => Ok(None),
        [GeneralName::URI(uri)] => SpiffeId::parse(uri).map(Some).map_err(RequestFault::NotSpiffe),
        other => Err(RequestFault::Names(other.len())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType};

    use super::*;

    fn id(path: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://shop.example/{path}")).expect("an id")
    }

    fn params(uris: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))).collect();
        params
    }

    fn signed(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.serialize_request(key).expect("a request").der().to_vec()
    }

    fn of(params: &CertificateParams) -> Result<Request, RequestFault> {
        Request::read(&signed(params, &KeyPair::generate().expect("a key")))
    }

    #[test]
    fn a_request_gives_its_key_for_the_attested_name_alone() {
        let orders = "spiffe://shop.example/orders";
        for uris in [&[][..], &[orders]] {
            let request = of(&params(uris)).expect("a request");
            assert!(request.key_for(&id("orders")).is_ok(), "{uris:?}");
        }
        let request = of(&params(&[orders])).expect("a request");
        assert_eq!(request.key_for(&id("payments")), Err(RequestFault::OtherName));
    }

    #[test]
    fn requests_of_openssl_are_read_alike() {
        let read = |der: &[u8]| Request::read(der);
        let one = read(include_bytes!("../../../workshop/vectors/corpus/ca/request/one-name.der"));
        assert!(one.expect("a request").key_for(&id("orders")).is_ok());
        let more = read(include_bytes!("../../../workshop/vectors/corpus/ca/request/too-much.der"));
        assert_eq!(more, Err(RequestFault::Authority));
        let other = read(include_bytes!("../../../workshop/vectors/corpus/ca/request/other-key.der"));
        assert_eq!(other, Err(RequestFault::Key(KeyFault::Kind)));
    }

    #[test]
    fn d5_what_asks_for_more_than_one_name_is_refused() {
        let dns = |name: &str| CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let mut mixed = params(&["spiffe://shop.example/orders"]);
        mixed.subject_alt_names.extend(dns("orders.example").subject_alt_names);
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let table = [
            (
                params(&["spiffe://shop.example/orders", "spiffe://shop.example/payments"]),
                RequestFault::Names(2),
            ),
            (dns("orders.example"), RequestFault::Names(1)),
            (mixed, RequestFault::Names(2)),
            (params(&["https://shop.example/orders"]), RequestFault::NotSpiffe(SpiffeFault::Scheme)),
            (params(&["spiffe://shop.example"]), RequestFault::NotSpiffe(SpiffeFault::NoPath)),
            (authority, RequestFault::Authority),
        ];
        for (params, want) in table {
            assert_eq!(of(&params), Err(want), "{params:?}");
        }
    }

    /// Only the first list of wishes would be read.
    #[test]
    fn d5_a_second_list_of_wishes_is_refused() {
        // An empty list, as the attribute `extensionRequest` (1.2.840.113549.1.9.14) carries it.
        let second =
            rcgen::Attribute { oid: &[1, 2, 840, 113_549, 1, 9, 14], values: vec![0x31, 2, 0x30, 0] };
        let asked = params(&["spiffe://shop.example/orders"]);
        let key = KeyPair::generate().expect("a key");
        let request = asked.serialize_request_with_attributes(&key, vec![second]).expect("a request");
        assert_eq!(Request::read(request.der()), Err(RequestFault::Malformed));
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        for kind in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let key = KeyPair::generate_for(kind).expect("a key");
            let got = Request::read(&signed(&CertificateParams::default(), &key));
            assert_eq!(got, Err(RequestFault::Key(KeyFault::Kind)));
        }
    }

    #[test]
    fn a_request_that_another_key_signed_is_refused() {
        let key = || KeyPair::generate().expect("a key");
        let (mine, theirs) = (signed(&params(&[]), &key()), signed(&params(&[]), &key()));
        let spki = |der: &[u8]| {
            let (_, request) = X509CertificationRequest::from_der(der).expect("a request");
            request.certification_request_info.subject_pki.raw.to_vec()
        };
        let (own, other) = (spki(&mine), spki(&theirs));
        let at = mine.windows(own.len()).position(|window| window == own).expect("the key is in it");
        let mut swapped = mine;
        swapped.splice(at..at + own.len(), other);
        assert_eq!(Request::read(&swapped), Err(RequestFault::NotSigned));
    }

    #[test]
    fn e12_what_is_no_request_is_refused_whole() {
        let good = signed(&params(&[]), &KeyPair::generate().expect("a key"));
        let trailing = [good.as_slice(), b"x"].concat();
        for bad in [&b""[..], b"\x30", b"garbage", &trailing, good.get(..good.len() - 1).unwrap_or_default()]
        {
            assert_eq!(Request::read(bad), Err(RequestFault::Malformed), "{bad:?}");
        }
        assert_eq!(Request::read(&vec![0x30; LARGEST + 1]), Err(RequestFault::TooLong));
    }

    proptest! {
        /// No byte of a request can be changed without notice, but those that nobody reads twice.
        #[test]
        fn d5_a_changed_request_is_never_taken_for_another(at in 0usize..400, to in any::<u8>()) {
            let asked = params(&["spiffe://shop.example/orders"]);
            let mut der = signed(&asked, &KeyPair::generate().expect("a key"));
            let before = Request::read(&der).expect("a request");
            let at = at % der.len();
            if let Some(byte) = der.get_mut(at) {
                *byte = to;
            }
            if let Ok(after) = Request::read(&der) {
                prop_assert_eq!(after, before);
            }
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(Request::read(&bytes).is_err());
        }
    }
}
