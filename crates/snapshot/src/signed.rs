//! Generations on the wire: signed by whoever compiled them, checked by whoever enforces them.
//!
//! INVARIANT: a payload is looked at only after its signature, epoch, number and time have been checked, in that
//! order; a lower number than the one in force is refused (a replayed generation brings old rules back).
//! INVARIANT: the kind is under the signature: keys cannot be passed off as a plan.
//!
//! Not here: what a payload means (`compile`), the socket it came over (`portcullis-control`, `portcullis-dataplane`).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::{Generation, Sensitive, UnixMillis};
use serde::{Deserialize, Serialize};

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The checked configuration with everything it refers to.
    Plan,
    /// The key sets of the issuers.
    Keys,
}

/// The part that is signed before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// Drawn anew whenever numbering starts again; a data plane follows one epoch, that of its supervisor.
    pub epoch: u64,
    /// Counts up by kind.
    pub number: Generation,
    /// After this the data plane refuses rather than serve on old rules.
    pub not_after: UnixMillis,
}

/// A header, a payload and the signature over both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    header: Header,
    payload: String,
    signature: String,
}

impl Signed {
    /// What it says of itself: for counting and for answers, never for trust.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }
}

/// Why a signed generation was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedFault {
    /// The signature does not verify under the pinned key.
    #[error("the signature of the generation does not verify")]
    Signature,
    /// From another supervisor's life.
    #[error("the generation belongs to epoch {found}, not {wanted}")]
    Epoch {
        /// What it says.
        found: u64,
        /// What is followed here.
        wanted: u64,
    },
    /// Not newer than the one in force.
    #[error("generation {found} is not newer than {in_force}, which is in force")]
    Old {
        /// What it says.
        found: Generation,
        /// What is in force.
        in_force: Generation,
    },
    /// Its time is over.
    #[error("the generation was good until {not_after:?}")]
    Expired {
        /// When it ended.
        not_after: UnixMillis,
    },
    /// Of the other kind.
    #[error("the generation is of kind `{found:?}`, expected `{wanted:?}`")]
    Kind {
        /// What it says.
        found: Kind,
        /// What was asked for.
        wanted: Kind,
    },
}

/// The bytes under the signature: a marker, the header with a fixed width, the payload.
fn signed_bytes(header: &Header, payload: &str) -> Vec<u8> {
    let kind: u8 = match header.kind {
        Kind::Plan => 1,
        Kind::Keys => 2,
    };
    let mut bytes = Vec::with_capacity(payload.len() + 64);
    bytes.extend_from_slice(b"portcullis-generation-v1");
    bytes.push(kind);
    for number in [header.epoch, header.number.0, header.not_after.0] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(payload.as_bytes());
    bytes
}

/// Signs generations. Lives in the supervisor and is lent to *control*.
pub struct Signer {
    key: Ed25519KeyPair,
}

/// Why a signing key could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the generation signing key is not usable")]
pub struct SignerFault;

impl Signer {
    /// Draws a new key; its PKCS#8 form is for handing it to the process that signs.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn draw() -> Result<Sensitive<Vec<u8>>, SignerFault> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SignerFault)?;
        Ok(Sensitive::new(pkcs8.as_ref().to_vec()))
    }

    /// Takes a key that [`Signer::draw`] made.
    ///
    /// # Errors
    /// The bytes are no Ed25519 key.
    pub fn from_pkcs8(key: &Sensitive<Vec<u8>>) -> Result<Self, SignerFault> {
        Ed25519KeyPair::from_pkcs8(key.expose()).map(|key| Self { key }).map_err(|_| SignerFault)
    }

    /// The public half, for the data plane to pin.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.key.public_key().as_ref().try_into().unwrap_or_default()
    }

    /// Signs one generation.
    #[must_use]
    pub fn sign(&self, header: Header, payload: String) -> Signed {
        let signature = STANDARD.encode(self.key.sign(&signed_bytes(&header, &payload)));
        Signed { header, payload, signature }
    }
}

/// Takes generations in, and remembers the number in force.
#[derive(Debug)]
pub struct Acceptor {
    public: [u8; 32],
    epoch: u64,
    kind: Kind,
    in_force: Generation,
}

impl Acceptor {
    /// Follows `kind` of one epoch under one pinned key.
    #[must_use]
    pub fn new(public: [u8; 32], epoch: u64, kind: Kind) -> Self {
        Self { public, epoch, kind, in_force: Generation(0) }
    }

    /// Checks everything but the payload, and hands that out. The number in force moves only with [`Acceptor::took`],
    /// so that a generation that does not compile can be sent again, mended, under a higher number.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check<'s>(&self, signed: &'s Signed, now: UnixMillis) -> Result<(&'s str, Header), SignedFault> {
        let header = signed.header;
        self.check_signature(signed)?;
        if header.kind != self.kind {
            return Err(SignedFault::Kind { found: header.kind, wanted: self.kind });
        }
        if header.epoch != self.epoch {
            return Err(SignedFault::Epoch { found: header.epoch, wanted: self.epoch });
        }
        if header.number <= self.in_force {
            return Err(SignedFault::Old { found: header.number, in_force: self.in_force });
        }
        if header.not_after <= now {
            return Err(SignedFault::Expired { not_after: header.not_after });
        }
        Ok((&signed.payload, header))
    }

    /// Notes that `number` is now in force.
    pub fn took(&mut self, number: Generation) {
        self.in_force = self.in_force.max(number);
    }

    fn check_signature(&self, signed: &Signed) -> Result<(), SignedFault> {
        let signature = STANDARD.decode(&signed.signature).map_err(|_| SignedFault::Signature)?;
        UnparsedPublicKey::new(&ED25519, &self.public)
            .verify(&signed_bytes(&signed.header, &signed.payload), &signature)
            .map_err(|_| SignedFault::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn header(number: u64) -> Header {
        Header { kind: Kind::Plan, epoch: 7, number: Generation(number), not_after: UnixMillis(2_000_000) }
    }

    fn pair() -> (Signer, Acceptor) {
        let signer = Signer::from_pkcs8(&Signer::draw().expect("randomness")).expect("a key");
        let acceptor = Acceptor::new(signer.public(), 7, Kind::Plan);
        (signer, acceptor)
    }

    #[test]
    fn a_newer_signed_generation_is_taken_once() {
        let (signer, mut acceptor) = pair();
        let signed = signer.sign(header(3), "{}".into());
        assert_eq!(acceptor.check(&signed, NOW).map(|(p, _)| p), Ok("{}"));
        acceptor.took(Generation(3));
        let old = SignedFault::Old { found: Generation(3), in_force: Generation(3) };
        assert_eq!(acceptor.check(&signed, NOW).unwrap_err(), old);
    }

    #[test]
    fn f3_a_change_of_any_signed_field_is_noticed() {
        let (signer, acceptor) = pair();
        let good = signer.sign(header(3), "{}".into());
        let mut forged = vec![good; 5];
        forged[0].payload = "{ }".into();
        forged[1].header.number = Generation(4);
        forged[2].header.not_after = UnixMillis(3_000_000);
        forged[3].header.kind = Kind::Keys;
        forged[4].signature = STANDARD.encode([0; 64]);
        for signed in &forged {
            assert_eq!(acceptor.check(signed, NOW).unwrap_err(), SignedFault::Signature);
        }
    }

    #[test]
    fn f7_another_epoch_another_kind_and_a_stale_one_are_refused() {
        let (signer, acceptor) = pair();
        let other = signer.sign(Header { epoch: 8, ..header(3) }, "{}".into());
        assert!(matches!(acceptor.check(&other, NOW), Err(SignedFault::Epoch { found: 8, wanted: 7 })));
        let keys = signer.sign(Header { kind: Kind::Keys, ..header(3) }, "{}".into());
        assert!(matches!(acceptor.check(&keys, NOW), Err(SignedFault::Kind { .. })));
        let stale = signer.sign(header(3), "{}".into());
        assert!(matches!(acceptor.check(&stale, UnixMillis(2_000_000)), Err(SignedFault::Expired { .. })));
    }
}
