//! Entrances for fuzzers: hostile bytes go in, nothing comes out, nothing may panic. Not part of the interface.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use portcullis_core::{Assurance, Millis, Name, UnixMillis};

use crate::claims::Claims;
use crate::json::Members;
use crate::jws::Jws;
use crate::verified::Verified;
use crate::{Algorithm, AssuranceRules, Issuer, IssuerRules, KeptKind, KeyRules, KeySet, Profile, Scrubber};

static ISSUER: LazyLock<Option<Issuer>> = LazyLock::new(|| Issuer::new(rules()?).ok());

fn rules() -> Option<IssuerRules> {
    Some(IssuerRules {
        name: Name::parse("fuzz").ok()?,
        iss: Arc::from("https://issuer.example"),
        audiences: BTreeSet::from([Arc::from("shop")]),
        clients: None,
        algorithms: BTreeSet::from(Algorithm::ALL),
        profile: Profile::Jwt,
        roles: Some(vec![Arc::from("realm_access"), Arc::from("roles")]),
        kept: BTreeMap::from([(Arc::from("tenant"), KeptKind::Text)]),
        leeway: Millis::from_secs(30),
        assurance: AssuranceRules { default: Assurance::Low, acr: BTreeMap::new(), amr: BTreeMap::new() },
        silent_after: Millis::from_secs(3600),
        longest_life: Millis::LONGEST,
    })
}

/// A token as it comes off the wire; claims are read as if the signature were good.
pub fn jws(bytes: &[u8]) {
    let Ok(token) = std::str::from_utf8(bytes) else { return };
    if let Ok(jws) = Jws::parse(token) {
        claims(&jws.payload);
    }
}

/// Claims as if they had been signed.
pub fn claims(bytes: &[u8]) {
    if let (Ok(members), Some(issuer)) = (Members::parse(bytes), ISSUER.as_ref()) {
        let _ = Verified::accept(issuer.rules(), Claims(&members), UnixMillis::from_seconds(1_790_000_000));
    }
}

/// A key set as it comes from an issuer.
pub fn key_set(bytes: &[u8]) {
    let _ = KeySet::parse(bytes, &KeyRules { algorithms: BTreeSet::from(Algorithm::ALL) });
}

/// A body that is cut where its first byte says; both ways of scanning must agree.
pub fn scrub(bytes: &[u8]) -> bool {
    let Some((cut, body)) = bytes.split_first() else { return true };
    let mut scrubber = Scrubber::default();
    let (a, b) = body.split_at_checked(usize::from(*cut)).unwrap_or((body, &[]));
    let parts = [scrubber.scan(a), scrubber.scan(b)];
    parts.contains(&crate::Scan::Found) == (Scrubber::scan_whole(body) == crate::Scan::Found)
}
