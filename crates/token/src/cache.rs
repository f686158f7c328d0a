//! Remembers verified tokens, so that a signature is checked once and not on each request.
//!
//! The cache answers only what [`Verifier::verify`] would have answered at the same instant with the same keys:
//! the key is the SHA-256 of the exact bytes, an entry counts only under the issuer's entry and key set that it was
//! verified with, and everything that can change with time or by revocation is asked again on each use.
//!
//! INVARIANT: cached and uncached verification agree at every instant (C7); a property test walks both.
//! INVARIANT: the token is not kept, a failure is not kept, and nothing is served from here at or after its `exp`.
//!
//! Not here: audience, type and route rules, which the caller asks of the [`Verified`] per request.
//!
//! Sources: SS028-11.2.7a, 11.2.7b, 11.2.8; threats C6, C7, C15; Oathkeeper CVE-2021-32701 (a key too small).

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

use aws_lc_rs::digest;
use portcullis_core::UnixMillis;

use crate::bounded::Bounded;
use crate::fault::TokenFault;
use crate::jws;
use crate::revocation::Revocations;
use crate::verified::Verified;
use crate::verifier::Verifier;

/// The verified tokens of one core.
#[derive(Debug)]
pub struct TokenCache {
    entries: Bounded<Key, Entry, BuildHasherDefault<First8>>,
    hits: u64,
    misses: u64,
}

/// SHA-256 of the exact bytes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key([u8; 32]);

/// What a look-up came to. Neither answer says that the token still stands: revocations are asked each time.
#[derive(Debug)]
pub enum Recall {
    /// It was verified before.
    Known(Rc<Verified>),
    /// It was not.
    New,
}

#[derive(Debug)]
struct Entry {
    /// Where the issuer stood in its verifier, to find it without a look-up.
    index: usize,
    /// The issuer's entry and keys; other ones at that place make this entry worthless.
    anchor: [u8; 32],
    verified: Rc<Verified>,
}

impl TokenCache {
    /// A cache of at most `most` tokens.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { entries: Bounded::new(most), hits: 0, misses: 0 }
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many verifications were answered from memory, and how many were not, failures included.
    #[must_use]
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    /// Verifies a token, from memory if it was verified before, and asks whether it was revoked since.
    ///
    /// # Errors
    /// The same faults as [`Verifier::verify`], and [`TokenFault::Revoked`].
    pub fn verify(
        &mut self,
        verifier: &Verifier,
        revocations: &Revocations,
        token: &str,
        now: UnixMillis,
    ) -> Result<Rc<Verified>, TokenFault> {
        let verified = match self.recall(verifier, token, now)? {
            Recall::Known(verified) => verified,
            Recall::New => self.learn(verifier, token, now)?,
        };
        revocations.ensure_stands(&verified, now)?;
        Ok(verified)
    }

    /// Looks a token up; costs no signature check. Whoever learns a new one may first ask whether it may cost one.
    ///
    /// # Errors
    /// It is too long, known and expired, or its issuer is silent.
    pub fn recall(
        &mut self,
        verifier: &Verifier,
        token: &str,
        now: UnixMillis,
    ) -> Result<Recall, TokenFault> {
        if token.len() > jws::LONGEST {
            return Err(TokenFault::TooLong { bytes: token.len() });
        }
        let key = Key::of(token);
        Ok(match self.remembered(&key, verifier, now)? {
            None => Recall::New,
            Some(verified) => {
                self.hits = self.hits.wrapping_add(1);
                Recall::Known(verified)
            }
        })
    }

    /// Verifies a token that [`TokenCache::recall`] did not know, and remembers it.
    ///
    /// # Errors
    /// The same faults as [`Verifier::verify`].
    pub fn learn(
        &mut self,
        verifier: &Verifier,
        token: &str,
        now: UnixMillis,
    ) -> Result<Rc<Verified>, TokenFault> {
        // SECURITY: the key is made of these bytes again, so that no token can be remembered under another one's key.
        self.verify_anew(Key::of(token), verifier, token, now)
    }

    /// Drops what expired, on a timer (11.2.8).
    pub fn purge(&mut self, now: UnixMillis) {
        self.entries.retain(|entry| now < entry.verified.expires());
    }

    fn remembered(
        &mut self,
        key: &Key,
        verifier: &Verifier,
        now: UnixMillis,
    ) -> Result<Option<Rc<Verified>>, TokenFault> {
        let Some(entry) = self.entries.find(key) else { return Ok(None) };
        let anchor = verifier.anchor(entry.index).filter(|anchor| anchor.digest == entry.anchor);
        let Some(anchor) = anchor else {
            self.entries.remove(key);
            return Ok(None);
        };
        anchor.ensure_heard(now)?;
        if now >= entry.verified.deadline() {
            return Err(TokenFault::Expired);
        }
        // Within the leeway after `exp` only a full check answers, so nothing is served from memory past its `exp`.
        Ok((now < entry.verified.expires()).then(|| Rc::clone(&entry.verified)))
    }

    fn verify_anew(
        &mut self,
        key: Key,
        verifier: &Verifier,
        token: &str,
        now: UnixMillis,
    ) -> Result<Rc<Verified>, TokenFault> {
        self.misses = self.misses.wrapping_add(1);
        let (verified, index) = verifier.verify_at(token, now)?;
        let verified = Rc::new(verified);
        if let Some(anchor) = verifier.anchor(index).filter(|_| now < verified.expires()) {
            let entry = Entry { index, anchor: anchor.digest, verified: Rc::clone(&verified) };
            self.entries.insert(key, entry);
        }
        Ok(verified)
    }
}

impl Key {
    fn of(token: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        Self(<[u8; 32]>::try_from(digest.as_ref()).unwrap_or_default())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// Hashes a digest by taking its first eight bytes: only verified tokens are inserted, and an issuer's signatures
/// cannot be steered to collide in SHA-256.
#[derive(Debug, Default)]
struct First8(u64);

impl Hasher for First8 {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= bytes.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::{Generation, Millis};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::*;
    use crate::{Issuer, Revocation, Revoked};

    fn after(seconds: u64) -> UnixMillis {
        now().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn ss028_11_2_7_an_expired_token_is_named_expired_from_the_cache_too() {
        let verifier = verifier(rules(), &[&ES256]);
        let (mut cache, none) = (TokenCache::new(8), Revocations::new(8));
        let token = ES256.token(&claims());
        assert!(cache.verify(&verifier, &none, &token, now()).is_ok());
        assert!(cache.verify(&verifier, &none, &token, after(299)).is_ok());
        assert_eq!(cache.hits_and_misses(), (1, 1));
        // Within the leeway it passes, but never from memory.
        assert!(cache.verify(&verifier, &none, &token, after(300)).is_ok());
        assert_eq!(cache.hits_and_misses(), (1, 2));
        assert_eq!(cache.verify(&verifier, &none, &token, after(330)).err(), Some(TokenFault::Expired));
        assert_eq!(cache.hits_and_misses(), (1, 2));
    }

    #[test]
    fn ss028_11_2_8_a_purge_leaves_nothing_that_expired() {
        let verifier = verifier(rules(), &[&ES256]);
        let (mut cache, none) = (TokenCache::new(8), Revocations::new(8));
        for (jti, life) in [("a", 10), ("b", 20)] {
            let token = ES256.token(&claims_with(&json!({"jti": jti, "exp": NOW + life})));
            assert!(cache.verify(&verifier, &none, &token, now()).is_ok());
        }
        let lengths = [9, 10, 20].map(|seconds| {
            cache.purge(after(seconds));
            cache.len()
        });
        assert_eq!(lengths, [2, 1, 0]);
    }

    #[test]
    fn c6_failures_and_texts_are_not_kept() {
        let verifier = verifier(rules(), &[&ES256]);
        let (mut cache, none) = (TokenCache::new(8), Revocations::new(8));
        let bad = OTHER.sign(&ES256.header("at+jwt"), &claims().to_string());
        assert!(cache.verify(&verifier, &none, &bad, now()).is_err());
        assert!(cache.is_empty());
        let good = ES256.token(&claims());
        assert!(cache.verify(&verifier, &none, &good, now()).is_ok());
        let shown = format!("{cache:?}");
        assert!(good.split('.').all(|part| !shown.contains(part)));
    }

    #[test]
    fn a_full_cache_stays_full_and_right() {
        let verifier = verifier(rules(), &[&ED]);
        let (mut cache, none) = (TokenCache::new(4), Revocations::new(8));
        for round in 0..20 {
            let token = ED.token(&claims_with(&json!({"sub": format!("u-{round}")})));
            let verified = cache.verify(&verifier, &none, &token, now()).expect("verifies");
            assert_eq!(&*verified.bound_to(None).expect("a bearer").subject, format!("u-{round}"));
            assert!(cache.len() <= 4);
        }
    }

    /// What happens between two uses of a token.
    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Rotate(bool, bool),
        ChangeAudience(bool),
        Refetch,
        Revoke(Revoked, &'static str, bool, u64),
        Purge,
        Use(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let facts = prop::sample::select(vec![
            (Revoked::Credential, "t-0"),
            (Revoked::Credential, "t-1"),
            (Revoked::Session, "s-1"),
            (Revoked::Subject, "u-0"),
            (Revoked::Client, "web"),
        ]);
        let step = prop_oneof![
            2 => (1u64..40).prop_map(Step::Wait),
            1 => any::<(bool, bool)>().prop_map(|(a, b)| Step::Rotate(a, b)),
            1 => any::<bool>().prop_map(Step::ChangeAudience),
            1 => Just(Step::Refetch),
            1 => (facts, any::<bool>(), 1u64..60).prop_map(|((k, v), dated, life)| Step::Revoke(k, v, dated, life)),
            1 => Just(Step::Purge),
            8 => (0usize..6).prop_map(Step::Use),
        ];
        prop::collection::vec(step, 1..60)
    }

    /// The keys, rules and age that hold at one moment.
    struct World {
        keys: Vec<&'static Signer>,
        audience: &'static str,
        fetched: UnixMillis,
        generation: Generation,
    }

    impl World {
        fn verifier(&self) -> Verifier {
            let mut rules = rules();
            (rules.audiences, rules.silent_after) = (texts(&[self.audience]), Millis::from_secs(120));
            let issuer = Issuer::new(rules).expect("an issuer");
            let of = vec![(issuer, key_set(&self.keys), self.fetched)];
            Verifier::new(self.generation, of).expect("a verifier")
        }

        fn step(&mut self, step: &Step, now: UnixMillis) {
            self.generation = self.generation.next();
            match step {
                Step::Rotate(a, b) => {
                    self.keys =
                        [(*a, &*ED), (*b || !*a, &*ES256)].into_iter().filter(|k| k.0).map(|k| k.1).collect();
                }
                Step::ChangeAudience(shop) => self.audience = if *shop { "shop" } else { "site" },
                Step::Refetch => self.fetched = now,
                _ => {}
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// C7: whatever happens in between, memory answers as a fresh verification does.
        #[test]
        fn c7_cached_equals_uncached(steps in steps()) {
            let tokens: Vec<String> = (0..6).map(|n| {
                let changes = json!({"sub": format!("u-{}", n % 2), "jti": format!("t-{n}"), "exp": NOW + 20 * (n + 1)});
                if n % 3 == 0 { ES256.token(&claims_with(&changes)) } else { ED.token(&claims_with(&changes)) }
            }).collect();
            let mut world = World { keys: vec![&ES256, &ED], audience: "shop", fetched: now(), generation: Generation(1) };
            let (mut verifier, mut at) = (world.verifier(), now());
            let (mut cache, revocations) = (TokenCache::new(3), Revocations::new(64));
            for step in steps {
                match step {
                    Step::Wait(seconds) => at = at.plus(Duration::from_secs(seconds)),
                    Step::Purge => { cache.purge(at); revocations.purge(at); }
                    Step::Revoke(kind, value, dated, life) => {
                        let ends = at.plus(Duration::from_secs(life));
                        let order = Revocation { issuer: name("staff"), kind, value: value.into(),
                            issued_until: dated.then_some(now()), ends };
                        prop_assert!(revocations.revoke(&order, at).is_ok());
                    }
                    Step::Use(n) => {
                        let fresh = verifier.verify(&tokens[n], at)
                            .and_then(|v| revocations.ensure_stands(&v, at).map(|()| *v.fingerprint()));
                        let cached = cache.verify(&verifier, &revocations, &tokens[n], at).map(|v| *v.fingerprint());
                        prop_assert_eq!(cached, fresh);
                        prop_assert!(cache.len() <= 3);
                    }
                    other => { world.step(&other, at); verifier = world.verifier(); }
                }
            }
        }
    }
}
