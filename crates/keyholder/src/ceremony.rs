//! Making an authority, and making the next one.
//!
//! INVARIANT: one ceremony at a time; what is kept changes in one step, at its end, and what was written before that step is
//! taken back when it fails.
//! INVARIANT: an authority takes over only after it has issued.
//!
//! Sources: SS028-11.2.10; SM-DR11, SM-DR12.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_ca::{
    Authority, AuthorityFault, CaKey, IssueFault, KeyFault, Level, MemoryKey, Missing, Rotation,
    RotationFault, Serial, Svid, Validity, ValidityFault,
};
use portcullis_core::{Sensitive, SpiffeId, UnixMillis};

use crate::files;
use crate::home::{Home, HomeError, Signs, State};
use crate::pem;

/// Why a ceremony came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The folder or a file in it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The key of the root.
    #[error("`{0}` does not hold a private key in PKCS #8, PEM")]
    RootKey(PathBuf),
    /// It is not there.
    #[error("there is no file `{0}`; bring the root's key back first")]
    NoRootKey(PathBuf),
    /// Where it should go.
    #[error("the root's key cannot be kept at `{0}`: name a place outside the state directory, in UTF-8")]
    RootKeyPlace(PathBuf),
    /// No root signs.
    #[error("no root is active; `portcullis ca status` shows which there are")]
    NoRoot,
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
    Tried(#[from] IssueFault),
}

/// A trust domain that has begun.
#[derive(Debug)]
pub struct Begun {
    /// The root.
    pub root: Serial,
    /// The authority below it that certifies workloads.
    pub workloads: Serial,
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
/// There is one already, or a file cannot be written; then nothing has begun, and no key is left behind.
pub fn begin(home: &Home, root_key: &Path, now: UnixMillis) -> Result<Begun, CeremonyError> {
    let place = place(home, root_key)?;
    let _lock = home.lock()?;
    home.vacant()?;
    let (key, private) = MemoryKey::generate()?;
    let serial = draw()?;
    let validity = Validity::within(ALWAYS, now, Authority::ROOT)?;
    let root = Authority::root(home.domain(), Box::new(key), serial, validity)?;
    let mut state = State {
        trust_domain: home.domain().clone(),
        authorities: Rotation::default(),
        root_keys: vec![place],
        certificates: [(serial, STANDARD.encode(root.certificate()))].into(),
        signs: None,
    };
    state.authorities.prepare(serial, None, validity)?;
    state.authorities.activate(Level::Root, &BTreeMap::new(), Missing::Wait, now)?;
    let workloads = next(home, &mut state, &root, serial, now)?.serial;
    let text = pem::write("PRIVATE KEY", private.expose());
    files::create(root_key, text.expose().as_bytes()).map_err(HomeError::File)?;
    home.keep_first(&state).inspect_err(|_| drop(files::remove(root_key)))?;
    Ok(Begun { root: serial, workloads })
}

/// A root is below nobody.
const ALWAYS: Validity = Validity { from: UnixMillis(0), until: UnixMillis(253_402_300_799_000) };

/// Makes the next authority for workloads, certified by the active root, whose key was brought along in a file.
///
/// # Errors
/// The file holds another key, or the step is not the next one; then nothing has changed.
pub fn rotate(home: &Home, root_key: &Path, now: UnixMillis) -> Result<Rotated, CeremonyError> {
    let place = place(home, root_key)?;
    let _lock = home.lock()?;
    let (mut state, rotated) = rotated(home, root_key, now)?;
    if !state.root_keys.contains(&place) {
        state.root_keys.push(place);
    }
    home.keep(&state)?;
    Ok(rotated)
}

/// Does all of a rotation but keeping it: what stands in the way is found while there is time.
///
/// # Errors
/// As [`rotate`].
pub fn rehearse(home: &Home, root_key: &Path, now: UnixMillis) -> Result<Rotated, CeremonyError> {
    place(home, root_key)?;
    let _lock = home.lock()?;
    Ok(rotated(home, root_key, now)?.1)
}

/// What is there with the next authority in it.
fn rotated(home: &Home, root_key: &Path, now: UnixMillis) -> Result<(State, Rotated), CeremonyError> {
    let mut state = home.state()?;
    let text = files::read(root_key).map_err(HomeError::File)?;
    let text = text.ok_or_else(|| CeremonyError::NoRootKey(root_key.to_owned()))?;
    let key = pem::private_key(text.expose()).ok_or_else(|| CeremonyError::RootKey(root_key.to_owned()))?;
    let active = state.authorities.active(Level::Root).ok_or(CeremonyError::NoRoot)?.serial;
    let root = home.with_key(&state, active, &key)?;
    let rotated = next(home, &mut state, &root, active, now)?;
    Ok((state, rotated))
}

/// Where a root's key is, as it is remembered: never beside what is sealed.
fn place(home: &Home, root_key: &Path) -> Result<String, CeremonyError> {
    let refused = || CeremonyError::RootKeyPlace(root_key.to_owned());
    let folder = root_key.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|_| refused())?;
    let state = home.folder().parent().and_then(|state| state.canonicalize().ok());
    if state.is_some_and(|state| folder.starts_with(state)) {
        return Err(refused());
    }
    let name = root_key.file_name().ok_or_else(refused)?;
    folder.join(name).into_os_string().into_string().map_err(|_| refused())
}

/// The next authority below `root` takes over, in what is going to be kept.
fn next(
    home: &Home,
    state: &mut State,
    root: &Authority,
    issuer: Serial,
    now: UnixMillis,
) -> Result<Rotated, CeremonyError> {
    let (key, private) = MemoryKey::generate()?;
    take_over(home, state, (root, issuer), (Box::new(key), &private), now)
}

fn take_over(
    home: &Home,
    state: &mut State,
    (root, issuer): (&Authority, Serial),
    (key, private): (Box<dyn CaKey>, &Sensitive<Vec<u8>>),
    now: UnixMillis,
) -> Result<Rotated, CeremonyError> {
    let serial = draw()?;
    let validity = Validity::within(root.validity(), now, Authority::INTERMEDIATE)?;
    let certificate = root.certify(key.public(), serial, validity)?;
    let authority = Authority::open(certificate, Vec::new(), key, home.domain())?;
    try_out(home, &authority, now)?;
    for gone in state.authorities.sweep(now) {
        state.certificates.remove(&gone);
    }
    state.authorities.prepare(serial, Some(issuer), validity)?;
    state.authorities.activate(Level::Workloads, &BTreeMap::new(), Missing::Wait, now)?;
    state.certificates.insert(serial, STANDARD.encode(authority.certificate()));
    // What signed before is forgotten: what it signed is verified without its key.
    state.signs = Some(Signs::new(serial, private));
    Ok(Rotated { serial, until: validity.until })
}

/// An authority that cannot issue must not take over from one that can. What it issues here is dropped, and its key with it.
fn try_out(home: &Home, authority: &Authority, now: UnixMillis) -> Result<(), CeremonyError> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_ca::{Phase, PublicKey, SealFault, Sealer, SignFault};
    use portcullis_core::TrustDomain;
    use tempfile::TempDir;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_500);

    fn home_of(folder: &TempDir, domain: &str, secret: u8) -> Home {
        let domain = TrustDomain::parse(domain).expect("a trust domain");
        let sealer = Sealer::new(&[secret; 32]).expect("a sealer");
        Home::at(&folder.path().join("state/keyholder"), &domain, sealer)
    }

    fn begun() -> (TempDir, Home, Begun) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = home_of(&folder, "shop.example", 1);
        let begun = begin(&home, &folder.path().join("root.key"), NOW).expect("begun");
        (folder, home, begun)
    }

    fn sealed(folder: &TempDir) -> PathBuf {
        folder.path().join("state/keyholder/authorities.sealed")
    }

    #[test]
    fn what_begins_can_issue_after_a_restart() {
        let (folder, _, begun) = begun();
        let home = home_of(&folder, "shop.example", 1);
        let state = home.state().expect("a state");
        assert_eq!(state.authorities.active(Level::Workloads).map(|m| m.serial), Some(begun.workloads));
        try_out(&home, &home.signer(&state).expect("an authority"), NOW).expect("it issues");
        let bundle = home.bundle(&state).expect("a bundle");
        assert!(bundle.contains("\"spiffe_sequence\": 1"), "{bundle}");
    }

    #[test]
    fn ss028_11_2_10c_no_private_key_is_in_the_folder_in_the_open() {
        let (folder, home, begun) = begun();
        let root = files::read(&folder.path().join("root.key")).expect("read").expect("the root's key");
        let root = pem::private_key(root.expose()).expect("a key");
        assert!(home.with_key(&home.state().expect("a state"), begun.root, &root).is_ok());
        let bytes = std::fs::read(sealed(&folder)).expect("a file");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("shop.example") && !text.contains("PRIVATE"), "{text}");
        assert!(!bytes.windows(32).any(|window| root.expose().windows(32).any(|key| key == window)));
    }

    #[test]
    fn the_next_authority_takes_over_and_the_key_of_the_one_before_is_gone() {
        let (folder, home, begun) = begun();
        let later = NOW.plus(Duration::from_secs(20 * 86_400));
        let brought = folder.path().join("brought.key");
        std::fs::rename(folder.path().join("root.key"), &brought).expect("carried");
        let rotated = rotate(&home, &brought, later).expect("rotated");
        let state = home.state().expect("a state");
        let phase = |serial| state.authorities.members().iter().find(|m| m.serial == serial).map(|m| m.phase);
        assert_eq!(phase(rotated.serial), Some(Phase::Active));
        assert!(matches!(phase(begun.workloads), Some(Phase::Retiring { .. })));
        assert_eq!(state.signs.as_ref().map(|signs| signs.serial), Some(rotated.serial));
        assert!(state.root_keys.iter().any(|place| place.ends_with("brought.key")), "{:?}", state.root_keys);
        try_out(&home, &home.signer(&state).expect("an authority"), later).expect("it issues");
    }

    /// A key that never signs.
    struct Mute(MemoryKey);

    impl CaKey for Mute {
        fn public(&self) -> &PublicKey {
            self.0.public()
        }

        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignFault> {
            Err(SignFault)
        }
    }

    #[test]
    fn an_authority_that_does_not_issue_takes_over_from_nobody() {
        let (folder, home, begun) = begun();
        let text = files::read(&folder.path().join("root.key")).expect("read").expect("the root's key");
        let root_key = pem::private_key(text.expose()).expect("a key");
        let mut state = home.state().expect("a state");
        let root = home.with_key(&state, begun.root, &root_key).expect("a root");
        let (key, private) = MemoryKey::generate().expect("a key");
        let key = (Box::new(Mute(key)) as Box<dyn CaKey>, &private);
        let fault = take_over(&home, &mut state, (&root, begun.root), key, NOW).expect_err("mute");
        assert!(matches!(fault, CeremonyError::Tried(IssueFault::Sign(SignFault))), "{fault}");
        assert_eq!(state, home.state().expect("a state"));
    }

    #[test]
    fn a_rehearsal_finds_what_a_rotation_would_and_changes_nothing() {
        let (folder, home, _) = begun();
        let before = std::fs::read(sealed(&folder)).expect("a state");
        let root_key = folder.path().join("root.key");
        let rehearsed = rehearse(&home, &root_key, NOW).expect("it would work");
        assert_eq!(rehearsed.until, UnixMillis::from_seconds(NOW.seconds()).plus(Authority::INTERMEDIATE));
        let beyond = NOW.plus(Authority::ROOT);
        for fault in [rehearse(&home, &root_key, beyond).err(), rotate(&home, &root_key, beyond).err()] {
            assert!(matches!(fault, Some(CeremonyError::Validity(ValidityFault::IssuerEnds))), "{fault:?}");
        }
        assert_eq!(std::fs::read(sealed(&folder)).expect("a state"), before);
    }

    #[test]
    fn ss028_11_1_7a_a_home_opens_for_its_own_trust_domain_and_secret_alone() {
        let (folder, _, _) = begun();
        let other = home_of(&folder, "test.example", 1).state();
        assert!(matches!(other, Err(HomeError::OtherDomain { .. })), "{other:?}");
        let closed = home_of(&folder, "shop.example", 2).state();
        assert!(matches!(closed, Err(HomeError::Closed { cause: SealFault::Closed, .. })), "{closed:?}");
    }

    #[test]
    fn a_second_beginning_changes_nothing_and_leaves_no_key() {
        let (folder, home, _) = begun();
        let before = std::fs::read(sealed(&folder)).expect("a state");
        let again = begin(&home, &folder.path().join("root-2.key"), NOW).expect_err("taken");
        assert!(matches!(again, CeremonyError::Home(HomeError::Taken(_))), "{again}");
        assert!(!folder.path().join("root-2.key").exists());
        assert_eq!(std::fs::read(sealed(&folder)).expect("a state"), before);
    }

    #[test]
    fn a_beginning_that_cannot_be_kept_leaves_no_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = home_of(&folder, "shop.example", 1);
        // What stands in the way of the file is found only when it is to get its name.
        std::fs::create_dir_all(folder.path().join("state/keyholder/authorities.sealed.new/x"))
            .expect("in the way");
        let root_key = folder.path().join("root.key");
        assert!(begin(&home, &root_key, NOW).is_err());
        assert!(!root_key.exists());
    }

    #[test]
    fn ss028_11_1_9c_the_roots_key_is_not_kept_beside_what_is_sealed() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("state/keyholder")).expect("a folder");
        let home = home_of(&folder, "shop.example", 1);
        for place in
            ["state/root.key", "state/keyholder/root.key", "state/../state/root.key", "nowhere/root.key"]
        {
            let fault = begin(&home, &folder.path().join(place), NOW).expect_err(place);
            assert!(matches!(fault, CeremonyError::RootKeyPlace(_)), "{place}: {fault}");
        }
    }

    #[test]
    fn another_key_than_the_roots_rotates_nothing() {
        let (folder, home, _) = begun();
        let before = std::fs::read(sealed(&folder)).expect("a state");
        let other = folder.path().join("other.key");
        let (_, private) = MemoryKey::generate().expect("a key");
        let text = pem::write("PRIVATE KEY", private.expose());
        files::create(&other, text.expose().as_bytes()).expect("written");
        let fault = rotate(&home, &other, NOW).expect_err("another key");
        assert!(matches!(
            fault,
            CeremonyError::Home(HomeError::Authority { cause: AuthorityFault::OtherKey, .. })
        ));
        let garbage = folder.path().join("garbage.key");
        files::create(&garbage, b"no key").expect("written");
        assert!(matches!(rotate(&home, &garbage, NOW), Err(CeremonyError::RootKey(_))));
        assert!(matches!(rotate(&home, &folder.path().join("gone"), NOW), Err(CeremonyError::NoRootKey(_))));
        assert_eq!(std::fs::read(sealed(&folder)).expect("a state"), before);
    }

    #[test]
    fn t_2_a_changed_state_is_refused_and_nothing_is_lost() {
        let (folder, home, _) = begun();
        let good = std::fs::read(sealed(&folder)).expect("a state");
        let root_key = folder.path().join("root.key");
        for at in (0..good.len()).step_by(97) {
            let mut bad = good.clone();
            if let Some(byte) = bad.get_mut(at) {
                *byte ^= 1;
            }
            files::replace(&sealed(&folder), &bad).expect("replaced");
            assert!(matches!(home.state(), Err(HomeError::Closed { .. })), "byte {at}");
            assert!(rotate(&home, &root_key, NOW).is_err());
            assert_eq!(std::fs::read(sealed(&folder)).expect("still there"), bad);
        }
    }
}
