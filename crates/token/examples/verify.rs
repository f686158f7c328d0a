//! What does one token cost? Prints one JSON object: microseconds per verification of an ES256 token, per use of a
//! remembered one, and per internal token minted. Medians of batches; run with `--release`.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::{Assurance, Generation, Millis, Name, UnixMillis};
use portcullis_token::{
    Algorithm, AssuranceRules, Issuer, IssuerRules, KeySet, Minter, MinterRules, Profile, Revocation,
    Revocations, Revoked, TokenCache, Verifier,
};

type Fault = Box<dyn std::error::Error>;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

fn main() -> Result<(), Fault> {
    let (verifier, token) = issuer_and_token()?;
    let revocations = Revocations::new(1000);
    let mut cache = TokenCache::new(1024);
    let verify = median(200, || verifier.verify(black_box(&token), NOW).is_ok());
    let quiet = median(5_000, || cache.verify(&verifier, &revocations, black_box(&token), NOW).is_ok());
    revocations.revoke(&revocation()?, NOW)?;
    let listed = median(5_000, || cache.verify(&verifier, &revocations, black_box(&token), NOW).is_ok());
    let minter =
        Minter::new(MinterRules { issuer: "edge.shop.example".into(), life: Millis::from_secs(30) })?;
    let (verified, audience) = (verifier.verify(&token, NOW)?, name("orders")?);
    let principal = verified.bound_to(None)?;
    let mint = median(200, || minter.mint(black_box(principal), &audience, NOW).is_ok());
    let out = serde_json::json!({
        "token_bytes": token.len(), "verify_es256_us": verify, "cached_us": quiet,
        "cached_beside_a_revocation_us": listed, "mint_us": mint,
    });
    std::io::Write::write_all(&mut std::io::stdout(), format!("{out}\n").as_bytes())?;
    Ok(())
}

fn name(text: &str) -> Result<Name, Fault> {
    Ok(Name::parse(text)?)
}

fn revocation() -> Result<Revocation, Fault> {
    let ends = NOW.plus(Duration::from_secs(600));
    let (issuer, value) = (name("staff")?, "another".to_owned());
    Ok(Revocation { issuer, kind: Revoked::Subject, value, issued_until: None, ends })
}

/// Microseconds per call: the median of 21 batches.
#[expect(clippy::disallowed_methods, reason = "a stopwatch")]
fn median(batch: u32, mut work: impl FnMut() -> bool) -> f64 {
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            let begin = Instant::now();
            let good = (0..batch).filter(|_| work()).count();
            black_box(good);
            begin.elapsed().as_secs_f64() * 1e6 / f64::from(batch)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(10).copied().unwrap_or_default()
}

fn issuer_and_token() -> Result<(Verifier, String), Fault> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let point = pair.public_key().as_ref();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (x, y) = (point.get(1..33).unwrap_or_default(), point.get(33..).unwrap_or_default());
    let jwk = serde_json::json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": encode(x), "y": encode(y)});
    let issuer = Issuer::new(rules()?)?;
    let keys = KeySet::parse(serde_json::json!({"keys": [jwk]}).to_string().as_bytes(), &issuer.key_rules())?;
    let claims = serde_json::json!({
        "iss": "https://login.example/realms/staff", "sub": "0b5a3f5e-7c1e-4a6f-9f0e-1f1d6a3f8b11", "aud": "shop",
        "exp": NOW.seconds() + 300, "iat": NOW.seconds(), "client_id": "web",
        "jti": "2f0c9a34-53c8-44b6-8e52-0ad5d1f5a3c9", "sid": "8f6b3c1a-4f0e-4f7b-9f55-6a1f9a7f0c21",
        "scope": "openid orders:read orders:write payments:read stock:read", "acr": "mfa",
        "realm_access": {"roles": ["clerk", "auditor"]},
    });
    let header = encode(br#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#);
    let signed = format!("{header}.{}", encode(claims.to_string().as_bytes()));
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes())?;
    let token = format!("{signed}.{}", encode(signature.as_ref()));
    Ok((Verifier::new(Generation(1), vec![(issuer, keys, NOW)])?, token))
}

fn rules() -> Result<IssuerRules, Fault> {
    Ok(IssuerRules {
        name: name("staff")?,
        iss: "https://login.example/realms/staff".into(),
        audiences: BTreeSet::from(["shop".into()]),
        clients: None,
        algorithms: BTreeSet::from([Algorithm::Es256]),
        profile: Profile::AtJwt,
        roles: Some(vec!["realm_access".into(), "roles".into()]),
        kept: BTreeMap::new(),
        leeway: Millis::from_secs(30),
        assurance: AssuranceRules { default: Assurance::Low, acr: BTreeMap::new(), amr: BTreeMap::new() },
        silent_after: Millis::from_secs(3600),
        longest_life: Millis::LONGEST,
    })
}
