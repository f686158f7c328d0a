//! Who holds this credential: access tokens, API keys, and the one internal token that a service receives.
//!
//! Floor 1, a pure engine: no socket, file, thread or clock. Bytes and times come in as arguments. The JOSE here is
//! our own and small, on aws-lc-rs: the general libraries accept more than RFC 8725 and RFC 9068 let us accept.
//!
//! INVARIANT: the algorithm is a property of the key; a token's header can only agree with it (C1).
//! INVARIANT: a claim of the wrong type is a refusal, never an absent claim (C2).
//! INVARIANT: a [`Verified`] exists only for a token whose signature and claims were checked, and it hands out its
//! principal only to a connection that the token may be used on.
//!
//! Not here: fetching key sets (`portcullis-dataplane`), what a principal may do (`portcullis-policy`), client
//! certificates (`portcullis-identity`).
//!
//! Sources: RFC 7515, 7517, 7518, 7519, 7638, 8037, 8705, 8725, 9068; SS028-11.2.x; MS-SS-1.1, 1.3, 1.4, 1.5, 10.3.

mod algorithm;
mod api_key;
mod b64;
mod bounded;
mod cache;
mod claims;
mod fault;
mod fingerprint;
#[doc(hidden)]
pub mod fuzzing;
mod internal;
mod issuer;
mod json;
mod jwk;
mod jws;
mod key_hash;
mod key_set;
mod mint;
mod profile;
mod revocation;
mod roca;
mod scrub;
mod verified;
mod verifier;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;

pub use algorithm::Algorithm;
pub use api_key::{ApiKey, ApiKeyFault, ApiKeys, ApiKeysFault, KeyUse};
pub use cache::{Recall, TokenCache};
pub use fault::{Challenge, ClaimProblem, TokenFault};
pub use fingerprint::principal_fingerprint;
pub use internal::InternalTokens;
pub use issuer::{AssuranceRules, Issuer, IssuerFault, IssuerRules, KeptKind, Profile};
pub use json::JsonFault;
pub use key_hash::{KeyHash, ServerKey};
pub use key_set::{KeyRules, KeySet, KeySetFault, Skipped};
pub use mint::{INTERNAL_PREFIX, INTERNAL_TYPE, MintFault, Minter, MinterRules};
pub use revocation::{Revocation, Revocations, RevocationsFull, Revoked};
pub use scrub::{Scan, Scrubber};
pub use verified::Verified;
pub use verifier::{Verifier, VerifierFault};
