//! Issues workload certificates (X.509-SVIDs), and the certificates of the authorities above them.
//!
//! The issue line is attest, decide, build, **check what was built**, sign, record. This room is its middle: a [`Request`]
//! is what a workload sent, an [`Svid`] is what was decided, and [`Authority::issue`] builds it, reads the built bytes
//! back, compares every one of them with what was decided, and only then lets the key sign.
//!
//! INVARIANT: nothing of a request reaches a certificate but its public key (D5).
//! INVARIANT: the key signs no byte that was not compared with a template, and a signature that does not verify is thrown
//! away.
//! INVARIANT: a certificate never outlives its issuer, and names exactly one workload of the issuer's trust domain.
//!
//! Not here: who may have which name (the registry), where keys and files are (the keyholder), time and randomness
//! (whoever calls).
//!
//! Sources: SPIFFE X509-SVID (SPF-2, SPF-3, SPF-8); RFC 5280; RFC 2986; SS028-11.2.10, 11.3.3b; threats D5, C12.

mod authority;
mod bundle;
mod check;
mod der;
pub mod fuzzing;
mod key;
mod request;
mod rotation;
mod seal;
mod svid;
mod validity;

pub use authority::{Authority, AuthorityFault, IssueFault, Issued};
pub use bundle::bundle;
pub use check::Mismatch;
pub use key::{CaKey, KeyFault, MemoryKey, PublicKey, SignFault};
pub use request::{Request, RequestFault};
pub use rotation::{
    Acknowledged, Activated, BundleNumber, Level, Member, Missing, Phase, Rotation, RotationFault,
};
pub use seal::{SealFault, Sealer};
pub use svid::{Serial, Svid};
pub use validity::{Validity, ValidityFault};
