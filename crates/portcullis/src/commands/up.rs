//! `portcullis up`: the supervisor.
//!
//! INVARIANT: nothing starts on a configuration that does not load and compile.
//! INVARIANT: relative paths mean the folder of the configuration, in this process and in every role.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Outcome;
use super::loaded::Loaded;
use crate::roles;
use crate::screen::Screen;

/// Run the gateway: starts its processes and keeps them running. SIGHUP reloads, SIGTERM drains and ends.
#[derive(Args)]
pub(crate) struct Up {
    /// The configuration.
    #[arg(short, long, default_value = "portcullis.yaml", value_name = "FILE")]
    config: PathBuf,
    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
enum StateError {
    #[error("cannot use the state directory `{path}`")]
    Use {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the state directory `{path}` can be entered by others (mode {mode:o}); run `chmod 700 {path}`")]
    TooOpen { path: PathBuf, mode: u32 },
}

impl Up {
    /// Supervises until told to end.
    pub(crate) fn run(self, _: &Screen) -> Outcome {
        if self.with_parent {
            roles::end_with_parent()?;
        }
        let loaded = Loaded::read(&self.config)?;
        loaded.compile()?;
        std::env::set_current_dir(&loaded.root)?;
        let state = loaded.state();
        private(&state)?;
        let run = state.join("run");
        private(&run)?;
        let config = loaded.root.join(&loaded.file);
        let drain = loaded.plan.gateway.timeouts.drain.as_duration();
        // The supervisor outlives every configuration and keeps none.
        drop(loaded);
        portcullis_allocator::give_back();
        roles::supervise(&config, &run.join("link.sock"), drain)
    }
}

/// Makes a folder that only our user can enter, or checks that it is one.
fn private(path: &Path) -> Result<(), StateError> {
    let failed = |cause| StateError::Use { path: path.to_owned(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let mode = std::fs::metadata(path).map_err(failed)?.mode() & 0o777;
    // SECURITY: the sockets inside are guarded by this folder.
    if mode & 0o077 != 0 {
        return Err(StateError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn f1_a_state_directory_that_others_may_enter_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        private(&path).expect("made");
        private(&path).expect("is there");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).expect("permissions");
        assert!(matches!(private(&path), Err(StateError::TooOpen { mode: 0o750, .. })));
    }
}
