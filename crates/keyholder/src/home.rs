//! Where the authority keeps its state, its certificates and its sealed keys: `<state>/keyholder`.
//!
//! ```text
//! authorities.json     which authorities there are and what each may do (`Rotation`), and whose they are
//! <serial>.pem         a certificate
//! <serial>.sealed      its private key, sealed; a root has none here
//! ```
//!
//! INVARIANT: a home belongs to one trust domain, and opens for no other (SS028-11.1.7a).

use std::path::{Path, PathBuf};

use portcullis_ca::{
    Authority, AuthorityFault, KeyFault, Level, MemoryKey, Rotation, SealFault, Sealer, Serial, bundle,
};
use portcullis_core::{Sensitive, TrustDomain};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileFault};
use crate::pem;

/// The folder of an authority.
pub struct Home {
    folder: PathBuf,
    domain: TrustDomain,
    sealer: Sealer,
}

/// What is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Whose authorities these are.
    pub trust_domain: TrustDomain,
    /// Which there are.
    pub authorities: Rotation,
    /// Where the key of each root was written when it was made, to be carried away.
    pub root_keys: Vec<PathBuf>,
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
    /// The state makes no sense.
    #[error("`{path}` is not a state that was written here: {why}")]
    State {
        /// Which file.
        path: PathBuf,
        /// Why not; no value is quoted.
        why: String,
    },
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
    /// A certificate.
    #[error("`{0}` does not hold one certificate")]
    Certificate(PathBuf),
    /// A sealed key.
    #[error("the key of authority `{serial}` cannot be opened")]
    Sealed {
        /// Which.
        serial: Serial,
        /// Why not.
        #[source]
        cause: SealFault,
    },
    /// A key.
    #[error("the key of authority `{serial}` cannot be used")]
    Key {
        /// Which.
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
    /// The home in a folder, which is made if need be.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn at(folder: &Path, domain: &TrustDomain, sealer: Sealer) -> Result<Self, HomeError> {
        files::make_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), domain: domain.clone(), sealer })
    }

    /// Whose it is.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join("authorities.json")
    }

    /// What is there.
    ///
    /// # Errors
    /// Nothing is there, or it is another trust domain's, or it cannot be read.
    pub fn state(&self) -> Result<State, HomeError> {
        let path = self.state_file();
        if !path.exists() {
            return Err(HomeError::Empty(self.folder.clone()));
        }
        let bytes = files::read(&path)?;
        let state: State = serde_json::from_slice(bytes.expose()).map_err(|fault| HomeError::State {
            path,
            why: format!("line {}, column {}", fault.line(), fault.column()),
        })?;
        if state.trust_domain != self.domain {
            let (folder, found, wanted) = (self.folder.clone(), state.trust_domain, self.domain.clone());
            return Err(HomeError::OtherDomain { folder, found, wanted });
        }
        Ok(state)
    }

    /// That nothing is there.
    ///
    /// # Errors
    /// Something is.
    pub(crate) fn vacant(&self) -> Result<(), HomeError> {
        if self.state_file().exists() { Err(HomeError::Taken(self.folder.clone())) } else { Ok(()) }
    }

    /// Keeps a state in the place of the one before.
    pub(crate) fn keep(&self, state: &State) -> Result<(), HomeError> {
        let path = self.state_file();
        let text = serde_json::to_vec_pretty(state)
            .map_err(|fault| HomeError::State { path: path.clone(), why: fault.to_string() })?;
        Ok(files::replace(&path, &text)?)
    }

    /// Keeps the certificate of an authority and, sealed, its key.
    pub(crate) fn keep_authority(
        &self,
        serial: Serial,
        certificate: &CertificateDer<'_>,
        key: Option<&Sensitive<Vec<u8>>>,
    ) -> Result<(), HomeError> {
        if let Some(key) = key {
            let sealed =
                self.sealer.seal(serial, key).map_err(|cause| HomeError::Sealed { serial, cause })?;
            files::create(&self.folder.join(format!("{serial}.sealed")), &sealed)?;
        }
        let text = pem::write("CERTIFICATE", certificate);
        Ok(files::create(&self.folder.join(format!("{serial}.pem")), text.as_bytes())?)
    }

    /// The certificate of an authority.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn certificate(&self, serial: Serial) -> Result<CertificateDer<'static>, HomeError> {
        let path = self.folder.join(format!("{serial}.pem"));
        let text = files::read(&path)?;
        match pem::certificates(text.expose()).as_deref() {
            Some([one]) => Ok(one.clone()),
            _ => Err(HomeError::Certificate(path)),
        }
    }

    /// The bundle by which certificates of this trust domain are verified, as SPIFFE writes it.
    ///
    /// # Errors
    /// A root's certificate cannot be read.
    pub fn bundle(&self, state: &State) -> Result<String, HomeError> {
        let members = state.authorities.members().iter();
        let roots = members.filter(|member| member.level == Level::Root);
        let roots = roots.map(|root| self.certificate(root.serial)).collect::<Result<Vec<_>, _>>()?;
        let written = bundle(state.authorities.bundle(), &roots);
        written.ok_or_else(|| HomeError::Certificate(self.folder.clone()))
    }

    /// An authority whose key is kept here.
    ///
    /// # Errors
    /// Certificate or key cannot be read, do not belong together, or may not sign.
    pub fn authority(&self, serial: Serial) -> Result<Authority, HomeError> {
        let sealed = files::read(&self.folder.join(format!("{serial}.sealed")))?;
        let opened = self.sealer.open(serial, sealed.expose());
        let key = opened.map_err(|cause| HomeError::Sealed { serial, cause })?;
        self.with_key(serial, &key)
    }

    /// An authority whose key was brought along.
    ///
    /// # Errors
    /// As [`Home::authority`].
    pub(crate) fn with_key(&self, serial: Serial, key: &Sensitive<Vec<u8>>) -> Result<Authority, HomeError> {
        let key = MemoryKey::from_pkcs8(key).map_err(|cause| HomeError::Key { serial, cause })?;
        let certificate = self.certificate(serial)?;
        Authority::open(certificate, Vec::new(), Box::new(key), &self.domain)
            .map_err(|cause| HomeError::Authority { serial, cause })
    }
}
