//! How a service knows who calls: it verifies the gateway's internal token itself.
//!
//! The keys are read from the gateway over verified TLS when they are first needed, and again when a token names a key
//! that is not known, at most once a second.
//!
//! INVARIANT: type, algorithm, key, signature, issuer, audience and time are all checked before a claim is believed
//! (RFC 8725 §3).
//! INVARIANT: without keys nobody is believed (C15).
//!
//! Sources: RFC 7515 §5.2, RFC 7517, RFC 8037 §3.1, RFC 8725 §3.1, §3.8, §3.9, §3.11; threats C1-C3, C15.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::Full;
use portcullis_core::{Clock, Now};
use portcullis_token::INTERNAL_TYPE;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::demo::https::Client;

/// Where the gateway publishes the public keys of its internal tokens.
const KEYS: &str = "/.well-known/portcullis/jwks.json";
/// How soon the keys are read again for an unknown one.
const AGAIN: Duration = Duration::from_secs(1);
/// How far two clocks inside may be apart (DESIGN §4, Clocks).
const LEEWAY_SECONDS: u64 = 2;

/// Who called, as a service shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Caller {
    sub: String,
    orig_iss: String,
    proof: String,
    binding: String,
    #[serde(default)]
    scope: String,
}

/// Why a caller is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotBelieved {
    #[error("no internal token came")]
    NoToken,
    #[error("the gateway's keys cannot be had")]
    NoKeys,
    #[error("the token is not an internal token")]
    Form,
    #[error("the token names a key that the gateway does not publish")]
    Key,
    #[error("the signature does not verify")]
    Signature,
    #[error("the token is of another issuer or for another service")]
    NotForUs,
    #[error("the token is not valid at this time")]
    Time,
}

/// Verifies the internal tokens for one service.
pub(super) struct InternalTokens {
    gateway: Client,
    rules: Rules,
    clock: Arc<dyn Clock>,
    keys: RefCell<Keys>,
}

/// What a token must say.
#[derive(Clone, Debug)]
struct Rules {
    issuer: String,
    audience: String,
}

#[derive(Debug, Default)]
struct Keys {
    by_id: BTreeMap<String, Vec<u8>>,
    asked: Option<Instant>,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: u64,
    iat: u64,
    #[serde(flatten)]
    caller: Caller,
}

/// A token taken apart, before anything in it is believed.
struct Parts<'t> {
    header: Header,
    claims: Claims,
    signed: &'t str,
    signature: Vec<u8>,
}

impl InternalTokens {
    /// For the service `audience` of the trust domain `issuer`.
    pub(super) fn new(gateway: Client, issuer: &str, audience: &str, clock: Arc<dyn Clock>) -> Self {
        let rules = Rules { issuer: issuer.to_owned(), audience: audience.to_owned() };
        Self { gateway, rules, clock, keys: RefCell::default() }
    }

    /// Who calls.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, NotBelieved> {
        let token = bearer(headers)?;
        let parts = Parts::read(token)?;
        if !self.keys.borrow().by_id.contains_key(&parts.header.kid) {
            self.read_keys().await;
        }
        let keys = self.keys.borrow();
        if keys.by_id.is_empty() {
            return Err(NotBelieved::NoKeys);
        }
        let key = keys.by_id.get(&parts.header.kid).ok_or(NotBelieved::Key)?;
        parts.verified(key, &self.rules, self.clock.now())
    }

    /// Reads the keys, unless that was just done. Those that are known stay if it fails.
    async fn read_keys(&self) {
        let now = self.clock.now().mono;
        let fresh = self.keys.borrow().asked.is_some_and(|asked| now.duration_since(asked) < AGAIN);
        if fresh {
            return;
        }
        let Ok(request) = Request::get(KEYS).body(Full::<Bytes>::default()) else { return };
        let answer = self.gateway.send(request).await.ok().filter(|answer| answer.status() == 200);
        let read = answer.and_then(|answer| parse_keys(answer.body()));
        let mut keys = self.keys.borrow_mut();
        keys.by_id = read.unwrap_or_else(|| std::mem::take(&mut keys.by_id));
        // A gateway that has no keys yet is asked again at once.
        keys.asked = (!keys.by_id.is_empty()).then_some(now);
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, NotBelieved> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return Err(NotBelieved::NoToken) };
    field.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).ok_or(NotBelieved::NoToken)
}

impl<'t> Parts<'t> {
    fn read(token: &'t str) -> Result<Self, NotBelieved> {
        let (signed, signature) = token.rsplit_once('.').ok_or(NotBelieved::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(NotBelieved::Form)?;
        let header: Header = decoded(header)?;
        if header.typ != INTERNAL_TYPE || header.alg != "EdDSA" {
            return Err(NotBelieved::Form);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NotBelieved::Form)?;
        Ok(Self { header, claims: decoded(claims)?, signed, signature })
    }

    fn verified(self, key: &[u8], rules: &Rules, now: Now) -> Result<Caller, NotBelieved> {
        let key = UnparsedPublicKey::new(&ED25519, key);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| NotBelieved::Signature)?;
        let Claims { iss, aud, exp, iat, caller } = self.claims;
        if iss != rules.issuer || aud != rules.audience {
            return Err(NotBelieved::NotForUs);
        }
        let now = now.wall.seconds();
        let begun = iat <= now.saturating_add(LEEWAY_SECONDS);
        if begun && now < exp.saturating_add(LEEWAY_SECONDS) { Ok(caller) } else { Err(NotBelieved::Time) }
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, NotBelieved> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| NotBelieved::Form)?;
    serde_json::from_slice(&bytes).map_err(|_| NotBelieved::Form)
}

fn parse_keys(document: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Key>,
    }
    #[derive(Deserialize)]
    struct Key {
        kty: String,
        crv: String,
        kid: String,
        x: String,
    }
    let set: Set = serde_json::from_slice(document).ok()?;
    let edwards = |key: &Key| key.kty == "OKP" && key.crv == "Ed25519";
    let read = |key: Key| Some((key.kid, URL_SAFE_NO_PAD.decode(key.x).ok()?));
    Some(set.keys.into_iter().filter(edwards).filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use portcullis_core::{Millis, Name, Principal, SystemClock};
    use portcullis_token::{Minter, MinterRules};

    use super::*;

    fn rules(audience: &str) -> Rules {
        Rules { issuer: "demo".into(), audience: audience.into() }
    }

    fn minter(issuer: &str) -> Minter {
        Minter::new(MinterRules { issuer: issuer.into(), life: Millis::from_secs(30) }).expect("a minter")
    }

    fn token(minter: &Minter) -> String {
        let now = SystemClock::default().now().wall;
        let principal = Principal::anonymous(Name::parse("nobody").expect("a name"));
        minter.mint(&principal, &Name::parse("orders").expect("a name"), now).expect("mints").expose().clone()
    }

    fn verified(token: &str, keys: &Minter, rules: &Rules, late: u64) -> Result<Caller, NotBelieved> {
        let keys = parse_keys(keys.jwks().as_bytes()).expect("a key set");
        let parts = Parts::read(token)?;
        let key = keys.get(&parts.header.kid).ok_or(NotBelieved::Key)?;
        parts.verified(key, rules, SystemClock::default().now().plus(Duration::from_secs(late)))
    }

    #[test]
    fn a_token_of_the_gateway_tells_who_calls() {
        let minter = minter("demo");
        let caller = verified(&token(&minter), &minter, &rules("orders"), 0).expect("is believed");
        assert_eq!((caller.proof.as_str(), caller.orig_iss.as_str()), ("anonymous", "nobody"));
    }

    #[test]
    fn c1_c2_c3_a_token_that_is_not_for_this_service_now_is_not_believed() {
        let (ours, theirs) = (minter("demo"), minter("demo"));
        let good = token(&ours);
        let (signed, signature) = good.rsplit_once('.').expect("three parts");
        let (header, claims) = signed.split_once('.').expect("three parts");
        let none = URL_SAFE_NO_PAD.encode(r#"{"typ":"portcullis+jwt","alg":"none","kid":"x"}"#);
        let table = [
            (verified(&good, &ours, &rules("payments"), 0), NotBelieved::NotForUs),
            (verified(&token(&minter("other")), &ours, &rules("orders"), 0), NotBelieved::Key),
            (verified(&good, &theirs, &rules("orders"), 0), NotBelieved::Key),
            (verified(&good, &ours, &rules("orders"), 60), NotBelieved::Time),
            (verified(&format!("{header}.{claims}."), &ours, &rules("orders"), 0), NotBelieved::Signature),
            (
                verified(&format!("{none}.{claims}.{signature}"), &ours, &rules("orders"), 0),
                NotBelieved::Form,
            ),
            (verified("a.b", &ours, &rules("orders"), 0), NotBelieved::Form),
            (verified("", &ours, &rules("orders"), 0), NotBelieved::Form),
        ];
        for (got, want) in table {
            assert_eq!(got.err(), Some(want));
        }
    }

    #[test]
    fn b8_two_authorization_fields_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), Err(NotBelieved::NoToken));
        headers.append(header::AUTHORIZATION, header::HeaderValue::from_static("Bearer a"));
        assert_eq!(bearer(&headers), Ok("a"));
        headers.append(header::AUTHORIZATION, header::HeaderValue::from_static("Bearer b"));
        assert_eq!(bearer(&headers), Err(NotBelieved::NoToken));
    }
}
