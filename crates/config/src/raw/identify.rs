//! Keys of `issuers` and `api_keys`.

use ipnet::IpNet;
use portcullis_core::{Assurance, Millis, Name};

use super::values::Word;
use super::{FilePath, SecretSource};
use crate::plan::{Algorithm, CertificateName, ClaimType, Digest, Loopback, TokenProfile, Url};
use crate::yaml::{At, Many, Table, Text, section};

section! {
    /// An issuer of access tokens. Exactly one of `oidc`, `jwks_url` and `jwks_file` says where its keys are.
    RawIssuer {
        /// Our name for it.
        name: Name [required],
        /// Its address for OpenID Connect discovery, which is its `iss` too unless `issuer` says otherwise.
        oidc: Url [],
        /// The address of its key set.
        jwks_url: Url [],
        /// A file with its key set.
        jwks_file: FilePath [],
        /// The exact `iss` of its tokens. Required with `jwks_url` and `jwks_file`.
        issuer: Text [],
        /// A token must name one of these in `aud`.
        audience: Many<Word> [required "JWT-8"],
        /// Signature algorithms. Left out: ES256, ES384, EdDSA and PS256; RS256 only if it is named here.
        algorithms: Many<Algorithm> [],
        /// `at+jwt` (RFC 9068), or `jwt` for an issuer that does not write that type, such as a stock Keycloak.
        profile: TokenProfile [= "at+jwt"],
        /// Which claims are kept.
        claims: RawClaims [section],
        /// How often its keys are fetched.
        refresh: Millis [= "10m"],
        /// Keys that could not be renewed for this long are no longer trusted, and its tokens are refused.
        silent_after: Millis [= "4h"],
        /// How far its clock may be off; at most 30 seconds.
        leeway: Millis [= "30s"],
        /// A token that lives longer than this is refused; at most a day.
        longest_life: Millis [= "1h"],
        /// How sure it is of its subjects: `low`, `substantial` or `high`.
        assurance: Assurance [= "substantial"],
        /// Whether its address may be on this machine: `refused` or, outside production, `allowed`.
        loopback: Loopback [= "refused"],
        /// Root certificates for fetching, PEM. Left out, those of the system.
        roots: FilePath [],
    }
}

section! {
    /// Which claims of a token are kept; the rest is forgotten.
    RawClaims {
        /// Where roles stand: a claim, or a list of names from the outside in, such as `[realm_access, roles]`.
        roles: Many<Word> [],
        /// Further claims that policies may use.
        keep: Many<Word> [],
        /// The type of a kept claim that is no text: `integer`, `boolean` or `texts` (a list of them), by its name. A token
        /// whose claim has another type is refused.
        types: Table<ClaimType> [],
    }
}

section! {
    /// API keys, known by their keyed hashes.
    RawApiKeys {
        /// The key of the keyed hash, by reference: at least 32 bytes.
        hash_key: SecretSource [required "SS028-11.2.10c"],
        /// Files that list the keys.
        files: Many<FilePath> [required],
    }
}

section! {
    /// A file of API keys.
    RawKeyFile {
        /// The keys.
        keys: Vec<At<RawApiKey>> [required],
    }
}

section! {
    /// One API key.
    RawApiKey {
        /// What records name it by.
        id: Name [required],
        /// HMAC-SHA-256 of the key's text, 64 hexadecimal digits.
        hash: Digest [required],
        /// Who answers for it.
        owner: Text [required],
        /// Client certificates that may use it. This or `sources` is required.
        applications: Many<CertificateName> [],
        /// Networks that may use it. This or `applications` is required.
        sources: Many<IpNet> [],
        /// Services that it opens.
        apis: Many<Name> [required "MS-SS-1.4"],
        /// Scopes that it is given.
        scopes: Many<Word> [],
        /// How sure its issue was of the holder: `low`, `substantial` or `high`.
        assurance: Assurance [required "MS-SS-1.5"],
        /// When it ends: a day such as `2027-03-31`, whose end in UTC is meant.
        expires: Text [required],
    }
}
