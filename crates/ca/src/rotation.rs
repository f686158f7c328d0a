//! Which authorities there are, and what each may do: how one follows another without a verifier that does not know it.
//!
//! ```text
//! prepare ──> Prepared ── activate ──> Active ── (the next is activated) ──> Retiring ── sweep ──> gone
//!             in the bundle,           signs                                signs nothing,
//!             signs nothing                                                 still in the bundle
//! ```
//!
//! INVARIANT: of each level at most one is prepared and at most one active.
//! INVARIANT: a root signs only when every live agent has acknowledged a bundle with it, or somebody forced it, which the
//! outcome says, for the record.
//! INVARIANT: a root stays in the bundle as long as anything below it may still be shown.
//! INVARIANT: the bundle's number grows with every change of what is in it (SPF-9).
//!
//! Not here: files, keys and certificates; a state is kept whole by whoever holds it, before the step takes effect.
//!
//! Sources: SS028-11.2.10, SM-DR11 to SM-DR15; SPIFFE Trust Domain and Bundle §4.

use std::collections::BTreeMap;

use portcullis_core::{Name, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::svid::Serial;
use crate::validity::Validity;

/// The number of a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BundleNumber(pub u64);

/// Where an authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// At the top; certifies authorities.
    Root,
    /// Below a root; certifies workloads and nothing else.
    Workloads,
}

/// What an authority may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum Phase {
    /// Nothing yet. A root is in every bundle from this number on.
    Prepared {
        /// The first bundle with it.
        bundle: BundleNumber,
    },
    /// Sign.
    Active,
    /// Nothing any more; what it signed may be shown until then.
    Retiring {
        /// The end.
        until: UnixMillis,
    },
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it stands.
    pub level: Level,
    /// The number of its certificate, which names it.
    pub serial: Serial,
    /// The root above it; none for a root.
    pub issuer: Option<Serial>,
    /// From when until when its certificate is valid.
    pub validity: Validity,
    /// What it may do.
    #[serde(flatten)]
    pub phase: Phase,
}

/// All authorities of a trust domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    bundle: BundleNumber,
    members: Vec<Member>,
}

/// Which bundle each live agent has acknowledged.
pub type Acknowledged = BTreeMap<Name, BundleNumber>;

/// Whether to wait for agents that do not know a root yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Refuse.
    Wait,
    /// Go on; their workloads will refuse certificates below the new root until they have heard.
    LeaveBehind,
}

/// Why a step is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationFault {
    /// There is one already.
    #[error("an authority of this level is prepared already: `{0}`; activate it, or give it up")]
    Prepared(Serial),
    /// There is none.
    #[error("no authority of this level is prepared; prepare one first")]
    NonePrepared,
    /// Its root does not sign.
    #[error("the root `{0}` above it is not active")]
    RootNotActive(Serial),
    /// Agents have not heard of it.
    #[error("{} live agents have not acknowledged the bundle with this root: {}", .0.len(), names(.0))]
    NotAcknowledged(Vec<Name>),
    /// It is not valid now.
    #[error("the certificate of `{0}` is not valid now")]
    NotValid(Serial),
    /// More than anybody needs: the oldest have to go first.
    #[error("there are {} authorities already; wait until the oldest has retired", Rotation::MOST)]
    TooMany,
}

fn names(missing: &[Name]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<&str> = missing.iter().take(SHOWN).map(Name::as_str).collect();
    let more = missing.len().saturating_sub(SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", shown.join(", "))
}

/// An authority that signs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activated {
    /// Which.
    pub serial: Serial,
    /// The agents that were left behind, for the record.
    pub without: Vec<Name>,
}

impl Rotation {
    /// More are not kept.
    pub const MOST: usize = 16;

    /// Adds an authority that signs nothing yet. `issuer` is the root above it.
    ///
    /// # Errors
    /// One of its level is prepared already, its root does not sign, or there are too many.
    pub fn prepare(
        &mut self,
        serial: Serial,
        issuer: Option<Serial>,
        validity: Validity,
    ) -> Result<(), RotationFault> {
        let level = if issuer.is_some() { Level::Workloads } else { Level::Root };
        if let Some(member) = self.prepared(level) {
            return Err(RotationFault::Prepared(member.serial));
        }
        self.root_is_active(issuer)?;
        if self.members.len() >= Self::MOST {
            return Err(RotationFault::TooMany);
        }
        if level == Level::Root {
            self.next_bundle();
        }
        let phase = Phase::Prepared { bundle: self.bundle };
        self.members.push(Member { level, serial, issuer, validity, phase });
        Ok(())
    }

    /// Lets the prepared authority of a level sign; the one before it retires.
    ///
    /// # Errors
    /// None is prepared, it is not valid now, or agents have not heard of it.
    pub fn activate(
        &mut self,
        level: Level,
        known: &Acknowledged,
        missing: Missing,
        now: UnixMillis,
    ) -> Result<Activated, RotationFault> {
        let member = self.prepared(level).ok_or(RotationFault::NonePrepared)?;
        let (serial, validity, issuer) = (member.serial, member.validity, member.issuer);
        self.root_is_active(issuer)?;
        if now < validity.from || validity.until <= now {
            return Err(RotationFault::NotValid(serial));
        }
        let without = self.behind(level, known);
        if missing == Missing::Wait && !without.is_empty() {
            return Err(RotationFault::NotAcknowledged(without));
        }
        for member in self.members.iter_mut().filter(|member| member.level == level) {
            member.phase = match member.phase {
                Phase::Active => Phase::Retiring { until: last_shown(member, now) },
                Phase::Prepared { .. } => Phase::Active,
                retiring @ Phase::Retiring { .. } => retiring,
            };
        }
        Ok(Activated { serial, without })
    }

    /// An authority below a root that has retired would keep that root in every bundle.
    fn root_is_active(&self, issuer: Option<Serial>) -> Result<(), RotationFault> {
        let active = self.active(Level::Root).map(|root| root.serial);
        match issuer.filter(|root| active != Some(*root)) {
            Some(root) => Err(RotationFault::RootNotActive(root)),
            None => Ok(()),
        }
    }

    /// Live agents that do not know the prepared root. What stands below a root comes along with each certificate, so
    /// that nobody has to know it before.
    fn behind(&self, level: Level, known: &Acknowledged) -> Vec<Name> {
        let first = match (level, self.prepared(level).map(|member| member.phase)) {
            (Level::Root, Some(Phase::Prepared { bundle })) => bundle,
            _ => return Vec::new(),
        };
        known.iter().filter(|(_, bundle)| **bundle < first).map(|(agent, _)| agent.clone()).collect()
    }

    /// Gives up the prepared authority of a level.
    ///
    /// # Errors
    /// There is none.
    pub fn give_up(&mut self, level: Level) -> Result<Serial, RotationFault> {
        let serial = self.prepared(level).ok_or(RotationFault::NonePrepared)?.serial;
        self.remove(serial);
        Ok(serial)
    }

    /// Removes what nobody can show any more, and gives their numbers.
    pub fn sweep(&mut self, now: UnixMillis) -> Vec<Serial> {
        let over = |member: &&Member| match member.phase {
            Phase::Retiring { until } => until <= now && !self.has_below(member.serial),
            Phase::Prepared { .. } => member.validity.until <= now,
            // Who signs is not taken away, however late somebody is: what to do then is for people to decide.
            Phase::Active => false,
        };
        let gone: Vec<Serial> = self.members.iter().filter(over).map(|member| member.serial).collect();
        gone.iter().for_each(|serial| self.remove(*serial));
        gone
    }

    fn has_below(&self, root: Serial) -> bool {
        self.members.iter().any(|member| member.issuer == Some(root))
    }

    fn remove(&mut self, serial: Serial) {
        let was_root = self.members.iter().any(|m| m.serial == serial && m.level == Level::Root);
        self.members.retain(|member| member.serial != serial);
        if was_root {
            self.next_bundle();
        }
    }

    fn next_bundle(&mut self) {
        self.bundle = BundleNumber(self.bundle.0.saturating_add(1));
    }

    /// The number of the bundle that its roots make.
    #[must_use]
    pub fn bundle(&self) -> BundleNumber {
        self.bundle
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The one that signs.
    #[must_use]
    pub fn active(&self, level: Level) -> Option<&Member> {
        self.members.iter().find(|member| member.level == level && member.phase == Phase::Active)
    }

    /// The one that will sign.
    #[must_use]
    pub fn prepared(&self, level: Level) -> Option<&Member> {
        let is_prepared = |member: &&Member| matches!(member.phase, Phase::Prepared { .. });
        self.members.iter().filter(|member| member.level == level).find(is_prepared)
    }
}

/// When the last certificate that it signed has ended, by clocks that are behind too. What a root signed is a member itself, and is waited for as one.
fn last_shown(member: &Member, now: UnixMillis) -> UnixMillis {
    match member.level {
        Level::Root => now,
        Level::Workloads => now.plus(Validity::WORKLOAD).min(member.validity.until).plus(Validity::SKEW),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400;

    fn serial(number: u8) -> Serial {
        Serial::from_random([number; 16])
    }

    fn day(number: u64) -> UnixMillis {
        UnixMillis::from_seconds(number * DAY)
    }

    fn days(from: u64, until: u64) -> Validity {
        Validity { from: day(from), until: day(until) }
    }

    fn agents(list: &[(&str, u64)]) -> Acknowledged {
        let agent =
            |(name, number): &(&str, u64)| (Name::parse(name).expect("a name"), BundleNumber(*number));
        list.iter().map(agent).collect()
    }

    fn begun() -> Rotation {
        let mut rotation = Rotation::default();
        rotation.prepare(serial(1), None, days(0, 1_000)).expect("a root");
        rotation.activate(Level::Root, &agents(&[]), Missing::Wait, day(1)).expect("active");
        rotation.prepare(serial(2), Some(serial(1)), days(0, 30)).expect("an authority");
        rotation.activate(Level::Workloads, &agents(&[]), Missing::Wait, day(1)).expect("active");
        rotation
    }

    fn numbers(rotation: &Rotation, level: Level) -> (Option<Serial>, Option<Serial>) {
        let number = |member: Option<&Member>| member.map(|member| member.serial);
        (number(rotation.active(level)), number(rotation.prepared(level)))
    }

    #[test]
    fn a_root_waits_for_every_live_agent_and_names_those_that_are_missing() {
        let mut rotation = begun();
        rotation.prepare(serial(3), None, days(5, 2_000)).expect("a second root");
        assert_eq!(rotation.bundle(), BundleNumber(2));
        let known = agents(&[("node-a", 2), ("node-b", 1), ("node-c", 0)]);
        let fault = rotation.activate(Level::Root, &known, Missing::Wait, day(6)).expect_err("too early");
        assert_eq!(
            fault.to_string(),
            "2 live agents have not acknowledged the bundle with this root: node-b, node-c"
        );
        assert_eq!(numbers(&rotation, Level::Root), (Some(serial(1)), Some(serial(3))), "nothing changed");
        let known = agents(&[("node-a", 2), ("node-b", 7), ("node-c", 2)]);
        let activated = rotation.activate(Level::Root, &known, Missing::Wait, day(6)).expect("all know");
        assert_eq!(activated, Activated { serial: serial(3), without: vec![] });
        assert_eq!(numbers(&rotation, Level::Root), (Some(serial(3)), None));
    }

    #[test]
    fn who_forces_a_root_is_told_who_was_left_behind() {
        let mut rotation = begun();
        rotation.prepare(serial(3), None, days(5, 2_000)).expect("a second root");
        let known = agents(&[("node-a", 2), ("node-b", 1)]);
        let activated = rotation.activate(Level::Root, &known, Missing::LeaveBehind, day(6)).expect("forced");
        assert_eq!(activated.without, [Name::parse("node-b").expect("a name")]);
    }

    #[test]
    fn an_authority_below_a_root_needs_no_acknowledgement_but_an_active_root() {
        let mut late = begun();
        late.prepare(serial(3), None, days(5, 2_000)).expect("a second root");
        late.prepare(serial(4), Some(serial(1)), days(5, 35)).expect("below the first");
        late.activate(Level::Root, &agents(&[]), Missing::Wait, day(6)).expect("the second signs");
        let fault = late.activate(Level::Workloads, &agents(&[]), Missing::Wait, day(6));
        assert_eq!(fault, Err(RotationFault::RootNotActive(serial(1))));
        let mut rotation = begun();
        let fault = rotation.prepare(serial(4), Some(serial(9)), days(5, 35));
        assert_eq!(fault, Err(RotationFault::RootNotActive(serial(9))));
        rotation.prepare(serial(4), Some(serial(1)), days(5, 35)).expect("prepared");
        let known = agents(&[("node-a", 0)]);
        rotation.activate(Level::Workloads, &known, Missing::Wait, day(6)).expect("active");
        assert_eq!(rotation.bundle(), BundleNumber(1), "the bundle holds roots alone");
    }

    #[test]
    fn a_root_goes_when_nothing_below_it_can_be_shown() {
        let mut rotation = begun();
        rotation.prepare(serial(3), None, days(5, 2_000)).expect("a second root");
        rotation.activate(Level::Root, &agents(&[]), Missing::Wait, day(6)).expect("active");
        assert_eq!(rotation.sweep(day(7)), [], "the old authority still signs below the old root");
        rotation.prepare(serial(4), Some(serial(3)), days(7, 37)).expect("below the new root");
        rotation.activate(Level::Workloads, &agents(&[]), Missing::Wait, day(7)).expect("active");
        let hour = Duration::from_secs(3_600);
        assert_eq!(
            rotation.sweep(day(7).plus(hour)),
            [],
            "what it signed lives for an hour, and clocks differ"
        );
        assert_eq!(rotation.sweep(day(7).plus(hour + Validity::SKEW)), [serial(2)]);
        assert_eq!(rotation.sweep(day(7).plus(hour + Validity::SKEW)), [serial(1)], "then the root");
        assert_eq!((rotation.bundle(), rotation.members().len()), (BundleNumber(3), 2));
    }

    #[test]
    fn steps_out_of_order_change_nothing() {
        let mut rotation = begun();
        let before = rotation.clone();
        let none = agents(&[]);
        let activate =
            |rotation: &mut Rotation, now| rotation.activate(Level::Root, &none, Missing::Wait, day(now));
        assert_eq!(activate(&mut rotation, 1), Err(RotationFault::NonePrepared));
        assert_eq!(rotation.give_up(Level::Root), Err(RotationFault::NonePrepared));
        assert_eq!(rotation, before);
        rotation.prepare(serial(3), None, days(5, 10)).expect("prepared");
        let second = rotation.prepare(serial(4), None, days(5, 10));
        assert_eq!(second, Err(RotationFault::Prepared(serial(3))));
        for now in [4, 10, 11] {
            assert_eq!(activate(&mut rotation, now), Err(RotationFault::NotValid(serial(3))), "day {now}");
        }
        assert_eq!(rotation.give_up(Level::Root), Ok(serial(3)));
        assert_eq!(rotation.bundle(), BundleNumber(3), "two changes");
    }

    #[test]
    fn a_state_survives_being_written() {
        let mut rotation = begun();
        rotation.prepare(serial(3), None, days(5, 2_000)).expect("a second root");
        let text = serde_json::to_string(&rotation).expect("written");
        assert_eq!(serde_json::from_str::<Rotation>(&text).expect("read"), rotation);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        PrepareRoot,
        PrepareBelow,
        Activate(Level),
        Acknowledge,
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::PrepareRoot),
            Just(Step::PrepareBelow),
            Just(Step::Activate(Level::Root)),
            Just(Step::Activate(Level::Workloads)),
            Just(Step::Acknowledge),
            (1..90_000u64).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 1..80)
    }

    proptest! {
        /// An agent that hears of each bundle late, but hears, never meets an authority whose root it does not know.
        #[test]
        fn what_signs_is_known_to_every_live_agent(steps in steps()) {
            let (mut rotation, mut now, mut next) = (Rotation::default(), day(1), 0u8);
            let mut known = agents(&[("node", 0)]);
            let mut held: Vec<Serial> = Vec::new();
            for step in steps {
                let validity = Validity { from: now, until: now.plus(Duration::from_secs(40 * DAY)) };
                next = next.wrapping_add(1);
                match step {
                    Step::PrepareRoot => _ = rotation.prepare(serial(next), None, validity),
                    Step::PrepareBelow => {
                        let root = rotation.active(Level::Root).map(|root| root.serial);
                        _ = root.map(|root| rotation.prepare(serial(next), Some(root), validity));
                    }
                    Step::Activate(level) => {
                        let done = rotation.activate(level, &known, Missing::Wait, now).is_ok();
                        let above = rotation.active(Level::Workloads).and_then(|signs| signs.issuer);
                        let root = rotation.active(Level::Root).map(|root| root.serial);
                        prop_assert!(!done || level == Level::Root || above == root);
                    }
                    Step::Acknowledge => {
                        known = agents(&[("node", rotation.bundle().0)]);
                        let roots = rotation.members().iter().filter(|m| m.level == Level::Root);
                        held = roots.map(|root| root.serial).collect();
                    }
                    Step::Pass(seconds) => {
                        now = now.plus(Duration::from_secs(seconds));
                        rotation.sweep(now);
                    }
                }
                for level in [Level::Root, Level::Workloads] {
                    let active = |m: &&Member| m.level == level && m.phase == Phase::Active;
                    prop_assert!(rotation.members().iter().filter(active).count() <= 1);
                }
                if let Some(signs) = rotation.active(Level::Workloads) {
                    let root = signs.issuer.expect("a root above it");
                    prop_assert!(held.contains(&root), "{rotation:?}");
                    prop_assert!(rotation.members().iter().any(|m| m.serial == root), "its root is in the bundle");
                }
            }
        }
    }
}
