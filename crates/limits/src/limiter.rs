//! One decision over all the limits of a request.
//!
//! Callers, sources and configured names have a table each, so that a flood of forged sources cannot use up the room
//! of people who proved who they are. Several limits are asked under the locks of all their shards at once, taken in
//! one order: either all pass and all count, or one refuses and none does (MS-SS-8.1: the stricter one wins).
//!
//! INVARIANT: a refused request consumes nothing of any limit.
//! INVARIANT: more limits than [`Limiter::MOST`] in one question is a refusal, not a shorter question.
//!
//! Sources: SS028-11.4.2; MS-SS-8.1, 8.2.

use std::sync::MutexGuard;
use std::time::Duration;

use portcullis_core::Now;

use crate::key::{Fingerprint, LimitKey, Printer};
use crate::quota::{Quota, Standing, Step};
use crate::table::{Origin, Shard, Table};

/// One limit to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whose requests are counted.
    pub key: LimitKey<'a>,
    /// How many there may be.
    pub quota: &'a Quota,
}

/// The answer of a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request passes and was counted. The standing is that of the limit with the least left.
    Pass(Standing),
    /// It does not pass and was not counted.
    Refuse {
        /// When the same request passes, if nothing else comes before it.
        retry_after: Duration,
        /// The limit that refused; of several, the one to wait for longest.
        standing: Standing,
    },
}

/// All rate limits of a process.
#[derive(Debug)]
pub struct Limiter {
    callers: Table,
    sources: Table,
    configured: Table,
    printer: Printer,
    origin: Origin,
}

/// Where one key is counted.
#[derive(Clone, Copy)]
struct Place<'t> {
    table: &'t Table,
    /// The order in which locks are taken: table, then shard.
    rank: (u8, usize),
    print: Fingerprint,
}

/// What to put back if a later limit refuses.
enum Taken {
    Slot { before: u64 },
    Shared,
}

type Locked<'t> = [Option<((u8, usize), MutexGuard<'t, Shard>)>; Limiter::MOST];

impl Limiter {
    /// The most limits that one request can have.
    pub const MOST: usize = 8;

    /// A limiter with room for about `capacity` callers, as many sources, and as many routes and plans. Memory is
    /// taken as keys come, 32 to 64 bytes each.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            callers: Table::new(capacity),
            sources: Table::new(capacity),
            configured: Table::new(capacity),
            printer: Printer::default(),
            origin: Origin::default(),
        }
    }

    /// Decides about one request under one limit.
    #[must_use]
    pub fn check(&self, key: &LimitKey<'_>, quota: &Quota, now: Now) -> Verdict {
        let (place, now) = (self.place(key), self.origin.nanos(now));
        let Some(mut shard) = place.table.lock(place.rank.1) else { return Verdict::never() };
        match take(place, quota, &mut shard, now).0 {
            Step::Pass { standing, .. } => Verdict::Pass(standing),
            Step::Wait { wait, standing } => Verdict::Refuse { retry_after: wait, standing },
        }
    }

    /// Decides about one request under several limits: all pass and all count, or none does. A key that is asked for
    /// twice is taken from twice.
    #[must_use]
    pub fn check_all(&self, asks: &[Ask<'_>], now: Now) -> Verdict {
        match asks {
            [] => Verdict::Pass(Standing::UNLIMITED),
            [ask] => self.check(&ask.key, ask.quota, now),
            asks if asks.len() > Self::MOST => Verdict::never(),
            asks => self.check_several(asks, self.origin.nanos(now)),
        }
    }

    fn check_several(&self, asks: &[Ask<'_>], now: u64) -> Verdict {
        let mut places = [None; Self::MOST];
        for (place, ask) in places.iter_mut().zip(asks) {
            *place = Some(self.place(&ask.key));
        }
        let mut locked = lock_all(&places);
        let mut verdict = Verdict::Pass(Standing::UNLIMITED);
        let mut undo = [const { None }; Self::MOST];
        let asked = asks.iter().zip(places.iter().flatten());
        for (which, ((ask, place), log)) in asked.zip(&mut undo).enumerate() {
            let Some(shard) = shard_of(&mut locked, *place) else { return Verdict::never() };
            let (step, taken) = take(*place, ask.quota, shard, now);
            *log = taken.map(|taken| (*place, ask.quota, taken));
            verdict = verdict.and(step, which);
        }
        if let Verdict::Refuse { .. } = verdict {
            // Backwards, so that a key that was taken from twice ends where it began.
            for (place, quota, taken) in undo.into_iter().rev().flatten() {
                give_back(place, quota, &taken, &mut locked, now);
            }
        }
        verdict
    }

    fn place(&self, key: &LimitKey<'_>) -> Place<'_> {
        let (number, table) = match key {
            LimitKey::Caller { .. } | LimitKey::Procedure { .. } => (0, &self.callers),
            LimitKey::Source { .. } => (1, &self.sources),
            LimitKey::Route { .. } | LimitKey::Plan { .. } => (2, &self.configured),
        };
        let print = self.printer.print(key);
        Place { table, rank: (number, table.shard_of(print)), print }
    }

    /// How many keys are held at the moment, in all tables.
    #[must_use]
    pub fn held(&self) -> usize {
        self.tables().map(Table::held).sum()
    }

    /// How many decisions were made in a shared bucket because a table was full: a reason for an alarm.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.tables().map(Table::turned_away).sum()
    }

    /// Bytes that the tables hold.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tables().map(Table::bytes).sum()
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        [&self.callers, &self.sources, &self.configured].into_iter()
    }
}

impl Verdict {
    /// The answer to a question that has no answer.
    const fn never() -> Self {
        let standing = Standing { which: 0, limit: 0, remaining: 0, reset: Duration::from_secs(60) };
        Self::Refuse { retry_after: Duration::from_secs(60), standing }
    }

    /// This verdict, and one more limit's.
    fn and(self, step: Step, which: usize) -> Self {
        match (self, step) {
            (Self::Pass(worst), Step::Pass { standing, .. }) if standing.remaining < worst.remaining => {
                Self::Pass(standing.of(which))
            }
            (Self::Refuse { retry_after, .. }, Step::Wait { wait, .. }) if wait <= retry_after => self,
            (_, Step::Wait { wait, standing }) => {
                Self::Refuse { retry_after: wait, standing: standing.of(which) }
            }
            (verdict, Step::Pass { .. }) => verdict,
        }
    }
}

/// Asks one bucket, and says what to put back.
fn take(place: Place<'_>, quota: &Quota, shard: &mut Shard, now: u64) -> (Step, Option<Taken>) {
    let now = shard.at(now);
    let Some(tat) = shard.entry(place.print, now) else {
        let step = place.table.step_shared(quota, now);
        return (step, matches!(step, Step::Pass { .. }).then_some(Taken::Shared));
    };
    let (before, step) = (*tat, quota.step(*tat, now));
    let Step::Pass { tat: after, .. } = step else { return (step, None) };
    *tat = after;
    (step, Some(Taken::Slot { before }))
}

fn give_back(place: Place<'_>, quota: &Quota, taken: &Taken, locked: &mut Locked<'_>, now: u64) {
    match taken {
        Taken::Shared => place.table.undo_shared(quota),
        Taken::Slot { before } => {
            let shard = shard_of(locked, place);
            if let Some(tat) = shard.and_then(|shard| shard.entry(place.print, now)) {
                *tat = *before;
            }
        }
    }
}

/// Locks every shard that is needed, once each and always in the same order, so that two cores cannot wait for each
/// other.
fn lock_all<'t>(places: &[Option<Place<'t>>; Limiter::MOST]) -> Locked<'t> {
    let mut order = *places;
    order.sort_unstable_by_key(|place| place.map_or((u8::MAX, 0), |place| place.rank));
    let mut locked: Locked<'t> = [const { None }; Limiter::MOST];
    let mut last = None;
    for (slot, place) in locked.iter_mut().zip(order.into_iter().flatten()) {
        if last.replace(place.rank) != Some(place.rank) {
            *slot = place.table.lock(place.rank.1).map(|shard| (place.rank, shard));
        }
    }
    locked
}

fn shard_of<'l>(locked: &'l mut Locked<'_>, place: Place<'_>) -> Option<&'l mut Shard> {
    let mut found = locked.iter_mut().flatten();
    found.find(|(rank, _)| *rank == place.rank).map(|(_, shard)| &mut **shard)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use portcullis_core::{Name, Rate, UnixMillis};
    use proptest::prelude::*;

    use super::*;
    use crate::SourcePrefix;

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn start() -> Now {
        Now { wall: UnixMillis(1_790_000_000_000), mono: Instant::now() }
    }

    fn quota(rate: &str, burst: u32) -> Quota {
        Rate::parse(rate).ok().and_then(|rate| Quota::new(rate, burst)).expect("quota")
    }

    fn name(text: &str) -> Name {
        Name::parse(text).expect("name")
    }

    fn passes(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Pass(_))
    }

    #[test]
    fn ss028_11_4_2_a_procedure_is_limited_by_user_and_by_nothing_else() {
        let (limiter, now, quota) = (Limiter::new(100), start(), quota("3/min", 3));
        let (staff, partners, refund, close) =
            (name("staff"), name("partners"), name("refund_order"), name("close_order"));
        let refund_by = |issuer, subject| LimitKey::Procedure { issuer, subject, procedure: &refund };
        for _ in 0..3 {
            assert!(passes(limiter.check(&refund_by(&staff, "a"), &quota, now)));
        }
        let Verdict::Refuse { retry_after, standing } = limiter.check(&refund_by(&staff, "a"), &quota, now)
        else {
            panic!("the fourth call passes")
        };
        assert_eq!((retry_after.as_secs(), standing.limit, standing.remaining), (20, 3, 0));
        assert!(passes(limiter.check(&refund_by(&staff, "b"), &quota, now)), "another user");
        assert!(passes(limiter.check(&refund_by(&partners, "a"), &quota, now)), "another issuer's user");
        let other = LimitKey::Procedure { issuer: &staff, subject: "a", procedure: &close };
        assert!(passes(limiter.check(&other, &quota, now)), "another procedure");
        assert!(passes(limiter.check(&refund_by(&staff, "a"), &quota, now.plus(retry_after))));
    }

    #[test]
    fn ms_ss_8_1_the_stricter_limit_wins_and_a_refusal_consumes_nothing() {
        let (limiter, now) = (Limiter::new(100), start());
        let (wide, narrow) = (quota("100/s", 100), quota("2/s", 2));
        let (plan, staff, service) = (name("standard"), name("staff"), name("orders"));
        let caller = LimitKey::Caller { plan: &plan, issuer: &staff, subject: "a" };
        let route = LimitKey::Route { route: &service };
        let asks = [Ask { key: caller, quota: &wide }, Ask { key: route, quota: &narrow }];
        for left in [1, 0] {
            let Verdict::Pass(standing) = limiter.check_all(&asks, now) else { panic!("refused") };
            assert_eq!((standing.which, standing.remaining), (1, left));
        }
        for _ in 0..50 {
            let Verdict::Refuse { standing, .. } = limiter.check_all(&asks, now) else { panic!("passed") };
            assert_eq!((standing.which, standing.limit), (1, 2));
        }
        let Verdict::Pass(standing) = limiter.check(&caller, &wide, now) else { panic!("refused") };
        assert_eq!(standing.remaining, 97, "two passed together and one alone; fifty refusals took nothing");
    }

    #[test]
    fn a_key_asked_for_twice_is_taken_from_twice_or_not_at_all() {
        let (limiter, now, quota, plan) = (Limiter::new(100), start(), quota("3/s", 3), name("standard"));
        let ask = Ask { key: LimitKey::Plan { plan: &plan }, quota: &quota };
        assert!(passes(limiter.check_all(&[ask, ask], now)));
        assert!(!passes(limiter.check_all(&[ask, ask], now)));
        assert!(passes(limiter.check(&ask.key, &quota, now)), "the third is still there");
        assert!(!passes(limiter.check(&ask.key, &quota, now)));
    }

    #[test]
    fn too_many_limits_at_once_refuse_and_none_at_all_pass() {
        let (limiter, now, quota, plan) = (Limiter::new(100), start(), quota("9/s", 9), name("standard"));
        let ask = Ask { key: LimitKey::Plan { plan: &plan }, quota: &quota };
        assert!(!passes(limiter.check_all(&[ask; Limiter::MOST + 1], now)));
        assert!(passes(limiter.check_all(&[ask; Limiter::MOST], now)));
        assert!(passes(limiter.check_all(&[], now)));
    }

    #[test]
    fn e10_a_flood_of_sources_shares_one_bucket_and_takes_no_slot_from_anyone() {
        let (limiter, now, quota) = (Limiter::new(64), start(), quota("5/s", 5));
        let (plan, staff) = (name("standard"), name("staff"));
        let known = LimitKey::Source { plan: &plan, source: SourcePrefix::of([192, 0, 2, 1].into()) };
        let Verdict::Pass(_) = limiter.check(&known, &quota, now) else { panic!("refused") };
        let flood =
            |n: u32| LimitKey::Source { plan: &plan, source: SourcePrefix::of(n.to_be_bytes().into()) };
        let passed = (1_000..11_000).filter(|n| passes(limiter.check(&flood(*n), &quota, now))).count();
        assert_eq!(passed, 63 + 5, "those with a slot once each, all others together five times");
        assert!(limiter.turned_away() > 9_000);
        let Verdict::Pass(standing) = limiter.check(&known, &quota, now) else { panic!("refused") };
        assert_eq!(standing.remaining, 3, "its slot was not taken away");
        let caller = LimitKey::Caller { plan: &plan, issuer: &staff, subject: "a" };
        assert!(passes(limiter.check(&caller, &quota, now)), "callers have a table of their own");
        let later = now.plus(Duration::from_secs(2));
        let passed = (20_000..20_040).filter(|n| passes(limiter.check(&flood(*n), &quota, later))).count();
        assert_eq!(passed, 40, "what is spent makes room");
    }

    #[test]
    fn a_refusal_gives_back_to_the_shared_bucket_too() {
        let (limiter, now) = (Limiter::new(1), start());
        let (wide, none, plan, orders) = (quota("5/s", 5), quota("1/h", 1), name("standard"), name("orders"));
        let source = |n: u8| LimitKey::Source { plan: &plan, source: SourcePrefix::of([10, 0, 0, n].into()) };
        let route = LimitKey::Route { route: &orders };
        assert!(passes(limiter.check(&source(1), &wide, now)), "takes the only slot");
        assert!(passes(limiter.check(&route, &none, now)), "uses the route up");
        for n in 2..100 {
            let asks = [Ask { key: source(n), quota: &wide }, Ask { key: route, quota: &none }];
            assert!(!passes(limiter.check_all(&asks, now)));
        }
        let passed = (2..100).filter(|n| passes(limiter.check(&source(*n), &wide, now))).count();
        assert_eq!(passed, 5);
    }

    /// Runs `work` on eight threads at once and adds up what they return.
    fn on_eight_cores(work: impl Fn(usize) -> usize + Sync) -> usize {
        let (sum, gate) = (AtomicUsize::new(0), Barrier::new(8));
        std::thread::scope(|scope| {
            for core in 0..8 {
                let (work, sum, gate) = (&work, &sum, &gate);
                scope.spawn(move || {
                    gate.wait();
                    sum.fetch_add(work(core), Ordering::Relaxed);
                });
            }
        });
        sum.into_inner()
    }

    #[test]
    fn eight_cores_at_one_instant_admit_exactly_the_burst() {
        let (limiter, now, quota) = (Limiter::new(1_000), start(), quota("50/s", 50));
        let (plan, staff) = (name("standard"), name("staff"));
        let passed = on_eight_cores(|_| {
            let key = LimitKey::Caller { plan: &plan, issuer: &staff, subject: "a" };
            (0..2_000).filter(|_| passes(limiter.check(&key, &quota, now))).count()
        });
        assert_eq!(passed, 50);
    }

    #[test]
    fn eight_cores_with_two_limits_in_opposite_order_stay_exact_and_do_not_lock_up() {
        let (limiter, now) = (Limiter::new(1_000), start());
        let (wide, narrow) = (quota("500/s", 500), quota("60/s", 60));
        let (plan, staff) = (name("standard"), name("staff"));
        let subjects: Vec<String> = (0..16).map(|n| n.to_string()).collect();
        let passed = on_eight_cores(|core| {
            let all = Ask { key: LimitKey::Plan { plan: &plan }, quota: &narrow };
            let mut count = 0;
            for (turn, subject) in subjects.iter().cycle().take(1_000).enumerate() {
                let key = LimitKey::Caller { plan: &plan, issuer: &staff, subject };
                let one = Ask { key, quota: &wide };
                let asks = if (turn + core) % 2 == 0 { [one, all] } else { [all, one] };
                count += usize::from(passes(limiter.check_all(&asks, now)));
            }
            count
        });
        assert_eq!(passed, 60);
        let left: u32 = subjects
            .iter()
            .map(|subject| LimitKey::Caller { plan: &plan, issuer: &staff, subject })
            .map(|key| match limiter.check(&key, &wide, now) {
                Verdict::Pass(standing) => standing.remaining,
                Verdict::Refuse { .. } => 0,
            })
            .sum();
        assert_eq!(left, 16 * 499 - 60, "refused requests took nothing of their callers");
    }

    proptest! {
        /// Against the obvious model: a map of buckets, where a request is tried on a copy.
        #[test]
        fn several_limits_equal_a_map_that_is_copied(
            ops in prop::collection::vec((0u8..6, 0u8..6, 0u64..60), 1..150),
        ) {
            let (limiter, mut now) = (Limiter::new(10_000), start());
            let (fast, slow) = (quota("20/s", 6), quota("5/s", 3));
            let plans: Vec<Name> = (0..6).map(|n| name(&format!("p{n}"))).collect();
            let mut model = std::collections::HashMap::<u8, u64>::new();
            let mut clock = 1u64 << 62;
            for (one, two, gap) in ops {
                now = now.plus(Duration::from_millis(gap));
                clock += gap * 1_000_000;
                let quotas = [if one < 3 { &fast } else { &slow }, if two < 3 { &fast } else { &slow }];
                let key = |n: u8| LimitKey::Plan { plan: &plans[usize::from(n)] };
                let asks = [Ask { key: key(one), quota: quotas[0] }, Ask { key: key(two), quota: quotas[1] }];
                let mut copy = model.clone();
                let fits = [(one, quotas[0]), (two, quotas[1])].into_iter().all(|(n, quota)| {
                    let tat = copy.entry(n).or_default();
                    match quota.step(*tat, clock) {
                        Step::Pass { tat: next, .. } => { *tat = next; true }
                        Step::Wait { .. } => false,
                    }
                });
                if fits {
                    model = copy;
                }
                prop_assert_eq!(passes(limiter.check_all(&asks, now)), fits);
            }
        }
    }
}
