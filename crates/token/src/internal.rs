//! Internal tokens that were minted a moment ago and can be sent again.
//!
//! INVARIANT: a token is reused only for a principal that is equal in every fact, for the same audience and under the
//! key that signs now, and for at most half of its life (C7).
//!
//! Sources: SS028-11.2.5a, 11.2.8; MS-SS-10.3.

use std::collections::hash_map::RandomState;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_core::{Name, Principal, Sensitive, UnixMillis};

use crate::bounded::Bounded;
use crate::mint::{MintFault, Minter};

/// The internal tokens of one core.
#[derive(Debug)]
pub struct InternalTokens {
    entries: Bounded<Key, Entry, RandomState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    principal: [u8; 32],
    audience: Name,
    key_id: Arc<str>,
}

#[derive(Debug)]
struct Entry {
    token: Rc<Sensitive<String>>,
    reused_until: UnixMillis,
}

impl InternalTokens {
    /// A store of at most `most` tokens.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { entries: Bounded::new(most) }
    }

    /// A token for `audience` about `principal`, whose [`crate::principal_fingerprint`] is `fingerprint`.
    ///
    /// # Errors
    /// A new one was needed and could not be minted.
    pub fn token(
        &mut self,
        minter: &Minter,
        (principal, fingerprint): (&Principal, &[u8; 32]),
        audience: &Name,
        now: UnixMillis,
    ) -> Result<Rc<Sensitive<String>>, MintFault> {
        let key_id = Arc::clone(minter.key_id());
        let key = Key { principal: *fingerprint, audience: audience.clone(), key_id };
        if let Some(entry) = self.entries.find(&key).filter(|entry| now < entry.reused_until) {
            return Ok(Rc::clone(&entry.token));
        }
        let token = Rc::new(minter.mint(principal, audience, now)?);
        let reused_until = now.plus(minter.ends(principal, now).since(now) / 2);
        self.entries.insert(key, Entry { token: Rc::clone(&token), reused_until });
        Ok(token)
    }

    /// How many tokens are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops what will not be used again, on a timer (11.2.8). The text is wiped with its last holder.
    pub fn purge(&mut self, now: UnixMillis) {
        self.entries.retain(|entry| now < entry.reused_until);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::Millis;

    use super::*;
    use crate::testing::{name, now, texts};
    use crate::{MinterRules, principal_fingerprint};

    fn minter() -> Minter {
        Minter::new(MinterRules { issuer: "edge".into(), life: Millis::from_secs(30) }).expect("a minter")
    }

    fn token(store: &mut InternalTokens, minter: &Minter, principal: &Principal, at: u64) -> String {
        let now = now().plus(Duration::from_secs(at));
        let who = (principal, &principal_fingerprint(principal));
        store.token(minter, who, &name("orders"), now).expect("mints").expose().clone()
    }

    #[test]
    fn c7_a_token_is_reused_for_half_its_life_by_the_same_caller_alone() {
        let (mut store, minter) = (InternalTokens::new(8), minter());
        let mut principal = Principal::anonymous(name("nobody"));
        let first = token(&mut store, &minter, &principal, 0);
        assert_eq!(token(&mut store, &minter, &principal, 14), first);
        assert_ne!(token(&mut store, &minter, &principal, 15), first);
        principal.scopes = texts(&["orders:read"]);
        let other = token(&mut store, &minter, &principal, 15);
        assert_ne!(token(&mut store, &minter.rotated().expect("rotates"), &principal, 15), other);
        store.purge(now().plus(Duration::from_secs(60)));
        assert!(store.is_empty());
    }

    #[test]
    fn the_store_is_bounded() {
        let (mut store, minter) = (InternalTokens::new(4), minter());
        for round in 0..20 {
            let mut principal = Principal::anonymous(name("nobody"));
            principal.subject = format!("u-{round}").into();
            let _ = token(&mut store, &minter, &principal, 0);
            assert!(store.len() <= 4);
        }
    }
}
