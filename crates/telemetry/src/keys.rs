//! The keys of a journal, made of one secret.
//!
//! INVARIANT: the sealing key and the signing key are derived with different labels, so that neither tells the other.
//! INVARIANT: a secret file that others may read is refused.
//!
//! Not here: where the secret is kept in a real deployment: beside what it seals it protects against nobody who can
//! read both, which `portcullis check` says.
//!
//! Sources: RFC 5869 (HKDF); SS028-11.1.9c.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::{hkdf, rand};
use portcullis_core::Sensitive;
use portcullis_evidence::CheckpointKey;
use portcullis_evidence::segment::JournalKey;

use crate::journal::JournalKeys;

/// Why a journal has no keys.
#[derive(Debug, thiserror::Error)]
pub enum JournalKeysError {
    /// The secret file cannot be read or made.
    #[error("cannot use the journal key file `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Others may read the secret.
    #[error("the journal key file `{path}` may be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Too little of a secret, or the library failed.
    #[error("the journal key must have at least 32 bytes")]
    Weak,
}

/// Derives both keys of the journal called `origin`.
///
/// # Errors
/// The secret is shorter than 32 bytes.
pub fn derive(origin: &str, secret: &[u8]) -> Result<JournalKeys, JournalKeysError> {
    if secret.len() < 32 {
        return Err(JournalKeysError::Weak);
    }
    let seal = JournalKey::new(expand(secret, b"portcullis journal seal")?);
    let sign = CheckpointKey::new(origin, &expand(secret, b"portcullis journal sign")?);
    Ok(JournalKeys { seal, sign: sign.map_err(|_| JournalKeysError::Weak)? })
}

/// Reads the secret in `path`, or draws one and keeps it there, readable by its owner alone.
///
/// # Errors
/// The file cannot be read or made, or others may read it.
pub fn read_or_draw(path: &Path) -> Result<Sensitive<Vec<u8>>, JournalKeysError> {
    let failed = |cause| JournalKeysError::File { path: path.to_owned(), cause };
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => draw(path).map_err(failed),
        Err(cause) => Err(failed(cause)),
    }
}

fn read(path: &Path, file: File) -> Result<Sensitive<Vec<u8>>, JournalKeysError> {
    let failed = |cause| JournalKeysError::File { path: path.to_owned(), cause };
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(JournalKeysError::TooOpen { path: path.to_owned(), mode });
    }
    let mut secret = Vec::new();
    file.take(4_096).read_to_end(&mut secret).map_err(failed)?;
    Ok(Sensitive::new(secret))
}

fn draw(path: &Path) -> io::Result<Sensitive<Vec<u8>>> {
    let mut secret = vec![0; 32];
    rand::fill(&mut secret).map_err(|_| io::Error::other("no randomness"))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    Ok(Sensitive::new(secret))
}

struct Bytes32;

impl hkdf::KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

fn expand(secret: &[u8], label: &[u8]) -> Result<Sensitive<[u8; 32]>, JournalKeysError> {
    let mut out = [0; 32];
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis").extract(secret);
    let okm = derived.expand(&[label], Bytes32).map(|okm| okm.fill(&mut out));
    match okm {
        Ok(Ok(())) => Ok(Sensitive::new(out)),
        _ => Err(JournalKeysError::Weak),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_drawn_once_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.key");
        let first = read_or_draw(&path).expect("drawn");
        let again = read_or_draw(&path).expect("read");
        assert_eq!((first.expose(), first.expose().len()), (again.expose(), 32));
        assert!(derive("edge", first.expose()).is_ok() && derive("edge", b"short").is_err());
    }

    #[test]
    fn ss028_11_1_9c_a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.key");
        read_or_draw(&path).expect("drawn");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("permissions");
        assert!(matches!(read_or_draw(&path), Err(JournalKeysError::TooOpen { mode: 0o640, .. })));
    }
}
