//! Where the authority keeps what it has: one sealed file, `<state>/keyholder/authorities.sealed`.
//!
//! In it are which authorities there are and what each may do, their certificates, and the key of the one that signs. One
//! file changes whole or not at all, and nothing in it can be changed, added or taken out by who lacks the secret.
//!
//! INVARIANT: a home belongs to one trust domain, and opens for no other (SS028-11.1.7a).
//! INVARIANT: the only private key that is kept is that of the authority that signs; the one before it is gone.
//!
//! Not here: whether the file is the newest that was written: who can put an old one back is not noticed yet (T-2).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_ca::{
    Authority, AuthorityFault, KeyFault, Level, MemoryKey, Rotation, SealFault, Sealer, Serial, bundle,
};
use portcullis_core::{Sensitive, TrustDomain};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileFault, Lock};

/// Under what the file is sealed.
const TITLE: &str = "portcullis authorities";

/// The folder of an authority.
pub struct Home {
    folder: PathBuf,
    domain: TrustDomain,
    sealer: Sealer,
}

/// What is kept.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Whose authorities these are.
    pub trust_domain: TrustDomain,
    /// Which there are.
    pub authorities: Rotation,
    /// Where the key of a root was last seen, to be carried away.
    pub root_keys: Vec<String>,
    /// In DER, base64.
    pub(crate) certificates: BTreeMap<Serial, String>,
    pub(crate) signs: Option<Signs>,
}

/// The key of the authority that signs.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signs {
    pub(crate) serial: Serial,
    /// PKCS #8, base64.
    key: String,
}

impl Signs {
    pub(crate) fn new(serial: Serial, key: &Sensitive<Vec<u8>>) -> Self {
        Self { serial, key: STANDARD.encode(key.expose()) }
    }
}

impl Drop for Signs {
    fn drop(&mut self) {
        // Wiped on drop, like the bytes it stands for.
        drop(Sensitive::new(std::mem::take(&mut self.key)));
    }
}

impl fmt::Debug for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[key of {}]", self.serial)
    }
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nothing is there yet.
    #[error("there is no authority in `{0}`; make one with `portcullis ca init`")]
    Empty(PathBuf),
    /// Something is there already.
    #[error("there is an authority in `{0}` already; `portcullis ca status` shows it")]
    Taken(PathBuf),
    /// A file.
    #[error(transparent)]
    File(#[from] FileFault),
    /// It does not open.
    #[error("`{path}` cannot be opened with the secret that `ca.seal` refers to")]
    Closed {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: SealFault,
    },
    /// It makes no sense.
    #[error("`{0}` is not a state that this version writes")]
    State(PathBuf),
    /// Another environment's.
    #[error("the authority in `{folder}` is that of trust domain `{found}`, not of `{wanted}`")]
    OtherDomain {
        /// Where.
        folder: PathBuf,
        /// Whose it is.
        found: TrustDomain,
        /// Whose it should be.
        wanted: TrustDomain,
    },
    /// No authority signs.
    #[error("no authority signs; `portcullis ca status` shows which there are")]
    NobodySigns,
    /// A key.
    #[error("the key of authority `{serial}` cannot be used")]
    Key {
        /// Whose.
        serial: Serial,
        /// Why not.
        #[source]
        cause: KeyFault,
    },
    /// Certificate and key.
    #[error("authority `{serial}` cannot be used")]
    Authority {
        /// Which.
        serial: Serial,
        /// Why not.
        #[source]
        cause: AuthorityFault,
    },
}

impl Home {
    /// The home in a folder, whether or not it is there.
    #[must_use]
    pub fn at(folder: &Path, domain: &TrustDomain, sealer: Sealer) -> Self {
        Self { folder: folder.to_owned(), domain: domain.clone(), sealer }
    }

    /// Whose it is.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn lock(&self) -> Result<Lock, HomeError> {
        Ok(files::lock(&self.folder)?)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("authorities.sealed")
    }

    /// What is there.
    ///
    /// # Errors
    /// Nothing is there, or it is another trust domain's, or it cannot be opened.
    pub fn state(&self) -> Result<State, HomeError> {
        let path = self.file();
        let sealed = files::read(&path)?.ok_or_else(|| HomeError::Empty(self.folder.clone()))?;
        let opened = self.sealer.open(TITLE, sealed.expose());
        let text = opened.map_err(|cause| HomeError::Closed { path: path.clone(), cause })?;
        // The fault of the parser is dropped: it may quote a key.
        let state: State = serde_json::from_slice(text.expose()).map_err(|_| HomeError::State(path))?;
        if state.trust_domain != self.domain {
            let (folder, found, wanted) = (self.folder.clone(), state.trust_domain, self.domain.clone());
            return Err(HomeError::OtherDomain { folder, found, wanted });
        }
        Ok(state)
    }

    /// That nothing is there.
    ///
    /// # Errors
    /// Something is, or it cannot be looked at.
    pub(crate) fn vacant(&self) -> Result<(), HomeError> {
        match files::read(&self.file())? {
            Some(_) => Err(HomeError::Taken(self.folder.clone())),
            None => Ok(()),
        }
    }

    /// Keeps the first state.
    pub(crate) fn keep_first(&self, state: &State) -> Result<(), HomeError> {
        Ok(files::create(&self.file(), &self.sealed(state)?)?)
    }

    /// Keeps a state in the place of the one before.
    pub(crate) fn keep(&self, state: &State) -> Result<(), HomeError> {
        Ok(files::replace(&self.file(), &self.sealed(state)?)?)
    }

    fn sealed(&self, state: &State) -> Result<Vec<u8>, HomeError> {
        let path = self.file();
        let text = serde_json::to_vec(state).map_err(|_| HomeError::State(path.clone()))?;
        let sealed = self.sealer.seal(TITLE, &Sensitive::new(text));
        sealed.map_err(|cause| HomeError::Closed { path, cause })
    }

    /// The certificate of an authority.
    fn certificate(&self, state: &State, serial: Serial) -> Result<CertificateDer<'static>, HomeError> {
        let kept = state.certificates.get(&serial).and_then(|text| STANDARD.decode(text).ok());
        kept.map(CertificateDer::from).ok_or_else(|| HomeError::State(self.file()))
    }

    /// The authority that signs, and no other.
    ///
    /// # Errors
    /// None signs, or its key and certificate do not belong together.
    pub fn signer(&self, state: &State) -> Result<Authority, HomeError> {
        let active = state.authorities.active(Level::Workloads).ok_or(HomeError::NobodySigns)?.serial;
        let signs = state.signs.as_ref().filter(|signs| signs.serial == active);
        let key = signs.and_then(|signs| STANDARD.decode(&signs.key).ok()).ok_or(HomeError::NobodySigns)?;
        self.with_key(state, active, &Sensitive::new(key))
    }

    /// An authority whose key was brought along.
    pub(crate) fn with_key(
        &self,
        state: &State,
        serial: Serial,
        key: &Sensitive<Vec<u8>>,
    ) -> Result<Authority, HomeError> {
        let key = MemoryKey::from_pkcs8(key).map_err(|cause| HomeError::Key { serial, cause })?;
        let certificate = self.certificate(state, serial)?;
        Authority::open(certificate, Vec::new(), Box::new(key), &self.domain)
            .map_err(|cause| HomeError::Authority { serial, cause })
    }

    /// The bundle by which certificates of this trust domain are verified, as SPIFFE writes it.
    ///
    /// # Errors
    /// A root's certificate cannot be read.
    pub fn bundle(&self, state: &State) -> Result<String, HomeError> {
        let members = state.authorities.members().iter();
        let roots = members.filter(|member| member.level == Level::Root);
        let roots = roots.map(|root| self.certificate(state, root.serial)).collect::<Result<Vec<_>, _>>()?;
        bundle(state.authorities.bundle(), &roots).ok_or_else(|| HomeError::State(self.file()))
    }
}
