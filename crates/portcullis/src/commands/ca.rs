//! `portcullis ca`: the authority that certifies workloads.
//!
//! INVARIANT: the key of a root is written once, to be carried away; every later look says so while it is still there.
//!
//! Not here: what the steps do (`portcullis-keyholder`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_ca::{Level, Member, Phase, SealFault, Sealer};
use portcullis_core::{Clock as _, SystemClock, UnixMillis};
use portcullis_keyholder::{CeremonyError, Home, HomeError, Rotated, State, begin, rehearse, rotate};

use super::Outcome;
use super::loaded::{LoadError, Loaded};
use crate::screen::{Mood, Screen};

/// Make and look after the authority that certifies workloads.
#[derive(Args)]
pub(crate) struct Ca {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Make a root and an authority below it.
    ///
    /// The root's key is written to a file for you to carry away: it is needed to rotate, and never to run. The other
    /// key is sealed with the secret that `ca.seal` refers to, and stays in the state directory.
    Init {
        #[command(flatten)]
        config: Config,
        /// Where to write the root's key. It must not exist yet.
        #[arg(long, default_value = "ca-root.key", value_name = "FILE")]
        root_key: PathBuf,
    },
    /// Show which authorities there are, until when, and what has to be done.
    Status {
        #[command(flatten)]
        config: Config,
    },
    /// Print the bundle by which the trust domain's certificates are verified (SPIFFE's JSON).
    Bundle {
        #[command(flatten)]
        config: Config,
    },
    /// Make the next authority below the root; the one before it retires.
    Rotate(Brought),
    /// Do all of a rotation but keeping it, to find what would stand in the way.
    Rehearse(Brought),
}

#[derive(Args)]
struct Brought {
    #[command(flatten)]
    config: Config,
    /// The root's key, brought back for the time being.
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
}

#[derive(Args)]
struct Config {
    /// The configuration.
    #[arg(short, long, default_value = "portcullis.yaml", value_name = "FILE")]
    config: PathBuf,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum CaError {
    /// The configuration has no such section.
    #[error("the configuration has no `ca`; write `ca: {{ seal: {{ file: FILE }} }}` there first")]
    NotConfigured,
    /// The configuration.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The secret.
    #[error(transparent)]
    Seal(#[from] SealFault),
    /// The folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The step.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
}

impl Ca {
    /// Does what was asked.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        let now = SystemClock::default().now().wall;
        match self.word {
            Word::Init { config, root_key } => init(&config, &root_key, now, screen)?,
            Word::Status { config } => {
                let home = config.home()?;
                let state = home.state().map_err(CaError::from)?;
                status(&state, now, screen);
                // What does not open cannot sign, whatever the table says.
                drop(home.signer(&state).map_err(CaError::from)?);
            }
            Word::Bundle { config } => {
                let home = config.home()?;
                let state = home.state().map_err(CaError::from)?;
                screen.line(home.bundle(&state).map_err(CaError::from)?);
            }
            Word::Rotate(Brought { config, root_key }) => {
                let Rotated { serial, until } =
                    rotate(&config.home()?, &root_key, now).map_err(CaError::from)?;
                screen.line(format!("authority `{serial}` signs now, until {}", day(until)));
                screen.line("carry the root's key away again");
            }
            Word::Rehearse(Brought { config, root_key }) => {
                let next = rehearse(&config.home()?, &root_key, now).map_err(CaError::from)?;
                screen.line(format!("a rotation would work; the next authority until {}", day(next.until)));
                screen.line("nothing was changed; carry the root's key away again");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Config {
    fn home(&self) -> Result<Home, CaError> {
        let loaded = Loaded::read(&self.config)?;
        let ca = loaded.plan.ca.as_ref().ok_or(CaError::NotConfigured)?;
        let sealer = Sealer::new(ca.seal.expose())?;
        Ok(Home::at(&loaded.state().join("keyholder"), &loaded.plan.trust_domain, sealer))
    }
}

fn init(config: &Config, root_key: &Path, now: UnixMillis, screen: &Screen) -> Result<(), CaError> {
    let home = config.home()?;
    begin(&home, root_key, now)?;
    screen.line(format!("The authority of trust domain `{}` has begun.\n", home.domain()));
    status(&home.state()?, now, screen);
    screen.line(format!("\nCarry `{}` away from this machine. To rotate:", root_key.display()));
    let config = config.config.display();
    screen.line(format!("\n  portcullis ca rotate -c {config} --root-key FILE"));
    Ok(())
}

fn status(state: &State, now: UnixMillis, screen: &Screen) {
    screen.line(
        screen.paint(Mood::Title, &format!("{:<10} {:<9} {:<32}  {}", "LEVEL", "PHASE", "SERIAL", "UNTIL")),
    );
    state.authorities.members().iter().for_each(|member| screen.line(row(member)));
    for place in &state.root_keys {
        match Path::new(place).try_exists() {
            Ok(true) => screen.warning(&format!("the root's key is still at `{place}`: carry it away")),
            Ok(false) => {}
            Err(_) => screen.warning(&format!("whether the root's key is still at `{place}` cannot be seen")),
        }
    }
    state
        .authorities
        .members()
        .iter()
        .filter_map(|member| due(member, now))
        .for_each(|text| screen.warning(&text));
}

fn row(member: &Member) -> String {
    let level = match member.level {
        Level::Root => "root",
        Level::Workloads => "workloads",
    };
    let (phase, until) = match member.phase {
        Phase::Prepared { .. } => ("prepared", member.validity.until),
        Phase::Active => ("active", member.validity.until),
        Phase::Retiring { until } => ("retiring", until),
    };
    format!("{level:<10} {phase:<9} {}  {}", member.serial, day(until))
}

/// What is to be done about an authority past two thirds of its life, since nothing follows by itself.
fn due(member: &Member, now: UnixMillis) -> Option<String> {
    let is_due = member.phase == Phase::Active && member.validity.renew_at(0) <= now;
    let what = match member.level {
        Level::Workloads => "run `portcullis ca rotate`",
        Level::Root => "this version makes no second root",
    };
    is_due.then(|| format!("authority `{}` ends on {}: {what}", member.serial, day(member.validity.until)))
}

/// A day, as in `2027-03-31`.
fn day(at: UnixMillis) -> String {
    let seconds = i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds);
    moment.map_or_else(|_| "?".to_owned(), |moment| moment.date().to_string())
}

#[cfg(test)]
mod tests {
    use portcullis_ca::{Serial, Validity};

    use super::*;

    fn member(phase: Phase) -> Member {
        let at = |day: u64| UnixMillis::from_seconds(day * 86_400);
        Member {
            level: Level::Workloads,
            serial: Serial::from_random([7; 16]),
            issuer: Some(Serial::from_random([1; 16])),
            validity: Validity { from: at(20_000), until: at(20_030) },
            phase,
        }
    }

    #[test]
    fn a_row_says_what_an_authority_does_and_until_when() {
        let until = UnixMillis::from_seconds(20_021 * 86_400);
        let table = [
            (Phase::Active, "workloads  active    47070707070707070707070707070707  2024-11-03"),
            (Phase::Retiring { until }, "workloads  retiring  47070707070707070707070707070707  2024-10-25"),
        ];
        for (phase, want) in table {
            assert_eq!(row(&member(phase)), want);
        }
    }

    #[test]
    fn an_authority_is_due_at_two_thirds_of_its_life() {
        let at = |day: u64| UnixMillis::from_seconds(day * 86_400);
        for (phase, day, want) in [
            (Phase::Active, 20_019, false),
            (Phase::Active, 20_020, true),
            (Phase::Retiring { until: at(20_030) }, 20_029, false),
        ] {
            assert_eq!(due(&member(phase), at(day)).is_some(), want, "{phase:?} {day}");
        }
    }
}
