//! Stage 3: who calls?
//!
//! Exactly one kind of credential identifies a caller: an access token, an API key, or the client certificate of the
//! connection. A certificate beside a token binds the token and does not compete with it. No credential at all is an
//! answer too, `anonymous`, and only a public route takes it.
//!
//! INVARIANT: a [`Caller`] is made here and nowhere else; what a caller sends about itself in any other field is not
//! looked at (threats B10, B11).
//! INVARIANT: a source that keeps sending tokens that fail is refused before the next signature check (41 us each is
//! an attack); a token that was verified before is never slowed by that.
//!
//! Not here: how a token is verified (`portcullis-token`), certificates (`connection`).
//!
//! Sources: RFC 6750 §2.1 (only the `Authorization` field), RFC 8705 §3; MS-SS-1.1, 1.4, 1.5; threats C1-C3, C6, C15.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use portcullis_core::{Name, Now, Principal, Proof, Reason, Refusal};
use portcullis_limits::SourcePrefix;
use portcullis_snapshot::plan::ClientCaller;
use portcullis_token::{KeyUse, Recall, TokenFault, principal_fingerprint};

use crate::admit::Admitted;
use crate::connection::Connection;
use crate::core_state::{Core, Snapshot};
use crate::route::Door;

/// Where API keys are presented.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Proof that somebody, or nobody in particular, was identified on this request.
pub(crate) struct Caller {
    principal: Arc<Principal>,
    fingerprint: [u8; 32],
}

impl Caller {
    fn new(principal: Arc<Principal>) -> Self {
        let fingerprint = principal_fingerprint(&principal);
        Self { principal, fingerprint }
    }

    /// The facts.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The facts, to share.
    pub(crate) fn shared_principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Gives the facts up, with a digest that differs whenever any fact differs.
    pub(crate) fn into_parts(self) -> (Arc<Principal>, [u8; 32]) {
        (self.principal, self.fingerprint)
    }
}

/// The credentials that a request carries in its fields.
enum Presented<'h> {
    Nothing,
    Token(&'h str),
    ApiKey(&'h str),
}

/// Finds out who calls.
pub(crate) fn identify(
    core: &Core,
    snapshot: &Snapshot,
    connection: &Connection,
    admitted: &Admitted,
    door: &Door,
    now: Now,
) -> Result<Caller, Refusal> {
    match presented(&admitted.framed.parts.headers)? {
        Presented::Token(token) => by_token(core, snapshot, (connection, admitted.source), token, now),
        Presented::ApiKey(key) => {
            by_api_key(core, snapshot, (connection, admitted.source), (key, door.service()), now)
        }
        Presented::Nothing => Ok(by_connection(core, snapshot, connection, now)),
    }
}

fn presented(headers: &HeaderMap) -> Result<Presented<'_>, Refusal> {
    let ambiguous = |why: &'static str| Refusal::new(Reason::AmbiguousCredentials, why);
    let token =
        single(headers, &header::AUTHORIZATION).map_err(|()| ambiguous("two authorization fields"))?;
    let key = single(headers, &API_KEY).map_err(|()| ambiguous("two API key fields"))?;
    match (token, key) {
        (None, None) => Ok(Presented::Nothing),
        (Some(_), Some(_)) => Err(ambiguous("an authorization field and an API key")),
        (None, Some(key)) => Ok(Presented::ApiKey(text(key)?)),
        (Some(field), None) => bearer(text(field)?).map(Presented::Token),
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

fn text(value: &HeaderValue) -> Result<&str, Refusal> {
    value.to_str().map_err(|_| Refusal::new(Reason::InvalidToken, "the credential is not printable ASCII"))
}

/// The scheme is compared without case (RFC 9110 §11.1), one space follows, then the token and nothing else.
fn bearer(field: &str) -> Result<&str, Refusal> {
    let unknown = || Refusal::new(Reason::MissingCredentials, "the authorization scheme is not `Bearer`");
    let (scheme, token) = field.split_once(' ').ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unknown());
    }
    let plain = !token.is_empty() && !token.contains([' ', '\t', ',']);
    plain
        .then_some(token)
        .ok_or_else(|| Refusal::new(Reason::InvalidToken, "more than a token follows `Bearer`"))
}

fn by_token(
    core: &Core,
    snapshot: &Snapshot,
    (connection, source): (&Connection, IpAddr),
    token: &str,
    now: Now,
) -> Result<Caller, Refusal> {
    let source = SourcePrefix::of(source);
    let verifier = &snapshot.keys.verifier;
    let fail = |fault: TokenFault| failed(core, source, &fault, now);
    let mut tokens = core.tokens.borrow_mut();
    let verified = match tokens.recall(verifier, token, now.wall).map_err(fail)? {
        Recall::Known(verified) => verified,
        Recall::New => {
            may_fail(core, source, now)?;
            tokens.learn(verifier, token, now.wall).map_err(fail)?
        }
    };
    core.shared.revocations.ensure_stands(&verified, now.wall).map_err(fail)?;
    let thumbprint = connection.client(now.wall).map(|c| &c.thumbprint);
    let principal = verified.bound_to(thumbprint).map_err(fail)?;
    Ok(Caller { principal: Arc::clone(principal), fingerprint: *verified.fingerprint() })
}

/// Whether a source may cost another check of a credential that nobody has seen before.
fn may_fail(core: &Core, source: SourcePrefix, now: Now) -> Result<(), Refusal> {
    core.shared.failures.load().admit(source, now).map_err(|wait| {
        Refusal::new(Reason::TooManyFailures, "too many credentials from this source failed").after(wait)
    })
}

fn failed(core: &Core, source: SourcePrefix, fault: &TokenFault, now: Now) -> Refusal {
    if fault.cost_a_signature_check() {
        core.shared.failures.load().failed(source, now);
    }
    fault.refusal()
}

fn by_api_key(
    core: &Core,
    snapshot: &Snapshot,
    (connection, address): (&Connection, IpAddr),
    (presented, service): (&str, Option<&Name>),
    now: Now,
) -> Result<Caller, Refusal> {
    let refuse = |why: &'static str| Refusal::new(Reason::InvalidApiKey, why);
    let source = SourcePrefix::of(address);
    let exhausted =
        |wait| Refusal::new(Reason::TooManyFailures, "too many keys from this source failed").after(wait);
    core.shared.failures.load().admit(source, now).map_err(exhausted)?;
    let keys = snapshot.keys.api_keys.as_ref().ok_or_else(|| refuse("no API keys are configured"))?;
    let service = service.ok_or_else(|| refuse("the key is used on no service"))?;
    let application = connection.client(now.wall).and_then(|c| c.caller(snapshot));
    let application = application.as_ref().map(|caller| &*caller.subject);
    let at = KeyUse { source: address, application, service, now: now.wall };
    let principal = keys.check(presented, &at).map_err(|fault| {
        core.shared.failures.load().failed(source, now);
        fault.refusal()
    })?;
    match core.shared.revocations.revokes(&principal, now.wall) {
        Some(_) => Err(Refusal::new(Reason::RevokedToken, "the API key was revoked")),
        None => Ok(Caller::new(principal)),
    }
}

/// The connection's certificate, if it names a caller; else nobody in particular.
fn by_connection(core: &Core, snapshot: &Snapshot, connection: &Connection, now: Now) -> Caller {
    let known = connection.client(now.wall).and_then(|c| c.caller(snapshot));
    let standing = known.filter(|p| core.shared.revocations.revokes(p, now.wall).is_none());
    match standing {
        Some(principal) => Caller::new(principal),
        None => Caller::new(Arc::clone(&core.shared.nobody)),
    }
}

/// Whether the configuration in force still knows the credential that an open stream began with.
pub(crate) fn still_vouched(snapshot: &Snapshot, principal: &Principal) -> bool {
    let plan = &snapshot.plan;
    match principal.proof {
        Proof::Anonymous => true,
        Proof::Token => plan.issuers.iter().any(|issuer| issuer.name == principal.issuer),
        Proof::ApiKey => snapshot.keys.api_keys.as_ref().is_some_and(|keys| keys.vouches(principal)),
        Proof::Certificate => {
            let mut authorities = plan.gateway.client_certificates.authorities.iter();
            let authority = authorities.find(|authority| authority.name == principal.issuer);
            let same = |entry: &ClientCaller| {
                let name = entry.certificate.as_str() == &*principal.subject;
                name && entry.scopes == principal.scopes && entry.roles == principal.roles
            };
            authority.is_some_and(|authority| authority.callers.iter().any(same))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(fields: &[(&'static str, &str)]) -> Result<String, Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        match presented(&headers) {
            Ok(Presented::Nothing) => Ok("nothing".into()),
            Ok(Presented::Token(token)) => Ok(format!("token {token}")),
            Ok(Presented::ApiKey(key)) => Ok(format!("key {key}")),
            Err(refusal) => Err(refusal.reason()),
        }
    }

    #[test]
    fn b8_b10_exactly_one_kind_of_credential_is_read_and_only_from_its_field() {
        assert_eq!(reading(&[]), Ok("nothing".into()));
        assert_eq!(reading(&[("authorization", "Bearer a.b.c")]), Ok("token a.b.c".into()));
        assert_eq!(reading(&[("authorization", "bEARER a.b.c")]), Ok("token a.b.c".into()));
        assert_eq!(reading(&[("x-api-key", "pk_a_b")]), Ok("key pk_a_b".into()));
        assert_eq!(reading(&[("x-portcullis-subject", "admin")]), Ok("nothing".into()));
        let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(reading(&two), Err(Reason::AmbiguousCredentials));
        let both = [("authorization", "Bearer a"), ("x-api-key", "pk_a_b")];
        assert_eq!(reading(&both), Err(Reason::AmbiguousCredentials));
        assert_eq!(reading(&[("x-api-key", "a"), ("x-api-key", "b")]), Err(Reason::AmbiguousCredentials));
    }

    #[test]
    fn c1_another_scheme_or_more_than_a_token_identifies_nobody() {
        assert_eq!(reading(&[("authorization", "Basic dTpw")]), Err(Reason::MissingCredentials));
        assert_eq!(reading(&[("authorization", "Bearer")]), Err(Reason::MissingCredentials));
        assert_eq!(reading(&[("authorization", "Bearer  a")]), Err(Reason::InvalidToken));
        assert_eq!(reading(&[("authorization", "Bearer a b")]), Err(Reason::InvalidToken));
        assert_eq!(reading(&[("authorization", "Bearer a, Bearer b")]), Err(Reason::InvalidToken));
    }
}
