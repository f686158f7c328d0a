//! The list of what is there: name, path, version.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{During as _, Outcome};

/// `target/tools/manifest.json`.
pub(crate) struct Manifest {
    dir: PathBuf,
    entries: BTreeMap<String, Entry>,
}

/// One thing that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

impl Manifest {
    /// What earlier runs brought, without what has gone since.
    pub(crate) fn load(dir: &Path) -> Self {
        let text = fs::read(dir.join("manifest.json")).unwrap_or_default();
        let mut entries: BTreeMap<String, Entry> = serde_json::from_slice(&text).unwrap_or_default();
        entries.retain(|_, entry| entry.path.exists());
        Self { dir: dir.to_owned(), entries }
    }

    /// The folder that everything is under.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(crate) fn add(&mut self, name: &str, path: PathBuf, version: &str) {
        super::say(name, &format!("{version}  {}", path.display()));
        self.entries.insert(name.to_owned(), Entry { path, version: version.to_owned() });
    }

    pub(crate) fn save(&self) -> Outcome {
        fs::create_dir_all(&self.dir).during("cannot make `target/tools`")?;
        let text = serde_json::to_string_pretty(&self.entries).during("cannot write the manifest")?;
        fs::write(self.dir.join("manifest.json"), text + "\n")
            .during("cannot write `target/tools/manifest.json`")
    }
}
