//! A configuration read from disk.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_config::plan::Plan;
use portcullis_control::files::DiskFiles;
use portcullis_core::{Generation, Problems};
use portcullis_snapshot::keys::Fetched;
use portcullis_snapshot::{Compiled, compile};

use super::certificates;

/// A plan and where it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The folder of the file, absolute: what paths inside are relative to.
    pub(crate) root: PathBuf,
    /// The file's name in it.
    pub(crate) file: String,
    /// What it says.
    pub(crate) plan: Arc<Plan>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// There is no such file.
    #[error("cannot open the configuration `{path}`")]
    Open {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// It is wrong.
    #[error("{0}")]
    Problems(Told),
}

/// Problems as people read them, each on its line.
#[derive(Debug)]
pub(crate) struct Told(pub(crate) Problems);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.count();
        let word = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {word}:\n{}", self.0.to_string().trim_end())
    }
}

impl Loaded {
    /// Reads and checks `path` and all that it names.
    pub(crate) fn read(path: &Path) -> Result<Self, LoadError> {
        let open = |cause| LoadError::Open { path: path.to_owned(), cause };
        let path = path.canonicalize().map_err(open)?;
        let root = path.parent().unwrap_or(Path::new("/")).to_owned();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let plan = portcullis_config::load(&file, &DiskFiles::new(&path))
            .map_err(|p| LoadError::Problems(Told(p)))?;
        Ok(Self { root, file, plan: Arc::new(plan) })
    }

    /// Compiles the plan as a data plane does: policies, contracts, routes, and certificates.
    pub(crate) fn compile(&self) -> Result<Compiled, LoadError> {
        let mut problems = certificates::problems(&self.file, &self.plan);
        let compiled = compile(Arc::clone(&self.plan), Arc::new(Fetched::default()), Generation(1), None);
        let told = |problems| LoadError::Problems(Told(problems));
        match compiled {
            Ok(compiled) => problems.into_result(compiled).map_err(told),
            Err(found) => {
                problems.absorb(found);
                Err(told(problems))
            }
        }
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join(&*self.plan.state.directory)
    }

    /// The admin socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join(&*self.plan.admin.socket)
    }
}
