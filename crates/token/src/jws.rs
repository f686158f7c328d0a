//! The compact serialisation of a signed token, read strictly.
//!
//! INVARIANT: a token has one spelling. Length and dots are counted before anything is decoded (C6, E13).
//! INVARIANT: no header member brings a key, a place to fetch one from, an extension or a parameter of work (C1, C12, E13).
//!
//! Not here: claims (`claims`), which key (`key_set`).
//!
//! Sources: RFC 7515 §4.1, §5.2, §7.1; RFC 7797; RFC 8725 §3.1, §3.10; CVE-2025-30204, CVE-2025-27144.

use crate::algorithm::Algorithm;
use crate::b64;
use crate::fault::TokenFault;
use crate::json::{Json, Members};
use crate::jwk::Key;

/// The longest token that is looked at.
pub(crate) const LONGEST: usize = 8 * 1024;
/// The longest key id that is compared.
const LONGEST_KID: usize = 256;

/// Members that carry keys or places of keys, switch on an extension, or belong to encryption.
const REFUSED: [&str; 16] = [
    "crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c",
    "url",
];

/// What a token's protected header says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
}

/// A token taken apart; nothing of it is believed yet.
#[derive(Debug)]
pub(crate) struct Jws<'t> {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
    signature: Vec<u8>,
    signed: &'t [u8],
}

impl<'t> Jws<'t> {
    /// Takes a token apart.
    pub(crate) fn parse(token: &'t str) -> Result<Self, TokenFault> {
        if token.len() > LONGEST {
            return Err(TokenFault::TooLong { bytes: token.len() });
        }
        match memchr::memchr_iter(b'.', token.as_bytes()).take(5).count() {
            2 => {}
            4 => return Err(TokenFault::Encrypted),
            _ => return Err(TokenFault::Parts),
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Parts)?;
        Ok(Self {
            header: Header::parse(&part(header, "header")?)?,
            payload: part(payload, "payload")?,
            signature: part(signature, "signature")?,
            signed: signed.as_bytes(),
        })
    }

    /// Whether this token was signed with `key`, whose algorithm the header must name.
    pub(crate) fn is_signed_by(&self, key: &Key) -> bool {
        self.header.algorithm == key.algorithm && key.verifies(self.signed, &self.signature)
    }
}

fn part(text: &str, part: &'static str) -> Result<Vec<u8>, TokenFault> {
    b64::decode(text).ok_or(TokenFault::Encoding { part })
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, TokenFault> {
        let members = Members::parse(bytes).map_err(|cause| TokenFault::Json { part: "header", cause })?;
        if let Some(member) = members.first_of(&REFUSED) {
            return Err(TokenFault::HeaderMember { member });
        }
        let algorithm = text(&members, "alg")?.ok_or(TokenFault::HeaderMember { member: "alg" })?;
        let algorithm = Algorithm::parse(&algorithm).ok_or(TokenFault::Algorithm)?;
        let kid = text(&members, "kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > LONGEST_KID) {
            return Err(TokenFault::HeaderMember { member: "kid" });
        }
        // SECURITY: `cty` marks a token inside a token, whose claims nobody here would check (RFC 7519 §5.2).
        if text(&members, "cty")?.is_some() {
            return Err(TokenFault::HeaderMember { member: "cty" });
        }
        Ok(Self { algorithm, kid, typ: text(&members, "typ")? })
    }
}

/// A member that must be a text that is not empty, where it is there at all.
fn text(members: &Members, member: &'static str) -> Result<Option<String>, TokenFault> {
    match members.find(member) {
        None => Ok(None),
        Some(Json::Text(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(TokenFault::HeaderMember { member }),
    }
}
