//! How many workload certificates a second can one core issue? Prints one JSON object; run it with `--release`.
//!
//! Each is built, read back and compared, signed, and its signature verified. Reading the request and proving that its
//! sender holds the key is `request_us`; keeping a durable record is not in it.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and reads the clock"
)]

use std::time::{Duration, Instant};

use portcullis_ca::{Authority, CaKey as _, MemoryKey, Request, Serial, Svid, Validity};
use portcullis_core::{SpiffeId, TrustDomain, UnixMillis};
use rcgen::{CertificateParams, KeyPair};

const ROUNDS: u32 = 5_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let (authority, now) = (authority()?, UnixMillis::from_seconds(1_790_000_000));
    let request = CertificateParams::default().serialize_request(&KeyPair::generate()?)?.der().to_vec();
    let id = SpiffeId::parse("spiffe://shop.example/ns/orders/sa/api")?;
    let key = Request::read(&request)?.key_for(&id)?.clone();
    let validity = Validity::within(authority.validity(), now, Validity::WORKLOAD)?;
    let reading = each(|_| Request::read(&request).map(drop).map_err(Failure::from))?;
    let issuing = each(|round| {
        let serial = Serial::from_random(u128::from(round).to_be_bytes());
        let decided = Svid { id: id.clone(), key: key.clone(), serial, validity };
        authority.issue(&decided).map(drop).map_err(Failure::from)
    })?;
    let second = 1e6 / (reading + issuing);
    println!(
        "{{\"request_us\": {reading:.1}, \"issue_us\": {issuing:.1}, \"svids_per_second\": {second:.0}}}"
    );
    Ok(())
}

/// Microseconds for one.
fn each(work: impl Fn(u32) -> Result<(), Failure>) -> Result<f64, Failure> {
    let begin = Instant::now();
    (0..ROUNDS).try_for_each(work)?;
    Ok(begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS))
}

fn authority() -> Result<Authority, Failure> {
    let domain = TrustDomain::parse("shop.example")?;
    let from = UnixMillis::from_seconds(1_789_000_000);
    let validity = |life: Duration| Validity { from, until: from.plus(life) };
    let (root_key, own) = (MemoryKey::generate()?.0, MemoryKey::generate()?.0);
    let number = Serial::from_random;
    let root = Authority::root(&domain, Box::new(root_key), number([1; 16]), validity(Authority::ROOT))?;
    let certificate = root.certify(own.public(), number([2; 16]), validity(Authority::INTERMEDIATE))?;
    Ok(Authority::open(certificate, Vec::new(), Box::new(own), &domain)?)
}
