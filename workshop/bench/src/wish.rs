//! What was asked for on the command line.

use std::time::Duration;

use crate::Outcome;
use crate::plan::Work;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench WHAT [--quick] [--work NAME]… [--system NAME]…

  peers [--json]  every work beside Envoy, HAProxy, nginx and a relay, five rounds: a table, or one object
  overload        good answers a second at twice the peak (secure, secure-h2; envoy, portcullis)
  floods          good callers beside one attack at a time (secure, secure-h2; envoy, portcullis)
  idle            start to ready, memory at rest, memory of a connection that waits
  journal         records a second and core, and how long one waits for its sync
  loss            what a killed edge process takes with it
  price           the chain with each security feature on and off; --system names a feature
  instructions    instructions of the edge process for a request, by callgrind
  reload          answers while the configuration is replaced every 50 ms

--quick looks once and briefly: to see that it works, not to be quoted. All but peers print one JSON object; how far it
is goes to standard error.";

/// The choice of works and systems, and how long each is looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) json: bool,
    pub(crate) quick: bool,
    works: Vec<Work>,
    systems: Vec<String>,
}

impl Wish {
    pub(crate) fn parse(args: &[&str]) -> Outcome<Self> {
        let mut wish = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--json" => wish.json = true,
                "--quick" => wish.quick = true,
                "--work" => wish.works.push(args.next().ok_or(USAGE).map(|n| Work::named(n))??),
                "--system" => wish.systems.push((*args.next().ok_or(USAGE)?).to_owned()),
                other => return Err(format!("cannot understand `{other}`\n{USAGE}")),
            }
        }
        Ok(wish)
    }

    pub(crate) fn works(&self) -> Vec<Work> {
        if self.works.is_empty() { Work::ALL.to_vec() } else { self.works.clone() }
    }

    pub(crate) fn wants(&self, system: &str) -> bool {
        self.systems.is_empty() || self.systems.iter().any(|s| s == system)
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    /// How long one system is under load in one round, after a warm-up of a quarter of it.
    pub(crate) fn span(&self) -> Duration {
        if self.quick { Duration::from_secs(1) } else { Duration::from_secs(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_understood_or_refused() {
        let wish = Wish::parse(&["--json", "--work", "plain", "--system", "envoy"]).unwrap();
        assert_eq!(wish.works(), [Work::Plain]);
        assert!(wish.json && wish.wants("envoy") && !wish.wants("nginx"));
        assert!(Wish::parse(&["--work", "nothing"]).is_err());
        assert!(Wish::parse(&["--wrok"]).is_err());
    }
}
