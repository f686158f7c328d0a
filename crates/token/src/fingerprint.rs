//! One number for all facts about a principal.
//!
//! INVARIANT: principals that differ in any fact have different fingerprints: every text is written with its length and
//! every list with its count, so no two lists of facts have the same bytes (C7).

use aws_lc_rs::digest;
use portcullis_core::{ClaimValue, Principal};

/// SHA-256 over an unambiguous encoding of every fact. The key of caches that depend on who calls.
#[must_use]
pub fn principal_fingerprint(principal: &Principal) -> [u8; 32] {
    let mut out = Encoder(digest::Context::new(&digest::SHA256));
    out.number(1); // the version of this encoding
    out.number(principal.proof as u64);
    out.number(principal.binding as u64);
    out.number(principal.assurance as u64);
    out.text(principal.issuer.as_str());
    out.text(&principal.subject);
    for fact in [&principal.client, &principal.session, &principal.credential] {
        out.number(u64::from(fact.is_some()));
        out.text(fact.as_deref().unwrap_or_default());
    }
    out.texts(principal.scopes.iter().map(AsRef::as_ref));
    out.texts(principal.roles.iter().map(AsRef::as_ref));
    out.number(principal.claims.len() as u64);
    for (name, value) in &principal.claims {
        out.text(name);
        out.claim(value);
    }
    out.number(u64::from(principal.expires.is_some()));
    out.number(principal.expires.map_or(0, |at| at.0));
    <[u8; 32]>::try_from(out.0.finish().as_ref()).unwrap_or_default()
}

struct Encoder(digest::Context);

impl Encoder {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn texts<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t str>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.text(text));
    }

    fn claim(&mut self, value: &ClaimValue) {
        match value {
            ClaimValue::Flag(flag) => {
                self.number(0);
                self.number(u64::from(*flag));
            }
            ClaimValue::Number(number) => {
                self.number(1);
                self.0.update(&number.to_be_bytes());
            }
            ClaimValue::Text(text) => {
                self.number(2);
                self.text(text);
            }
            ClaimValue::Texts(texts) => {
                self.number(3);
                self.texts(texts.iter().map(AsRef::as_ref));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portcullis_core::{Assurance, Binding, Proof, UnixMillis};

    use super::*;
    use crate::testing::{name, texts};

    /// Pairs of principals that a careless encoding would confuse, and one change of each fact.
    #[test]
    fn c7_every_fact_counts_and_none_runs_into_the_next() {
        let changes: [fn(&mut Principal); 28] = [
            |_| {},
            |p| p.proof = Proof::Token,
            |p| p.issuer = name("b"),
            |p| (p.issuer, p.subject) = (name("xy"), "z".into()),
            |p| (p.issuer, p.subject) = (name("x"), "yz".into()),
            |p| p.scopes = texts(&["x", "yz"]),
            |p| p.scopes = texts(&["xy", "z"]),
            |p| p.subject = "ab".into(),
            |p| p.client = Some("".into()),
            |p| p.client = Some("ab".into()),
            |p| p.session = Some("ab".into()),
            |p| p.credential = Some("ab".into()),
            |p| p.scopes = texts(&["ab"]),
            |p| p.scopes = texts(&["a", "b"]),
            |p| p.scopes = texts(&["a b"]),
            |p| p.scopes = texts(&[""]),
            |p| p.roles = texts(&["ab"]),
            |p| p.roles = texts(&["a", "b"]),
            |p| drop(p.claims.insert("a".into(), ClaimValue::Flag(true))),
            |p| drop(p.claims.insert("a".into(), ClaimValue::Number(1))),
            |p| drop(p.claims.insert("a".into(), ClaimValue::Text("1".into()))),
            |p| drop(p.claims.insert("a".into(), ClaimValue::Texts(texts(&["1"])))),
            |p| drop(p.claims.insert("a".into(), ClaimValue::Texts(BTreeSet::new()))),
            |p| drop(p.claims.insert("a1".into(), ClaimValue::Text("".into()))),
            |p| p.binding = Binding::MutualTls,
            |p| p.assurance = Assurance::High,
            |p| p.expires = Some(UnixMillis(0)),
            |p| p.expires = Some(UnixMillis(1)),
        ];
        let prints = changes.map(|change| {
            let mut principal = Principal::anonymous(name("a"));
            change(&mut principal);
            principal_fingerprint(&principal)
        });
        assert_eq!(prints.iter().collect::<BTreeSet<_>>().len(), changes.len());
    }
}
