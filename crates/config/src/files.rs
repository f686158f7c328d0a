//! How this room asks for the contents of files: it opens none itself.
//!
//! INVARIANT: nothing is read without a limit (E10), and a file that is named twice is read once, so that two
//! parts of one plan never see two versions of it.
//! INVARIANT: a private key never becomes part of a text that a plan shows (C13).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_core::{ByteSize, Sensitive};

use crate::plan::{Inlined, Secret};
use crate::raw::{FilePath, SecretSource};
use crate::yaml::site::Advice;
use crate::yaml::{At, Report, Site, quote};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A file, relative to the directory of the root file unless it is absolute.
    File(&'a str),
    /// A systemd credential: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(&'a str),
    /// An inherited descriptor, read to its end. Asked for again on a reload, it must give the same bytes again.
    Descriptor(u32),
}

/// What a file holds and who may read it.
#[derive(Clone, Debug)]
pub struct FileFacts {
    /// Its contents.
    pub bytes: Sensitive<Vec<u8>>,
    /// Its permission bits; only those of [`Source::File`] are judged.
    pub mode: u32,
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("does not exist")]
    Missing,
    /// Our user may not read it.
    #[error("cannot be read by this user")]
    Forbidden,
    /// It has more bytes than were asked for.
    #[error("is larger than the limit")]
    TooLarge,
    /// It is a directory or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// This source is not available here.
    #[error("cannot be read: {0}")]
    Other(String),
}

/// Something that reads files.
pub trait Files {
    /// Reads a whole file of at most `most` bytes; a larger one is an error, not a part.
    ///
    /// # Errors
    /// The file is not there, too large, or cannot be read.
    fn read(&self, source: Source<'_>, most: ByteSize) -> Result<FileFacts, FileError>;
}

/// Files in memory, by name, all with mode 0600 unless another is given: for tests and dry runs.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    files: BTreeMap<String, (Vec<u8>, u32)>,
}

impl MemoryFiles {
    /// Adds or replaces a file.
    #[must_use]
    pub fn with(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.with_mode(name, bytes, 0o600)
    }

    /// Adds or replaces a file with these permission bits.
    #[must_use]
    pub fn with_mode(mut self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> Self {
        self.files.insert(name.to_owned(), (bytes.as_ref().to_vec(), mode));
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, source: Source<'_>, most: ByteSize) -> Result<FileFacts, FileError> {
        let name = match source {
            Source::File(name) => name.to_owned(),
            Source::Credential(name) => format!("credential:{name}"),
            Source::Descriptor(number) => format!("fd:{number}"),
        };
        let (bytes, mode) = self.files.get(&name).ok_or(FileError::Missing)?;
        if bytes.len() > most.as_usize() {
            return Err(FileError::TooLarge);
        }
        Ok(FileFacts { bytes: Sensitive::new(bytes.clone()), mode: *mode })
    }
}

/// The root file and files of API keys.
pub(crate) const YAML_MOST: ByteSize = ByteSize::kib(16 * 1024);
/// Policies, contracts, key sets, certificates.
const TEXT_MOST: ByteSize = ByteSize::kib(4 * 1024);
/// Private keys and shared secrets.
const SECRET_MOST: ByteSize = ByteSize::kib(64);

/// Reads the files that one configuration names, each once.
pub(crate) struct Loader<'f> {
    files: &'f dyn Files,
    texts: BTreeMap<String, Result<Rc<Inlined>, String>>,
}

impl<'f> Loader<'f> {
    pub(crate) fn new(files: &'f dyn Files) -> Self {
        Self { files, texts: BTreeMap::new() }
    }

    /// The text of a file that may be shown. `None` after a problem.
    pub(crate) fn text(&mut self, path: &At<FilePath>, report: &mut Report) -> Option<Inlined> {
        let text = self.text_of(&path.0, TEXT_MOST, &path.site, report)?;
        if text.text.contains("PRIVATE KEY-----") {
            // SECURITY: this text would be shown in diffs, pages and records (C13).
            let shown = quote(&path.0);
            report
                .say(&path.site, format!("file {shown} holds a private key where a public text is expected"));
            return None;
        }
        Some(text)
    }

    /// The text of a YAML file of ours, in which each key says whether it may hold a secret.
    pub(crate) fn yaml(&mut self, path: &str, site: &Site, report: &mut Report) -> Option<Inlined> {
        self.text_of(path, YAML_MOST, site, report)
    }

    fn text_of(&mut self, path: &str, most: ByteSize, site: &Site, report: &mut Report) -> Option<Inlined> {
        let files = self.files;
        let read = self.texts.entry(path.to_owned()).or_insert_with(|| read_text(files, path, most));
        match read {
            Ok(inlined) => Some((**inlined).clone()),
            Err(cause) => {
                report.say(site, format!("file {} {cause}", quote(path)));
                None
            }
        }
    }

    /// The bytes behind a reference. `None` after a problem.
    pub(crate) fn secret(&mut self, source: &At<SecretSource>, report: &mut Report) -> Option<Secret> {
        let (asked, shown) = match &source.value {
            SecretSource::File(path) => (Source::File(&path.0), format!("file {}", quote(&path.0))),
            SecretSource::Credential(name) => {
                (Source::Credential(name.as_str()), format!("credential `{name}`"))
            }
            SecretSource::Descriptor(fd) => (Source::Descriptor(*fd), format!("descriptor {fd}")),
        };
        let facts = match self.files.read(asked, SECRET_MOST) {
            Ok(facts) => facts,
            Err(cause) => {
                report.say(&source.site, format!("{shown} {cause}"));
                return None;
            }
        };
        // SECURITY: systemd shows the mask of its access list as group bits, and a descriptor has no path, so
        // only the bits of files that we opened by name say who else can read them.
        if matches!(asked, Source::File(_)) && facts.mode & 0o077 != 0 {
            let text = format!("{shown} can be read by others (mode {:o})", facts.mode & 0o777);
            let advice = Advice::breaks("SS028-11.2.10c").write("allow its owner only: `chmod 600`");
            report.advise(&source.site, text, advice);
            return None;
        }
        if facts.bytes.expose().is_empty() {
            report.say(&source.site, format!("{shown} is empty"));
            return None;
        }
        Some(Secret::new(facts.bytes.expose().clone()))
    }
}

fn read_text(files: &dyn Files, path: &str, most: ByteSize) -> Result<Rc<Inlined>, String> {
    let facts = files.read(Source::File(path), most).map_err(|cause| match cause {
        FileError::TooLarge => format!("is larger than {most}"),
        other => other.to_string(),
    })?;
    let text = std::str::from_utf8(facts.bytes.expose()).map_err(|_| "is not UTF-8 text".to_owned())?;
    Ok(Rc::new(Inlined { file: path.into(), text: Arc::from(text) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<T>(value: T) -> At<T> {
        At { value, site: Site::root("test.yaml") }
    }

    #[test]
    fn c13_a_key_that_others_can_read_is_refused() {
        let files = MemoryFiles::default()
            .with_mode("open.key", "secret", 0o640)
            .with_mode("credential:api", "secret", 0o440)
            .with("closed.key", "secret");
        let mut report = Report::default();
        let mut loader = Loader::new(&files);
        let mut read = |source| loader.secret(&at(source), &mut report).is_some();
        assert!(!read(SecretSource::File(FilePath("open.key".into()))));
        assert!(read(SecretSource::File(FilePath("closed.key".into()))));
        assert!(read(SecretSource::Credential(portcullis_core::Name::parse("api").expect("a name"))));
        assert!(!read(SecretSource::Descriptor(9)));
        let text = report.finish().to_string();
        assert!(
            text.contains("can be read by others (mode 640)") && text.contains("descriptor 9 does not exist")
        );
    }

    #[test]
    fn c13_a_private_key_is_no_public_text() {
        let files = MemoryFiles::default().with("edge.pem", "-----BEGIN PRIVATE KEY-----\ncanary\n");
        let mut report = Report::default();
        assert!(Loader::new(&files).text(&at(FilePath("edge.pem".into())), &mut report).is_none());
        assert!(!report.finish().to_string().contains("canary"));
    }

    #[test]
    fn e10_a_file_beyond_its_limit_is_refused() {
        let files = MemoryFiles::default().with("big.cedar", vec![b' '; TEXT_MOST.as_usize() + 1]);
        let mut report = Report::default();
        assert!(Loader::new(&files).text(&at(FilePath("big.cedar".into())), &mut report).is_none());
        assert!(report.finish().to_string().contains("is larger than 4MiB"));
    }
}
