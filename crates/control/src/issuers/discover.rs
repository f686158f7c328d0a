//! Reads the keys of one issuer, once.
//!
//! INVARIANT: a discovery document counts only if its `issuer` is the pinned one, byte for byte; otherwise one tenant's
//! document could name another's keys (C3, RFC 8414 §3.3).
//! INVARIANT: what is found is judged as the edge will judge it, before anybody is given it (C13, C15).
//!
//! Sources: OpenID Connect Discovery 1.0 §4; RFC 8414 §3.1, §3.3; threats C3, C12, C13, E10.

use std::sync::Arc;

use portcullis_snapshot::keys::check_document;
use portcullis_snapshot::plan::{Issuer, KeySource, Loopback, Url};
use portcullis_token::KeySet;
use serde::Deserialize;

use crate::outbound::{Ask, AskError, Outbound, Sent};

/// A discovery document that is longer describes something else.
const LARGEST_DOCUMENT: usize = 64 * 1024;

/// A key set that was judged.
#[derive(Debug)]
pub(super) struct Found {
    pub document: Arc<str>,
    /// How many keys can be used.
    pub keys: usize,
}

/// Why an issuer's keys could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadKeysError {
    #[error("cannot read the discovery document `{url}`")]
    Discovery {
        url: Url,
        #[source]
        cause: AskError,
    },
    #[error("the discovery document `{url}` is not one")]
    Document {
        url: Url,
        #[source]
        cause: serde_json::Error,
    },
    #[error("the discovery document is that of `{found}`, expected the issuer `{wanted}`")]
    OtherIssuer { found: String, wanted: Arc<str> },
    #[error("the discovery document names the key set `{0}`, expected an `https` address")]
    Address(String),
    #[error("cannot read the key set `{url}`")]
    Keys {
        url: Url,
        #[source]
        cause: AskError,
    },
    #[error("the key set is not text")]
    NotText,
    #[error("{0}")]
    Judged(String),
    #[error("the issuer took too long")]
    Late,
    #[error("its keys are in the configuration")]
    Inlined,
}

/// The members that matter (RFC 8414 §2). A second `issuer` or `jwks_uri` is an error of the parser.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Reads and judges the issuer's key set.
pub(super) async fn read_keys(outbound: &dyn Outbound, issuer: &Issuer) -> Result<Found, ReadKeysError> {
    let url = match &issuer.keys {
        KeySource::Oidc(address) => discover(outbound, issuer, address).await?,
        KeySource::JwksUrl(url) => url.clone(),
        KeySource::JwksFile(_) => return Err(ReadKeysError::Inlined),
    };
    let answer = outbound.send(ask(issuer, &url, KeySet::LARGEST)).await;
    let bytes = answer.map_err(|cause| ReadKeysError::Keys { url, cause })?;
    let document = std::str::from_utf8(&bytes).map_err(|_| ReadKeysError::NotText)?;
    let keys = check_document(issuer, document).map_err(ReadKeysError::Judged)?;
    Ok(Found { document: document.into(), keys })
}

async fn discover(outbound: &dyn Outbound, issuer: &Issuer, address: &Url) -> Result<Url, ReadKeysError> {
    let mut url = well_known(address, "openid-configuration", Place::Behind)?;
    let mut answer = outbound.send(ask(issuer, &url, LARGEST_DOCUMENT)).await;
    if let Err(AskError::Status(404)) = answer {
        url = well_known(address, "oauth-authorization-server", Place::Before)?;
        answer = outbound.send(ask(issuer, &url, LARGEST_DOCUMENT)).await;
    }
    let bytes = match answer {
        Ok(bytes) => bytes,
        Err(cause) => return Err(ReadKeysError::Discovery { url, cause }),
    };
    let metadata = serde_json::from_slice(&bytes).map_err(|cause| ReadKeysError::Document { url, cause })?;
    key_address(metadata, issuer)
}

/// Where the keys are, if this is the issuer's own document.
fn key_address(metadata: Metadata, issuer: &Issuer) -> Result<Url, ReadKeysError> {
    if metadata.issuer != *issuer.issuer {
        return Err(ReadKeysError::OtherIssuer {
            found: metadata.issuer,
            wanted: Arc::clone(&issuer.issuer),
        });
    }
    let url = Url::parse(&metadata.jwks_uri).ok().filter(|url| permitted(url, issuer.loopback));
    url.ok_or(ReadKeysError::Address(metadata.jwks_uri))
}

/// SECURITY: the document comes from outside: it may not lead to this machine, nor off TLS (C12). A name that resolves
/// to a forbidden address is caught where the connection is made.
fn permitted(url: &Url, loopback: Loopback) -> bool {
    match (url.is_loopback(), loopback) {
        (true, Loopback::Refused) => false,
        (true, Loopback::Allowed) => true,
        (false, _) => url.is_tls(),
    }
}

/// Where the well-known part stands.
#[derive(Clone, Copy)]
enum Place {
    /// Behind the issuer's path (OpenID Connect Discovery §4.1).
    Behind,
    /// Between host and path (RFC 8414 §3.1).
    Before,
}

fn well_known(address: &Url, name: &str, place: Place) -> Result<Url, ReadKeysError> {
    let text = address.as_str().trim_end_matches('/');
    let host_ends =
        text.find("://").and_then(|scheme| text.get(scheme + 3..)?.find('/').map(|at| scheme + 3 + at));
    let (base, path) = text.split_at_checked(host_ends.unwrap_or(text.len())).unwrap_or((text, ""));
    let text = match place {
        Place::Behind => format!("{base}{path}/.well-known/{name}"),
        Place::Before => format!("{base}/.well-known/{name}{path}"),
    };
    Url::parse(&text).map_err(|_| ReadKeysError::Address(text))
}

fn ask(issuer: &Issuer, url: &Url, most: usize) -> Ask {
    Ask { url: url.clone(), sent: Sent::Get, roots: issuer.roots.clone(), loopback: issuer.loopback, most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_part_stands_where_each_standard_puts_it() {
        let table = [
            ("https://a.example", "https://a.example/.well-known/x", "https://a.example/.well-known/x"),
            ("https://a.example/", "https://a.example/.well-known/x", "https://a.example/.well-known/x"),
            (
                "https://a.example/r/s",
                "https://a.example/r/s/.well-known/x",
                "https://a.example/.well-known/x/r/s",
            ),
            ("http://[::1]:8/r", "http://[::1]:8/r/.well-known/x", "http://[::1]:8/.well-known/x/r"),
        ];
        for (given, behind, before) in table {
            let url = Url::parse(given).expect("an address");
            assert_eq!(well_known(&url, "x", Place::Behind).expect("fits").as_str(), behind);
            assert_eq!(well_known(&url, "x", Place::Before).expect("fits").as_str(), before);
        }
    }

    #[test]
    fn c12_a_document_cannot_lead_to_this_machine_nor_off_tls() {
        let table = [
            ("https://a.example/jwks", true, true),
            ("http://a.example/jwks", false, false),
            ("http://127.0.0.1/jwks", false, true),
            ("https://localhost/jwks", false, true),
            ("http://169.254.169.254/latest", false, false),
        ];
        for (given, refused, allowed) in table {
            let url = Url::parse(given).expect("an address");
            assert_eq!(permitted(&url, Loopback::Refused), refused, "{given}");
            assert_eq!(permitted(&url, Loopback::Allowed), allowed, "{given}");
        }
    }
}
