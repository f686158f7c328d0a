//! A test authority: certificates of every kind that the tests need, made on the spot.

use std::sync::Arc;

use portcullis_core::{Clock, Now, Sensitive, UnixMillis};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use super::material::Material;
use super::{CertificateSource, Roots, ServedCertificate};

/// The machine's clock, as an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemTime;

impl SystemTime {
    pub(crate) fn now(self) -> UnixMillis {
        portcullis_core::SystemClock::default().now().wall
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(portcullis_core::SystemClock::default())
}

/// The first of January, roughly.
pub(crate) fn at(year: u64) -> UnixMillis {
    UnixMillis::from_seconds((year - 1970) * 31_556_952)
}

/// A clock that stands still.
pub(crate) struct Stopped(pub(crate) UnixMillis);

impl Clock for Stopped {
    #[expect(clippy::disallowed_methods, reason = "only the wall clock stands still")]
    fn now(&self) -> Now {
        Now { wall: self.0, mono: std::time::Instant::now() }
    }
}

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) root_pem: Vec<u8>,
}

pub(crate) struct Pair {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
    secret: Sensitive<Vec<u8>>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root_pem = params.self_signed(&key).unwrap().pem().into_bytes();
        Self { issuer: Issuer::new(params, key), root_pem }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(&self.root_pem).unwrap()
    }

    pub(crate) fn server(&self, names: &[&str]) -> Pair {
        self.server_between(names, 2020, 2120)
    }

    pub(crate) fn server_between(&self, names: &[&str], from: i32, to: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    pub(crate) fn workload(&self, uris: &[&str]) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|u| SanType::URI((*u).try_into().unwrap())).collect();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    pub(crate) fn client(&self) -> Pair {
        let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Pair {
        params.distinguished_name.push(DnType::CommonName, "leaf");
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem().into_bytes();
        let key = key.serialize_pem().into_bytes();
        Pair { chain, secret: Sensitive::new(key.clone()), key }
    }
}

impl Pair {
    pub(crate) fn source(&self) -> CertificateSource<'_> {
        CertificateSource { chain_pem: &self.chain, key_pem: &self.secret }
    }

    pub(super) fn material(&self, position: usize, now: UnixMillis) -> Material {
        Material::read(self.source(), position, now).unwrap()
    }
}

impl Material {
    /// One with these names and a key that is never used.
    pub(super) fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        static KEY: std::sync::LazyLock<Material> = std::sync::LazyLock::new(|| {
            Authority::new("names").server(&["any.example"]).material(0, SystemTime.now())
        });
        let served = ServedCertificate::named(names);
        Self { key: Arc::clone(&KEY.key), served: Arc::new(served) }
    }
}
