//! Making an authority, and making the next one.
//!
//! INVARIANT: files of a new authority are on disk before the state that names them; what a crash leaves behind in between
//! is named by nobody.
//!
//! Sources: SS028-11.2.10; SM-DR11, SM-DR12.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use portcullis_ca::{
    Authority, AuthorityFault, CaKey as _, KeyFault, Level, MemoryKey, Missing, Rotation, RotationFault,
    Serial, Svid, Validity, ValidityFault,
};
use portcullis_core::{SpiffeId, UnixMillis};

use crate::files;
use crate::home::{Home, HomeError, State};
use crate::pem;

/// Why a ceremony came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The folder or a file in it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The key of the root.
    #[error("`{0}` does not hold one private key in PKCS #8, PEM")]
    RootKey(PathBuf),
    /// A new key.
    #[error("a new key cannot be made")]
    Key(#[from] KeyFault),
    /// A new certificate.
    #[error("a new authority cannot be made")]
    Authority(#[from] AuthorityFault),
    /// It would not be valid for long enough.
    #[error(transparent)]
    Validity(#[from] ValidityFault),
    /// A step that is not the next one.
    #[error(transparent)]
    Step(#[from] RotationFault),
    /// What was made does not issue.
    #[error("the new authority was tried and does not issue")]
    Tried(#[from] portcullis_ca::IssueFault),
}

/// A trust domain that has begun.
#[derive(Debug)]
pub struct Begun {
    /// The root.
    pub root: Serial,
    /// The authority below it that certifies workloads.
    pub workloads: Serial,
    /// Where the root's key is, until somebody carries it away.
    pub root_key: PathBuf,
}

/// An authority that took over.
#[derive(Debug)]
pub struct Rotated {
    /// The new one.
    pub serial: Serial,
    /// Until when it is valid.
    pub until: UnixMillis,
}

/// Makes a root, whose key is written to `root_key` in the open, and an authority below it, whose key is sealed.
///
/// # Errors
/// There is one already, or a file cannot be written; then nothing has begun.
pub fn begin(home: &Home, root_key: &Path, now: UnixMillis) -> Result<Begun, CeremonyError> {
    home.vacant()?;
    let (key, private) = MemoryKey::generate()?;
    let serial = draw()?;
    let validity = Validity { from: now_in_seconds(now), until: now_in_seconds(now).plus(Authority::ROOT) };
    let root = Authority::root(home.domain(), Box::new(key), serial, validity)?;
    let text = portcullis_core::Sensitive::new(pem::write("PRIVATE KEY", private.expose()).into_bytes());
    files::create(root_key, text.expose()).map_err(HomeError::File)?;
    home.keep_authority(serial, root.certificate(), None)?;
    let mut authorities = Rotation::default();
    authorities.prepare(serial, None, validity)?;
    authorities.activate(Level::Root, &BTreeMap::new(), Missing::Wait, now)?;
    let (trust_domain, root_keys) = (home.domain().clone(), vec![root_key.to_owned()]);
    let state = State { trust_domain, authorities, root_keys };
    let workloads = next(home, state, &root, serial, now)?.serial;
    Ok(Begun { root: serial, workloads, root_key: root_key.to_owned() })
}

/// Makes the next authority for workloads, certified by the active root, whose key was brought along in a file.
///
/// # Errors
/// The file holds another key, or the step is not the next one; then nothing has changed.
pub fn rotate(home: &Home, root_key: &Path, now: UnixMillis) -> Result<Rotated, CeremonyError> {
    let state = home.state()?;
    let text = files::read(root_key).map_err(HomeError::File)?;
    let key = pem::private_key(text.expose()).ok_or_else(|| CeremonyError::RootKey(root_key.to_owned()))?;
    let active = state.authorities.active(Level::Root).ok_or(RotationFault::NonePrepared)?.serial;
    let root = home.with_key(active, &key)?;
    next(home, state, &root, active, now)
}

fn next(
    home: &Home,
    mut state: State,
    root: &Authority,
    issuer: Serial,
    now: UnixMillis,
) -> Result<Rotated, CeremonyError> {
    let (key, private) = MemoryKey::generate()?;
    let serial = draw()?;
    let validity = Validity::within(root.validity(), now, Authority::INTERMEDIATE)?;
    let certificate = root.certify(key.public(), serial, validity)?;
    let authority = Authority::open(certificate, Vec::new(), Box::new(key), home.domain())?;
    try_it(home, &authority, now)?;
    state.authorities.sweep(now);
    state.authorities.prepare(serial, Some(issuer), validity)?;
    state.authorities.activate(Level::Workloads, &BTreeMap::new(), Missing::Wait, now)?;
    home.keep_authority(serial, authority.certificate(), Some(&private))?;
    home.keep(&state)?;
    Ok(Rotated { serial, until: validity.until })
}

/// An authority that cannot issue must not take over from one that can.
fn try_it(home: &Home, authority: &Authority, now: UnixMillis) -> Result<(), CeremonyError> {
    let name = format!("spiffe://{}/portcullis/rehearsal", home.domain());
    let id = SpiffeId::parse(&name).map_err(|_| AuthorityFault::Unwritable)?;
    let validity = Validity::within(authority.validity(), now, Validity::SHORTEST)?;
    let key = MemoryKey::generate()?.0.public().clone();
    authority.issue(&Svid { id, key, serial: draw()?, validity })?;
    Ok(())
}

fn draw() -> Result<Serial, KeyFault> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| KeyFault::Randomness)?;
    Ok(Serial::from_random(bytes))
}

fn now_in_seconds(now: UnixMillis) -> UnixMillis {
    UnixMillis::from_seconds(now.seconds())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_ca::{Phase, SealFault, Sealer};
    use portcullis_core::TrustDomain;
    use tempfile::TempDir;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_500);

    fn home_of(folder: &TempDir, domain: &str, secret: u8) -> Home {
        let domain = TrustDomain::parse(domain).expect("a trust domain");
        let sealer = Sealer::new(&[secret; 32]).expect("a sealer");
        Home::at(&folder.path().join("keyholder"), &domain, sealer).expect("a home")
    }

    fn begun() -> (TempDir, Home, Begun) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = home_of(&folder, "shop.example", 1);
        let begun = begin(&home, &folder.path().join("root.key"), NOW).expect("begun");
        (folder, home, begun)
    }

    #[test]
    fn what_begins_can_issue_after_a_restart() {
        let (folder, _, begun) = begun();
        let home = home_of(&folder, "shop.example", 1);
        let active =
            home.state().expect("a state").authorities.active(Level::Workloads).expect("active").serial;
        assert_eq!(active, begun.workloads);
        try_it(&home, &home.authority(active).expect("an authority"), NOW).expect("it issues");
        let bundle = home.bundle(&home.state().expect("a state")).expect("a bundle");
        assert!(bundle.contains("\"spiffe_sequence\": 1"), "{bundle}");
    }

    #[test]
    fn ss028_11_2_10c_no_private_key_is_in_the_folder_in_the_open() {
        let (folder, home, begun) = begun();
        let root = files::read(&folder.path().join("root.key")).expect("the root's key");
        let root = pem::private_key(root.expose()).expect("a key");
        assert!(home.with_key(begun.root, &root).is_ok());
        for entry in std::fs::read_dir(folder.path().join("keyholder")).expect("a folder") {
            let path = entry.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("a file");
            assert!(pem::private_key(&bytes).is_none(), "{path:?}");
            assert!(!bytes.windows(32).any(|window| root.expose().windows(32).any(|key| key == window)));
        }
    }

    #[test]
    fn the_next_authority_takes_over_and_the_one_before_retires() {
        let (folder, home, begun) = begun();
        let later = NOW.plus(Duration::from_secs(20 * 86_400));
        let rotated = rotate(&home, &folder.path().join("root.key"), later).expect("rotated");
        let state = home.state().expect("a state");
        let phase = |serial| state.authorities.members().iter().find(|m| m.serial == serial).map(|m| m.phase);
        assert_eq!(phase(rotated.serial), Some(Phase::Active));
        let until = later.plus(Validity::WORKLOAD);
        assert_eq!(phase(begun.workloads), Some(Phase::Retiring { until }));
        assert!(home.authority(begun.workloads).is_ok(), "its certificates are still shown");
    }

    #[test]
    fn ss028_11_1_7a_a_home_opens_for_its_own_trust_domain_and_secret_alone() {
        let (folder, _, begun) = begun();
        let other = home_of(&folder, "test.example", 1).state();
        assert!(matches!(other, Err(HomeError::OtherDomain { .. })), "{other:?}");
        let closed = home_of(&folder, "shop.example", 2).authority(begun.workloads).err();
        assert!(matches!(closed, Some(HomeError::Sealed { cause: SealFault::Closed, .. })), "{closed:?}");
    }

    #[test]
    fn a_second_beginning_changes_nothing() {
        let (folder, home, _) = begun();
        let before = home.state().expect("a state");
        let again = begin(&home, &folder.path().join("root-2.key"), NOW).expect_err("taken");
        assert!(matches!(again, CeremonyError::Home(HomeError::Taken(_))), "{again}");
        assert!(!folder.path().join("root-2.key").exists());
        assert_eq!(home.state().expect("a state"), before);
    }

    #[test]
    fn another_key_than_the_roots_rotates_nothing() {
        let (folder, home, _) = begun();
        let before = home.state().expect("a state");
        let path = folder.path().join("other.key");
        let (_, private) = MemoryKey::generate().expect("a key");
        files::create(&path, pem::write("PRIVATE KEY", private.expose()).as_bytes()).expect("written");
        let fault = rotate(&home, &path, NOW).expect_err("another key");
        assert!(matches!(
            fault,
            CeremonyError::Home(HomeError::Authority { cause: AuthorityFault::OtherKey, .. })
        ));
        let garbage = folder.path().join("garbage.key");
        files::create(&garbage, b"no key").expect("written");
        assert!(matches!(rotate(&home, &garbage, NOW), Err(CeremonyError::RootKey(_))));
        assert_eq!(home.state().expect("a state"), before);
    }

    #[test]
    fn a_broken_state_is_refused_and_nothing_is_lost() {
        let (folder, home, _) = begun();
        let path = folder.path().join("keyholder/authorities.json");
        let good = std::fs::read(&path).expect("a state");
        for bad in
            [&b""[..], b"{}", b"{\"trust_domain\":\"shop.example\"}", good.get(..100).unwrap_or_default()]
        {
            files::replace(&path, bad).expect("replaced");
            assert!(matches!(home.state(), Err(HomeError::State { .. })));
            assert!(rotate(&home, &folder.path().join("root.key"), NOW).is_err());
            assert_eq!(std::fs::read(&path).expect("still there"), bad);
        }
    }
}
