//! What was revoked before its time.
//!
//! A credential is named by facts that its issuer signed (`jti`, session, subject, client), never by its bytes: an
//! attacker can change the bytes of some credentials without breaking them (C6). Every fact counts only together
//! with the issuer that states it.
//!
//! INVARIANT: an entry is never given up before its own end; a full list refuses new entries and says so (C5).
//! INVARIANT: a token that does not say when it was issued counts as issued before the revocation.
//!
//! Sources: RFC 7009, OpenID Connect Back-Channel Logout, threats C5, C6; DESIGN §4 (revocation lease).

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::digest;
use portcullis_core::{Name, Principal, UnixMillis};

use crate::fault::TokenFault;
use crate::verified::Verified;

/// What kind of fact a revocation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revoked {
    /// One credential: `jti`, certificate serial, key id.
    Credential,
    /// A login session.
    Session,
    /// Everything of a subject.
    Subject,
    /// Everything that a client got.
    Client,
}

/// An order to refuse what carries a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The issuer that states the fact.
    pub issuer: Name,
    /// The kind of fact.
    pub kind: Revoked,
    /// The fact.
    pub value: String,
    /// Refuse only what was issued up to this instant, or everything.
    pub issued_until: Option<UnixMillis>,
    /// When the last credential that this could meet will have expired.
    pub ends: UnixMillis,
}

/// The list is full: the oldest way in which a denylist fails open is to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of revocations is full ({most} entries); raise its size or shorten the life of tokens")]
pub struct RevocationsFull {
    /// How many fit.
    pub most: usize,
}

type Mark = [u8; 16];
type Shard = RwLock<HashMap<Mark, Span>>;
const SHARDS: usize = 16;

/// All revocations in force, shared by every core.
pub struct Revocations {
    shards: [Shard; SHARDS],
    count: AtomicUsize,
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    issued_until: Option<UnixMillis>,
    ends: UnixMillis,
}

/// The facts of one principal in the form that the list is keyed by.
#[derive(Clone, Debug)]
pub(crate) struct Marks([Option<(Revoked, Mark)>; 4]);

impl Marks {
    pub(crate) fn of(principal: &Principal) -> Self {
        let mark = |kind, value: Option<&str>| value.map(|v| (kind, mark(kind, &principal.issuer, v)));
        Self([
            mark(Revoked::Credential, principal.credential.as_deref()),
            mark(Revoked::Session, principal.session.as_deref()),
            mark(Revoked::Subject, Some(&principal.subject)),
            mark(Revoked::Client, principal.client.as_deref()),
        ])
    }
}

/// A name has no NUL, so that issuer and value cannot run into each other.
fn mark(kind: Revoked, issuer: &Name, value: &str) -> Mark {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[kind as u8]);
    context.update(issuer.as_str().as_bytes());
    context.update(&[0]);
    context.update(value.as_bytes());
    let digest = context.finish();
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

impl Revocations {
    /// An empty list for at most `most` entries.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { shards: Default::default(), count: AtomicUsize::new(0), most }
    }

    /// How many entries are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an entry, or widens the one that is there.
    ///
    /// # Errors
    /// The list is full even after what ended was dropped; the caller must tell somebody.
    pub fn revoke(&self, order: &Revocation, now: UnixMillis) -> Result<(), RevocationsFull> {
        if self.len() >= self.most {
            self.purge(now);
        }
        let key = mark(order.kind, &order.issuer, &order.value);
        let new = Span { issued_until: order.issued_until, ends: order.ends };
        let mut shard = self.shard(&key).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = shard.get_mut(&key) {
            *old = old.wider(new, now);
            return Ok(());
        }
        // Counted before it is visible, so that a reader that sees zero has missed nothing that was promised.
        if self.count.fetch_add(1, Ordering::AcqRel) >= self.most {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return Err(RevocationsFull { most: self.most });
        }
        shard.insert(key, new);
        Ok(())
    }

    /// Drops entries that ended (11.2.8).
    pub fn purge(&self, now: UnixMillis) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, span| span.ends > now);
            self.count.fetch_sub(before - shard.len(), Ordering::AcqRel);
        }
    }

    /// Refuses a verified token of which any fact is revoked. Asked on every use.
    ///
    /// # Errors
    /// [`TokenFault::Revoked`] with the kind of fact.
    pub fn ensure_stands(&self, verified: &Verified, now: UnixMillis) -> Result<(), TokenFault> {
        match self.meets(verified.marks(), verified.issued(), now) {
            None => Ok(()),
            Some(kind) => Err(TokenFault::Revoked(kind)),
        }
    }

    /// By which fact a principal is revoked: for certificates, API keys and open streams.
    #[must_use]
    pub fn revokes(&self, principal: &Principal, now: UnixMillis) -> Option<Revoked> {
        if self.is_empty() { None } else { self.meets(&Marks::of(principal), None, now) }
    }

    fn meets(&self, marks: &Marks, issued: Option<UnixMillis>, now: UnixMillis) -> Option<Revoked> {
        if self.is_empty() {
            return None;
        }
        let hit = |mark: &Mark| {
            let shard = self.shard(mark).read().unwrap_or_else(PoisonError::into_inner);
            shard.get(mark).is_some_and(|span| span.covers(issued, now))
        };
        marks.0.iter().flatten().find_map(|(kind, mark)| hit(mark).then_some(*kind))
    }

    fn shard(&self, mark: &Mark) -> &Shard {
        let [first, ..] = &self.shards;
        let index = mark.first().map_or(0, |byte| usize::from(*byte) % SHARDS);
        self.shards.get(index).unwrap_or(first)
    }
}

impl Span {
    fn covers(self, issued: Option<UnixMillis>, now: UnixMillis) -> bool {
        let early = match (self.issued_until, issued) {
            (Some(until), Some(issued)) => issued <= until,
            (None, _) | (_, None) => true,
        };
        early && now < self.ends
    }

    fn wider(self, new: Self, now: UnixMillis) -> Self {
        if self.ends <= now {
            return new;
        }
        let issued_until = self.issued_until.zip(new.issued_until).map(|(a, b)| a.max(b));
        Self { issued_until, ends: self.ends.max(new.ends) }
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credential => "its id",
            Self::Session => "its session",
            Self::Subject => "its subject",
            Self::Client => "its client",
        })
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations")
            .field("count", &self.len())
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::testing::*;

    fn order(kind: Revoked, value: &str) -> Revocation {
        let ends = now().plus(Duration::from_secs(600));
        Revocation { issuer: name("staff"), kind, value: value.into(), issued_until: None, ends }
    }

    fn verified() -> Verified {
        verifier(rules(), &[&ED]).verify(&ED.token(&claims()), now()).expect("verifies")
    }

    #[test]
    fn c5_every_fact_of_a_token_revokes_it_and_no_other_does() {
        let verified = verified();
        let facts = [
            (Revoked::Credential, "t-1"),
            (Revoked::Session, "s-1"),
            (Revoked::Subject, "u-17"),
            (Revoked::Client, "web"),
        ];
        for ((kind, value), other) in facts.iter().zip(facts.iter().cycle().skip(1)) {
            let list = Revocations::new(8);
            list.revoke(&order(*kind, other.1), now()).expect("has room");
            list.revoke(&Revocation { issuer: name("public"), ..order(*kind, value) }, now())
                .expect("has room");
            assert_eq!(list.ensure_stands(&verified, now()), Ok(()), "{kind:?}");
            list.revoke(&order(*kind, value), now()).expect("has room");
            assert_eq!(list.ensure_stands(&verified, now()), Err(TokenFault::Revoked(*kind)));
            let principal = verified.bound_to(None).expect("a bearer");
            assert_eq!(list.revokes(principal, now()), Some(*kind));
        }
    }

    #[test]
    fn c6_another_spelling_of_a_revoked_token_is_revoked_too() {
        let list = Revocations::new(8);
        list.revoke(&order(Revoked::Credential, "t-1"), now()).expect("has room");
        // ECDSA signatures of the same claims differ each time; the fact is the same.
        let verifier = verifier(rules(), &[&ES256]);
        let (a, b) = (ES256.token(&claims()), ES256.token(&claims()));
        assert_ne!(a, b);
        for token in [a, b] {
            let verified = verifier.verify(&token, now()).expect("verifies");
            assert!(list.ensure_stands(&verified, now()).is_err());
        }
    }

    #[test]
    fn a_dated_revocation_spares_what_was_issued_after_it() {
        let verifier = verifier(rules(), &[&ED]);
        let list = Revocations::new(8);
        let dated = Revocation {
            issued_until: Some(UnixMillis::from_seconds(NOW - 5)),
            ..order(Revoked::Subject, "u-17")
        };
        list.revoke(&dated, now()).expect("has room");
        for (iat, stands) in [(NOW - 6, false), (NOW - 5, false), (NOW - 4, true)] {
            let verified =
                verifier.verify(&ED.token(&claims_with(&json!({"iat": iat}))), now()).expect("verifies");
            assert_eq!(list.ensure_stands(&verified, now()).is_ok(), stands, "{iat}");
        }
        // An open stream's principal does not say when its token was issued: it is cut.
        let principal = verified();
        assert_eq!(list.revokes(principal.bound_to(None).expect("a bearer"), now()), Some(Revoked::Subject));
        list.revoke(&order(Revoked::Subject, "u-17"), now()).expect("has room");
        let late = verifier.verify(&ED.token(&claims_with(&json!({"iat": NOW}))), now()).expect("verifies");
        assert!(list.ensure_stands(&late, now()).is_err(), "the wider order wins");
    }

    #[test]
    fn c5_a_full_list_says_so_and_forgets_nothing_before_its_end() {
        let list = Revocations::new(2);
        assert_eq!(list.revoke(&order(Revoked::Subject, "a"), now()), Ok(()));
        assert_eq!(list.revoke(&order(Revoked::Subject, "u-17"), now()), Ok(()));
        assert_eq!(list.revoke(&order(Revoked::Subject, "c"), now()), Err(RevocationsFull { most: 2 }));
        assert_eq!(list.revoke(&order(Revoked::Subject, "a"), now()), Ok(()), "widening needs no room");
        assert_eq!(list.ensure_stands(&verified(), now()), Err(TokenFault::Revoked(Revoked::Subject)));
        let later = now().plus(Duration::from_secs(601));
        assert_eq!(
            list.revoke(
                &Revocation { ends: later.plus(Duration::from_secs(1)), ..order(Revoked::Subject, "c") },
                later
            ),
            Ok(())
        );
        assert_eq!(list.len(), 1);
    }
}
