//! `portcullis demo`: a whole shop on this machine, for as long as somebody looks at it.
//!
//! INVARIANT: everything listens on 127.0.0.1 and vouches for nobody: `demo.portcullis.invalid` does not load in
//! production (SS028-11.1.7a).
//! INVARIANT: only a folder that a demo made is ever removed.
//!
//! Not here: the product; the demo runs `portcullis up` as anybody would.

mod authority;
mod cases;
mod guide;
mod https;
mod issuer;
mod processes;
mod service;
pub(crate) mod shop;
mod walk;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use portcullis_core::{Clock as _, SystemClock};
use tokio::signal::unix::{SignalKind, signal};

use self::processes::Processes;
pub(crate) use self::service::DemoService;
use self::shop::Shop;
use crate::commands::Outcome;
use crate::screen::{Mood, Screen};

/// Run a small shop behind the gateway on this machine, and print what to try.
///
/// Three services, one gateway, an issuer whose keys are made at start, policies, limits and contracts. Everything listens
/// on 127.0.0.1 and ends with Ctrl-C.
#[derive(Args)]
pub(crate) struct Demo {
    /// The folder to work in; made if it is not there, else it must be empty. Left out, a new one is made.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave the folder behind.
    #[arg(long)]
    keep: bool,
    /// Try everything in the list, fail on any surprise, and end.
    #[arg(long)]
    check: bool,
    /// Remove the folder of an earlier demo, and do nothing else.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dir", "keep", "check"])]
    clean: Option<PathBuf>,
}

/// Why a demo does not begin or end as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// Somebody's folder.
    #[error(
        "`{path}` is not empty; name another folder, or remove an earlier demo with `demo --clean {path}`"
    )]
    NotEmpty { path: PathBuf },
    /// Not ours to remove.
    #[error("`{path}` is not the folder of a demo; it is left as it is")]
    NotOurs { path: PathBuf },
    /// The disk.
    #[error("cannot use the folder `{path}`")]
    Folder {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

/// The folder of a demo, removed when it is dropped unless it is to stay.
struct Folder {
    path: PathBuf,
    after: After,
}

/// What becomes of the folder afterwards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Keep,
    Remove,
}

impl Demo {
    /// Runs the demo, or removes one.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        if let Some(path) = &self.clean {
            remove(path)?;
            screen.line(format!("removed {}", path.display()));
            return Ok(ExitCode::SUCCESS);
        }
        let after = if self.keep { After::Keep } else { After::Remove };
        let folder = Folder::make(self.dir.as_deref(), after)?;
        screen.line(format!("{} {}", screen.paint(Mood::Title, "portcullis demo in"), folder.path.display()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = tokio::task::LocalSet::new().block_on(&runtime, self.open(&folder.path, screen));
        let path = folder.path.display().to_string();
        drop(folder);
        screen.line(match after {
            After::Keep => format!("kept {path}; `demo --clean {path}` removes it"),
            After::Remove => format!("removed {path}"),
        });
        ended
    }

    async fn open(&self, folder: &Path, screen: &Screen) -> Outcome {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let sockets = processes::Sockets::bind()?;
        let shop = Shop {
            folder: folder.to_owned(),
            environment: "demo",
            trust_domain: Shop::DEMO,
            stdout_log: "off",
            addresses: sockets.addresses()?,
            now: SystemClock::default().now().wall,
        };
        shop.write()?;
        let mut processes = Processes::start(&shop, sockets)?;
        let ended = tokio::select! {
            ended = self.work(&mut processes, &shop, screen) => ended,
            _ = terminate.recv() => Ok(self.interrupted()),
            _ = interrupt.recv() => Ok(self.interrupted()),
        };
        processes.end().await;
        ended
    }

    async fn work(&self, processes: &mut Processes, shop: &Shop, screen: &Screen) -> Outcome {
        processes.ready(&shop.folder, shop.addresses.gateway).await?;
        if self.check {
            return check(shop, screen).await;
        }
        screen.line(guide::text(&shop.folder, shop.addresses.gateway.port()));
        processes.any_ended().await;
        screen.error("a process of the demo ended by itself; see portcullis.log in its folder");
        Ok(ExitCode::FAILURE)
    }

    /// Ctrl-C is how a demo ends, and how a check is broken off.
    fn interrupted(&self) -> ExitCode {
        if self.check { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Walks the list, then asks for an explanation, then verifies the record.
async fn check(shop: &Shop, screen: &Screen) -> Outcome {
    let folder = shop.folder.as_path();
    let walked = walk::walk(folder, shop.addresses.gateway, screen).await?;
    let id = walked.refused.unwrap_or_default();
    let rest: [(&str, &[&str], &str); 5] = [
        ("`explain` names the rule that refused", &["explain", &id], "not-your-orders"),
        ("`audit query` shows what was refused", &["audit", "query", "--id", &id], "not-your-orders"),
        ("`audit verify` finds the record whole", &["audit", "verify"], "the record is whole"),
        ("`policy test` gets the expected answers", &["policy", "test", POLICY_TABLE], "0 surprises"),
        ("`check` finds nothing wrong", &["check"], "ok: "),
    ];
    let mut surprises = walked.surprises;
    for (title, words, wanted) in rest {
        let outcome = processes::told(folder, words, wanted).await;
        surprises += usize::from(outcome.is_err());
        screen.line(match outcome {
            Ok(()) => format!("{}  {title}", screen.paint(Mood::Good, "ok  ")),
            Err(why) => format!("{}  {title}\n      {why}", screen.paint(Mood::Bad, "FAIL")),
        });
    }
    screen.line(format!("{} tried, {surprises} surprises", cases::CASES.len() + rest.len()));
    Ok(if surprises == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The questions that come with the shop's policies.
const POLICY_TABLE: &str = "policies/orders.test.yaml";

impl Folder {
    /// Makes a folder, or takes an empty one.
    fn make(wanted: Option<&Path>, after: After) -> Result<Self, DemoError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = match wanted {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("portcullis-demo-{}", fresh())),
        };
        let failed = |cause| DemoError::Folder { path: path.clone(), cause };
        std::fs::DirBuilder::new().recursive(wanted.is_some()).mode(0o700).create(&path).map_err(failed)?;
        if std::fs::read_dir(&path).map_err(failed)?.next().is_some() {
            return Err(DemoError::NotEmpty { path });
        }
        let path = path.canonicalize().map_err(failed)?;
        Ok(Self { path, after })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.after == After::Remove {
            // What cannot be removed stays, and `demo --clean` says why.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn remove(path: &Path) -> Result<(), DemoError> {
    if !shop::is_demo(path) {
        return Err(DemoError::NotOurs { path: path.to_owned() });
    }
    std::fs::remove_dir_all(path).map_err(|cause| DemoError::Folder { path: path.to_owned(), cause })
}

/// A name that nobody foresees, in a folder that everybody can write.
fn fresh() -> String {
    let mut bytes = [0; 8];
    // Without randomness the name is the same every time, and a second demo says that the folder is there.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    crate::roles::hex(&bytes)
}

/// How long the shop may take to open.
const OPENING: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_of_a_demo_is_removed() {
        let somebody = tempfile::tempdir().expect("a folder");
        std::fs::write(somebody.path().join("portcullis.yaml"), "trust_domain: shop.example\n")
            .expect("written");
        assert!(matches!(remove(somebody.path()), Err(DemoError::NotOurs { .. })));
        assert!(somebody.path().join("portcullis.yaml").is_file());
        let demo = somebody.path().join("demo");
        std::fs::create_dir(&demo).expect("made");
        std::fs::write(demo.join("portcullis.yaml"), "trust_domain: demo.portcullis.invalid\n")
            .expect("written");
        remove(&demo).expect("is a demo's");
        assert!(!demo.exists());
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let somebody = tempfile::tempdir().expect("a folder");
        std::fs::write(somebody.path().join("thesis.tex"), "x").expect("written");
        let refused = Folder::make(Some(somebody.path()), After::Remove).map(|_| ());
        assert!(matches!(refused, Err(DemoError::NotEmpty { .. })));
        assert!(somebody.path().join("thesis.tex").is_file());
    }
}
