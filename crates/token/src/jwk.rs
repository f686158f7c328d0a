//! One JSON Web Key becomes a key for exactly one algorithm, or is passed over.
//!
//! INVARIANT: a [`Key`] has one algorithm, chosen here from the key and the issuer's entry (C1, RFC 8725 §3.1).
//! INVARIANT: private or symmetric key material is never passed over in silence (C13).
//!
//! Sources: RFC 7517 §4, RFC 7518 §6, RFC 8037 §2, SP 800-56B §6.2.1 (exponent), CVE-2017-15361.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};

use crate::algorithm::Algorithm;
use crate::json::{Json, Members};
use crate::key_set::{KeySetFault, Skipped};
use crate::{b64, roca};

/// The members that hold private or secret key material, whatever the key type.
const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
/// The longest key id that is kept.
const LONGEST_KID: usize = 256;

/// A public key that verifies one algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) kid: Option<Box<str>>,
    pub(crate) algorithm: Algorithm,
    public: ParsedPublicKey,
}

impl Key {
    /// Whether `signature` over `message` was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }

    /// Reads one member of `keys`. The outer error refuses the whole set, the inner one passes over this key.
    pub(crate) fn read(
        jwk: &Members,
        allowed: &BTreeSet<Algorithm>,
    ) -> Result<Result<Self, Skipped>, KeySetFault> {
        if jwk.find("kty") == Some(&Json::Text("oct".to_owned())) {
            return Err(KeySetFault::Symmetric);
        }
        // SECURITY: an issuer that publishes a private key has lost it; nothing of the set can be trusted.
        if let Some(member) = jwk.first_of(&PRIVATE) {
            return Err(KeySetFault::Private { member });
        }
        Ok(Self::read_public(jwk, allowed))
    }

    fn read_public(jwk: &Members, allowed: &BTreeSet<Algorithm>) -> Result<Self, Skipped> {
        permits_verifying(jwk)?;
        let kid = match jwk.find("kid") {
            None => None,
            Some(Json::Text(kid)) if !kid.is_empty() && kid.len() <= LONGEST_KID => Some(kid.as_str().into()),
            Some(_) => return Err(Skipped::Malformed),
        };
        let algorithm = algorithm(jwk, allowed)?;
        let public = match algorithm {
            Algorithm::Es256 => point(jwk, algorithm, 32),
            Algorithm::Es384 => point(jwk, algorithm, 48),
            Algorithm::EdDsa => edwards(jwk, algorithm),
            Algorithm::Ps256 | Algorithm::Rs256 => rsa(jwk, algorithm),
        }?;
        Ok(Self { kid, algorithm, public })
    }
}

/// `use` and `key_ops`, where they are given, must be meant for verifying.
fn permits_verifying(jwk: &Members) -> Result<(), Skipped> {
    match jwk.find("use") {
        None => {}
        Some(Json::Text(word)) if word == "sig" => {}
        Some(_) => return Err(Skipped::OtherUse),
    }
    match jwk.find("key_ops") {
        None => Ok(()),
        Some(Json::List(words)) if words.iter().any(|w| *w == Json::Text("verify".to_owned())) => Ok(()),
        Some(_) => Err(Skipped::OtherUse),
    }
}

/// The one algorithm of a key: what it says, or the only one that its type and the issuer's entry leave.
fn algorithm(jwk: &Members, allowed: &BTreeSet<Algorithm>) -> Result<Algorithm, Skipped> {
    let fitting = of_key_type(jwk)?;
    let stated = match jwk.find("alg") {
        None => None,
        Some(Json::Text(name)) => Some(Algorithm::parse(name).ok_or(Skipped::OtherAlgorithm)?),
        Some(_) => return Err(Skipped::Malformed),
    };
    if stated.is_some_and(|stated| !fitting.contains(&stated)) {
        return Err(Skipped::Malformed);
    }
    let mut left = fitting.iter().filter(|a| allowed.contains(a) && stated.is_none_or(|s| s == **a));
    match (left.next(), left.next()) {
        (Some(only), None) => Ok(*only),
        (None, _) => Err(Skipped::OtherAlgorithm),
        (Some(_), Some(_)) => Err(Skipped::AmbiguousAlgorithm),
    }
}

fn of_key_type(jwk: &Members) -> Result<&'static [Algorithm], Skipped> {
    let kty = text(jwk, "kty")?;
    match kty {
        "RSA" => Ok(&[Algorithm::Ps256, Algorithm::Rs256]),
        "EC" | "OKP" => match (kty, text(jwk, "crv")?) {
            ("EC", "P-256") => Ok(&[Algorithm::Es256]),
            ("EC", "P-384") => Ok(&[Algorithm::Es384]),
            ("OKP", "Ed25519") => Ok(&[Algorithm::EdDsa]),
            _ => Err(Skipped::OtherType),
        },
        _ => Err(Skipped::OtherType),
    }
}

fn text<'m>(jwk: &'m Members, member: &str) -> Result<&'m str, Skipped> {
    match jwk.find(member) {
        Some(Json::Text(text)) => Ok(text),
        _ => Err(Skipped::Malformed),
    }
}

fn bytes(jwk: &Members, member: &str) -> Result<Vec<u8>, Skipped> {
    b64::decode(text(jwk, member)?).ok_or(Skipped::Malformed)
}

/// An elliptic-curve point: both coordinates of full length (RFC 7518 §6.2.1.2), on the curve (RFC 8725 §3.4).
fn point(jwk: &Members, algorithm: Algorithm, length: usize) -> Result<ParsedPublicKey, Skipped> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err(Skipped::Malformed);
    }
    let uncompressed = [&[4_u8][..], &x, &y].concat();
    parsed(algorithm, &uncompressed)
}

fn edwards(jwk: &Members, algorithm: Algorithm) -> Result<ParsedPublicKey, Skipped> {
    let x: [u8; 32] = bytes(jwk, "x")?.try_into().map_err(|_| Skipped::Malformed)?;
    parsed(algorithm, &x)
}

fn parsed(algorithm: Algorithm, bytes: &[u8]) -> Result<ParsedPublicKey, Skipped> {
    let how = algorithm.of_point().ok_or(Skipped::Malformed)?;
    ParsedPublicKey::new(how, bytes).map_err(|_| Skipped::Malformed)
}

/// An RSA key of 2048 to 8192 bits with an odd exponent from 65537 to below 2^33, without leading zeros.
fn rsa(jwk: &Members, algorithm: Algorithm) -> Result<ParsedPublicKey, Skipped> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let (Some(top), Some(low)) = (n.first(), n.last()) else { return Err(Skipped::Malformed) };
    if *top == 0 || low % 2 == 0 || e.first() == Some(&0) {
        return Err(Skipped::Malformed);
    }
    let bits = n.len() * 8 - usize::try_from(top.leading_zeros()).unwrap_or(0);
    if !(2048..=8192).contains(&bits) || !is_sound_exponent(&e) || roca::is_marked(&n) {
        return Err(Skipped::Weak);
    }
    let how = algorithm.of_rsa().ok_or(Skipped::Malformed)?;
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(how).map_err(|_| Skipped::Malformed)
}

fn is_sound_exponent(e: &[u8]) -> bool {
    let value = e.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    e.len() <= 5 && value % 2 == 1 && (65_537..1 << 33).contains(&value)
}
