//! Tokens that must not pass, by threat class, against the whole verifier.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Assurance, Binding, ClaimValue, Generation, Proof, Reason, UnixMillis};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::testing::*;
use crate::*;

fn fault(verifier: &Verifier, token: &str) -> Option<TokenFault> {
    verifier.verify(token, now()).err()
}

fn claim_fault(verifier: &Verifier, changes: &Value) -> Option<TokenFault> {
    fault(verifier, &ES256.token(&claims_with(changes)))
}

#[test]
fn a_good_token_gives_its_facts() {
    let verifier = verifier(rules(), &[&ES256]);
    let verified = verifier.verify(&ES256.token(&claims()), now()).expect("verifies");
    let principal = verified.bound_to(None).expect("a bearer token");
    assert_eq!((principal.proof, principal.binding), (Proof::Token, Binding::Bearer));
    assert_eq!((&*principal.subject, principal.client.as_deref()), ("u-17", Some("web")));
    assert_eq!((principal.session.as_deref(), principal.credential.as_deref()), (Some("s-1"), Some("t-1")));
    assert_eq!(principal.scopes, texts(&["orders:read", "orders:write"]));
    assert_eq!(principal.roles, texts(&["clerk"]));
    assert_eq!(principal.claims.get("tenant"), Some(&ClaimValue::Text("north".into())));
    assert_eq!(principal.claims.len(), 1);
    assert_eq!(principal.assurance, Assurance::Substantial);
    assert_eq!(principal.expires, Some(UnixMillis::from_seconds(NOW + 300)));
    assert!(verified.has_audience("shop") && !verified.has_audience("SHOP"));
    assert_eq!(verified.issuer(), &name("staff"));
}

#[test]
fn every_algorithm_verifies_its_own_tokens_and_no_other() {
    let verifier = verifier(rules(), &all_signers());
    for signer in all_signers() {
        assert_eq!(fault(&verifier, &signer.token(&claims())), None, "{}", signer.algorithm);
        for other in all_signers().into_iter().filter(|other| other.kid != signer.kid) {
            let header =
                json!({"alg": other.algorithm.name(), "typ": "at+jwt", "kid": other.kid}).to_string();
            assert!(fault(&verifier, &signer.sign(&header, &claims().to_string())).is_some());
        }
    }
}

#[test]
fn c1_the_header_cannot_choose_the_algorithm() {
    let verifier = verifier(rules(), &[&ES256, &RS256, &PS256]);
    for alg in ["none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "ES256K", "es256", "RS512", ""] {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": "es-1"}).to_string();
        let found = fault(&verifier, &ES256.sign(&header, &claims().to_string()));
        assert!(
            matches!(found, Some(TokenFault::Algorithm | TokenFault::HeaderMember { .. })),
            "{alg}: {found:?}"
        );
    }
    for (alg, kid) in [("RS256", "es-1"), ("PS256", "rs-1"), ("RS256", "ps-1"), ("EdDSA", "es-1")] {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string();
        let found = fault(&verifier, &ES256.sign(&header, &claims().to_string()));
        assert_eq!(found, Some(TokenFault::OtherAlgorithm), "{alg} {kid}");
    }
    for header in
        [json!({"typ": "at+jwt"}), json!({"alg": null}), json!({"alg": 1}), json!({"alg": ["ES256"]})]
    {
        let found = fault(&verifier, &ES256.sign(&header.to_string(), &claims().to_string()));
        assert_eq!(found, Some(TokenFault::HeaderMember { member: "alg" }), "{header}");
    }
}

#[test]
fn c1_a_public_key_is_no_shared_secret_and_an_empty_signature_is_none() {
    let verifier = verifier(rules(), &[&RS256]);
    let signed = format!("{}.{}", b64::encode(RS256.header("at+jwt")), b64::encode(claims().to_string()));
    let public = RS256.jwk().to_string();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
    let mac = b64::encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
    for signature in [mac.as_str(), "", "AA", &b64::encode([0; 64]), &b64::encode([0; 256])] {
        let found = fault(&verifier, &format!("{signed}.{signature}"));
        assert_eq!(found, Some(TokenFault::Signature { issuer: name("staff") }), "{signature}");
    }
}

#[test]
fn c1_an_algorithm_that_the_entry_does_not_name_is_refused_even_if_the_key_was_read() {
    let mut only = rules();
    only.algorithms = BTreeSet::from([Algorithm::EdDsa]);
    let verifier = verifier(only, &[&ES256, &ED]);
    assert_eq!(fault(&verifier, &ED.token(&claims())), None);
    assert_eq!(fault(&verifier, &ES256.token(&claims())), Some(TokenFault::OtherAlgorithm));
}

#[test]
fn c1_c12_a_header_brings_no_key_and_switches_nothing_on() {
    let verifier = verifier(rules(), &[&ES256]);
    let own = OTHER.jwk();
    for (member, value) in [
        ("jwk", own),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("p2c", json!(2_000_000_000)),
        ("cty", json!("JWT")),
    ] {
        let mut header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "es-1"});
        header[member] = value;
        let found = fault(&verifier, &ES256.sign(&header.to_string(), &claims().to_string()));
        assert_eq!(found, Some(TokenFault::HeaderMember { member }), "{member}");
    }
}

#[test]
fn c1_a_key_is_found_by_its_id_or_is_the_only_one() {
    let payload = claims().to_string();
    let bare = r#"{"alg":"ES256","typ":"at+jwt"}"#;
    assert_eq!(fault(&verifier(rules(), &[&ES256, &ED]), &ES256.sign(bare, &payload)), None);
    let two = verifier(rules(), &[&ES256, &OTHER]);
    assert_eq!(fault(&two, &ES256.sign(bare, &payload)), Some(TokenFault::AmbiguousKey));
    for kid in ["es-2", "ES-1", "es-1 ", "../es-1", "es-1' OR 1=1"] {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}).to_string();
        let found = fault(&two, &ES256.sign(&header, &payload)).expect("is refused");
        assert_eq!(found.wants_keys_of(), Some(&name("staff")), "{kid}");
    }
}

/// Every claim times every wrong kind of value. A claim that is optional may be missing and nothing else.
#[test]
fn c2_a_claim_of_a_wrong_type_is_never_an_absent_claim() {
    let text_like = ["iss", "sub", "client_id", "jti", "sid", "acr", "azp", "typ", "token_use"];
    let wrong_text = [
        json!(null),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(true),
        json!([]),
        json!(["web"]),
        json!({}),
        json!(""),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("x".repeat(2000)),
    ];
    let wrong_time = [
        json!(null),
        json!("1790000300"),
        json!([1_790_000_300]),
        json!(1_790_000_300.5),
        json!(-1),
        json!(1e30),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(true),
        json!({}),
        json!(""),
    ];
    let wrong_texts =
        [json!(null), json!(1), json!({}), json!([1]), json!([null]), json!([""]), json!(""), json!(true)];
    let wrong_scope =
        [json!(null), json!(1), json!(["a"]), json!({}), json!("a  b"), json!(" a"), json!("a\"b")];
    let wrong_cnf = [
        json!(null),
        json!("x"),
        json!([]),
        json!({}),
        json!({"jkt": "x"}),
        json!({"x5t#S256": 1}),
        json!({"x5t#S256": "AA"}),
        json!({"x5t#S256": b64::encode([1; 32]), "jkt": "x"}),
    ];
    let rows: [(&[&str], &[Value]); 7] = [
        (&text_like, &wrong_text),
        (&["exp", "iat", "nbf"], &wrong_time),
        (&["aud", "amr"], &wrong_texts),
        (&["scope"], &wrong_scope),
        (&["cnf"], &wrong_cnf),
        (
            &["realm_access"],
            &[json!(null), json!("x"), json!([]), json!({"roles": 1}), json!({"roles": [1]})],
        ),
        (&["tenant"], &[json!(null), json!(1.5), json!({}), json!([1])]),
    ];
    let verifier = verifier(rules(), &[&ES256]);
    for (names, values) in rows {
        for (claim, value) in names.iter().flat_map(|claim| values.iter().map(move |value| (*claim, value))) {
            let mut claims = claims();
            claims[claim] = value.clone();
            assert!(fault(&verifier, &ES256.token(&claims)).is_some(), "{claim} = {value}");
        }
    }
    assert!(claim_fault(&verifier, &json!({"aud": []})).is_some());
}

#[test]
fn c2_a_claim_may_be_missing_only_if_it_is_optional() {
    let verifier = verifier(rules(), &[&ES256]);
    let required = ["iss", "sub", "aud", "exp", "iat", "client_id", "jti"];
    let optional = ["sid", "acr", "nbf", "amr", "scope", "realm_access", "tenant"];
    for claim in required.iter().chain(&optional) {
        let found = claim_fault(&verifier, &json!({ *claim: null }));
        assert_eq!(found.is_some(), required.contains(claim), "no {claim}");
    }
}

#[test]
fn c2_a_kept_claim_has_the_type_that_its_issuers_entry_states_or_the_token_is_refused() {
    let values =
        [json!("north"), json!(7), json!(true), json!(["a", "b"]), json!(1.5), json!({}), json!([1])];
    let kinds = [(KeptKind::Text, 0), (KeptKind::Number, 1), (KeptKind::Flag, 2), (KeptKind::Texts, 3)];
    for (kind, good) in kinds {
        let kept = std::collections::BTreeMap::from([("level".into(), kind)]);
        let verifier = verifier(IssuerRules { kept, ..rules() }, &[&ES256]);
        for (place, value) in values.iter().enumerate() {
            let fault = claim_fault(&verifier, &json!({ "level": value }));
            assert_eq!(fault.is_none(), place == good, "{kind:?} {value} {fault:?}");
        }
        assert_eq!(claim_fault(&verifier, &json!({})), None, "absent is no type");
    }
}

#[test]
fn c2_two_members_of_one_name_are_refused_in_header_and_payload() {
    let verifier = verifier(rules(), &[&ES256]);
    let good = claims().to_string();
    let twice = good.replacen('{', r#"{"sub":"admin","#, 1);
    let found = fault(&verifier, &ES256.sign(&ES256.header("at+jwt"), &twice));
    assert_eq!(found, Some(TokenFault::Json { part: "payload", cause: JsonFault::Duplicate }));
    let header = r#"{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"es-1"}"#;
    let found = fault(&verifier, &ES256.sign(header, &good));
    assert_eq!(found, Some(TokenFault::Json { part: "header", cause: JsonFault::Duplicate }));
}

#[test]
fn c2_times_are_exact_to_the_leeway() {
    let verifier = verifier(rules(), &[&ES256]);
    let at = |claim: &str, offset: i64| {
        let seconds = i64::try_from(NOW).expect("fits") + offset;
        claim_fault(&verifier, &json!({ claim: seconds }))
    };
    assert_eq!(at("exp", -29), None);
    assert_eq!(at("exp", -30), Some(TokenFault::Expired));
    assert_eq!(at("exp", -31), Some(TokenFault::Expired));
    for claim in ["nbf", "iat"] {
        assert_eq!(at(claim, 30), None, "{claim}");
        assert_eq!(at(claim, 31), Some(TokenFault::NotYet), "{claim}");
    }
}

#[test]
fn c2_ss028_11_2_5_a_token_that_lives_longer_than_its_issuer_may_say_is_refused() {
    let short = IssuerRules { longest_life: portcullis_core::Millis::from_secs(310), ..rules() };
    let verifier = verifier(short, &[&ES256]);
    let at = |claims: Value| claim_fault(&verifier, &claims);
    assert_eq!(at(json!({})), None, "300 s from now, issued 10 s ago");
    let long = Some(TokenFault::claim("exp", ClaimProblem::Range));
    assert_eq!(at(json!({ "exp": NOW + 301 })), long);
    assert_eq!(at(json!({ "iat": NOW - 11 })), long);
}

/// Every issuer's token at every issuer's audience for every client: only the matching ones pass.
#[test]
fn c3_issuers_audiences_and_clients_do_not_mix() {
    let entries = [
        ("staff", "https://a.example", "shop", "web", &*ES256),
        ("public", "https://b.example", "site", "app", &*OTHER),
    ];
    let issuers = entries.iter().map(|(label, iss, audience, client, signer)| {
        let mut rules = rules();
        (rules.name, rules.iss) = (name(label), Arc::from(*iss));
        (rules.audiences, rules.clients) = (texts(&[audience]), Some(texts(&[client])));
        (Issuer::new(rules).expect("an issuer"), key_set(&[signer]), now())
    });
    let verifier = Verifier::new(Generation(1), issuers.collect()).expect("a verifier");
    let isses = [
        "https://a.example",
        "https://b.example",
        "https://a.example/",
        "HTTPS://a.example",
        "https://c.example",
    ];
    for (iss, signer) in isses.iter().flat_map(|iss| [(*iss, &*ES256), (*iss, &*OTHER)]) {
        for (aud, client) in
            ["shop", "site", "SHOP"].iter().flat_map(|a| ["web", "app", "Web"].map(|c| (*a, c)))
        {
            let token = signer.token(&claims_with(&json!({"iss": iss, "aud": aud, "client_id": client})));
            let want =
                entries.iter().find(|(_, i, a, c, s)| (*i, *a, *c, s.kid) == (iss, aud, client, signer.kid));
            let got = verifier.verify(&token, now());
            assert_eq!(got.is_ok(), want.is_some(), "{iss} {aud} {client} {}", signer.kid);
            if let (Ok(got), Some((label, ..))) = (got, want) {
                assert_eq!(got.issuer(), &name(label));
            }
        }
    }
}

#[test]
fn c3_a_client_under_two_names_must_be_one_client() {
    let verifier = verifier(rules(), &[&ES256]);
    assert_eq!(claim_fault(&verifier, &json!({"azp": "web"})), None);
    let found = claim_fault(&verifier, &json!({"azp": "other"}));
    assert_eq!(found, Some(TokenFault::Claim { claim: "azp".into(), problem: ClaimProblem::Conflict }));
}

#[test]
fn c3_entries_that_could_be_confused_do_not_stand_together() {
    let issuer = |label: &str, iss: &str| {
        let mut rules = rules();
        (rules.name, rules.iss) = (name(label), iss.into());
        (Issuer::new(rules).expect("an issuer"), key_set(&[&ES256]), now())
    };
    let same_iss = Verifier::new(Generation(1), vec![issuer("a", ISS), issuer("b", ISS)]).err();
    assert_eq!(same_iss, Some(VerifierFault::SameIss { first: name("a"), second: name("b") }));
    let same_name = Verifier::new(Generation(1), vec![issuer("a", ISS), issuer("a", "https://x")]).err();
    assert_eq!(same_name, Some(VerifierFault::SameName { name: name("a") }));
}

#[test]
fn c3_an_entry_is_never_any_by_being_empty() {
    let broken: [fn(&mut IssuerRules); 8] = [
        |r| r.iss = "".into(),
        |r| r.iss = "https://login.example/{tenantid}/v2.0".into(),
        |r| r.audiences.clear(),
        |r| r.audiences = texts(&[""]),
        |r| r.clients = Some(texts(&[])),
        |r| r.algorithms.clear(),
        |r| r.roles = Some(Vec::new()),
        |r| r.leeway = portcullis_core::Millis::from_secs(31),
    ];
    for (index, change) in broken.iter().enumerate() {
        let mut rules = rules();
        change(&mut rules);
        assert!(Issuer::new(rules).is_err(), "{index}");
    }
}

#[test]
fn only_an_access_token_is_an_access_token() {
    let strict = verifier(rules(), &[&ES256]);
    for typ in ["JWT", "at", "logout+jwt", "dpop+jwt", "secevent+jwt", "portcullis+jwt", "at+jwt "] {
        let token = ES256.sign(&ES256.header(typ), &claims().to_string());
        assert_eq!(fault(&strict, &token), Some(TokenFault::Type), "{typ}");
    }
    let untyped = ES256.sign(r#"{"alg":"ES256","kid":"es-1"}"#, &claims().to_string());
    assert_eq!(fault(&strict, &untyped), Some(TokenFault::Type));
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(fault(&strict, &ES256.sign(&ES256.header(typ), &claims().to_string())), None, "{typ}");
    }
}

/// How the tokens of stock products look, and what becomes of them with `profile: jwt`.
#[test]
fn profile_jwt_takes_access_tokens_and_no_id_tokens() {
    let mut loose = rules();
    loose.profile = Profile::Jwt;
    let verifier = verifier(loose, &[&ES256]);
    let bare = json!({"iss": ISS, "sub": "u-17", "aud": "shop", "exp": NOW + 300, "iat": NOW});
    let table = [
        ("Keycloak access", json!({"typ": "Bearer", "azp": "web", "scope": "openid", "nonce": "n"}), true),
        ("Keycloak ID", json!({"typ": "ID", "azp": "web", "at_hash": "x", "nonce": "n"}), false),
        ("Keycloak refresh", json!({"typ": "Refresh", "azp": "web", "scope": "openid"}), false),
        ("Keycloak offline", json!({"typ": "Offline", "azp": "web", "scope": "openid"}), false),
        ("Keycloak logout", json!({"typ": "Logout", "events": {}}), false),
        (
            "Entra v2 delegated",
            json!({"azp": "web", "azpacr": "1", "scp": "orders.read", "ver": "2.0"}),
            true,
        ),
        ("Entra v2 application", json!({"azp": "web", "azpacr": "1", "roles": ["orders.read"]}), true),
        ("Entra v1", json!({"appid": "web", "appidacr": "1", "scp": "orders.read", "ver": "1.0"}), true),
        ("Entra ID", json!({"aud": "shop", "nonce": "n", "ver": "2.0"}), false),
        ("Entra ID without nonce, with roles", json!({"roles": ["admin"], "ver": "2.0"}), false),
        ("Okta access", json!({"cid": "web", "scp": ["orders:read"]}), true),
        ("Cognito access", json!({"token_use": "access", "client_id": "web"}), true),
        ("Cognito ID", json!({"token_use": "id", "scope": "x"}), false),
        ("ID with azp only", json!({"azp": "shop"}), false),
        ("ID with c_hash", json!({"c_hash": "x", "scope": "x"}), false),
        ("scope and nonce", json!({"scope": "x", "nonce": "n"}), false),
        (
            "logout token",
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
            false,
        ),
        ("scope and scp", json!({"scope": "x", "scp": "y"}), false),
        ("nothing says so", json!({}), false),
    ];
    for (label, more, want) in table {
        let mut claims = bare.clone();
        more.as_object().expect("an object").iter().for_each(|(claim, value)| claims[claim] = value.clone());
        for header in [ES256.header("JWT"), r#"{"alg":"ES256","kid":"es-1"}"#.to_owned()] {
            let got = verifier.verify(&ES256.sign(&header, &claims.to_string()), now());
            assert_eq!(got.is_ok(), want, "{label}: {:?}", got.err());
        }
    }
}

#[test]
fn c6_a_token_has_one_spelling() {
    let verifier = verifier(rules(), &[&ES256]);
    let good = ES256.token(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { panic!("three parts") };
    let mut spellings = vec![
        format!("{good}="),
        format!("{good}=="),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}."),
        format!(".{good}"),
        format!("{header}..{payload}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}.{signature}"),
        good.replace('.', "%2e"),
        good.replace('-', "+").replace('_', "/"),
        format!("\u{feff}{good}"),
        format!("Bearer {good}"),
    ];
    // 64 bytes leave two characters with four bits that mean nothing; each other value of them is another spelling.
    let last = signature.chars().last().expect("a character");
    let alphabet = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']);
    spellings.extend(alphabet.filter(|c| *c != last).map(|c| format!("{}{c}", good.trim_end_matches(last))));
    for other in spellings.iter().filter(|other| **other != good) {
        assert!(verifier.verify(other, now()).is_err(), "{other}");
    }
    assert!(verifier.verify(&good, now()).is_ok());
}

#[test]
fn c15_a_silent_issuer_is_a_refusal_that_is_our_fault() {
    let verifier = verifier(rules(), &[&ES256]);
    let token = ES256.token(&claims_with(&json!({"exp": NOW + 10_000})));
    let later = |seconds| verifier.verify(&token, now().plus(Duration::from_secs(seconds))).err();
    assert_eq!(later(3600), None);
    let silent = later(3601).expect("is refused");
    assert_eq!((silent.reason(), silent.challenge()), (Reason::IssuerSilent, None));
}

#[test]
fn e13_size_and_dots_are_counted_before_anything_is_decoded() {
    let verifier = verifier(rules(), &[&ES256]);
    let bombs = [".".repeat(8192), "a.".repeat(4000), "a".repeat(8193), ".".repeat(1 << 20)];
    for bomb in bombs {
        let found = fault(&verifier, &bomb).expect("is refused");
        assert!(matches!(found, TokenFault::Parts | TokenFault::TooLong { .. }), "{found:?}");
    }
    assert_eq!(fault(&verifier, "a.b.c.d.e"), Some(TokenFault::Encrypted));
    let deep = format!("{{\"alg\":\"ES256\",\"x\":{}1{}}}", "[".repeat(3000), "]".repeat(3000));
    let found = fault(&verifier, &format!("{}.e30.AA", b64::encode(deep)));
    assert_eq!(found, Some(TokenFault::Json { part: "header", cause: JsonFault::Deep }));
}

#[test]
fn a_bound_token_is_good_with_its_certificate_alone() {
    let verifier = verifier(rules(), &[&ES256]);
    let cnf = json!({"cnf": {"x5t#S256": b64::encode([7; 32])}});
    let bound = verifier.verify(&ES256.token(&claims_with(&cnf)), now()).expect("verifies");
    assert_eq!(bound.bound_to(Some(&[7; 32])).map(|p| p.binding), Ok(Binding::MutualTls));
    assert_eq!(bound.bound_to(Some(&[8; 32])), Err(TokenFault::OtherHolder));
    assert_eq!(bound.bound_to(None), Err(TokenFault::OtherHolder));
    let bearer = verifier.verify(&ES256.token(&claims()), now()).expect("verifies");
    assert_eq!(bearer.bound_to(Some(&[7; 32])).map(|p| p.binding), Ok(Binding::Bearer));
}

#[test]
fn assurance_is_the_best_that_the_entry_gives() {
    let verifier = verifier(rules(), &[&ES256]);
    let of = |changes: Value| {
        let verified = verifier.verify(&ES256.token(&claims_with(&changes)), now()).expect("verifies");
        verified.bound_to(None).expect("a bearer token").assurance
    };
    assert_eq!(of(json!({"acr": "mfa", "amr": ["pwd", "hwk"]})), Assurance::High);
    assert_eq!(of(json!({"acr": "unknown", "amr": null})), Assurance::Low);
}

#[test]
fn c11_f8_nothing_of_the_caller_is_in_any_text() {
    let verifier = verifier(rules(), &[&ES256]);
    let canary = "canary\u{202e}\"";
    for changes in
        [json!({"iss": canary}), json!({"aud": canary}), json!({"typ": canary}), json!({"sub": "\n"})]
    {
        let found = claim_fault(&verifier, &changes).expect("is refused");
        let refusal = found.refusal();
        assert!(!refusal.private().contains("canary") && !refusal.private().contains('\n'), "{refusal}");
        assert_eq!(found.challenge().map(|c| c.error), Some("invalid_token"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any change of a good token's bytes is a refusal, and none is a panic.
    #[test]
    fn c1_c6_a_changed_token_is_refused(at in 0usize..600, byte in 0x20u8..0x7f, cut in any::<bool>()) {
        let verifier = verifier(rules(), &[&ED]);
        let good = ED.token(&claims());
        let mut bytes = good.clone().into_bytes();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let changed = String::from_utf8(bytes).expect("ASCII");
        fuzzing::jws(changed.as_bytes());
        prop_assert_eq!(verifier.verify(&changed, now()).is_ok(), changed == good);
    }

    /// Hostile claims never panic, and never make a principal without subject, audience and expiry.
    #[test]
    fn c2_random_claims_never_panic(text in r#"\{("(iss|sub|aud|exp|scope|cnf)":(null|1|-1|1e9|"x"|\[\]|\{\}|\["a"\]),?){0,6}\}"#) {
        fuzzing::claims(text.as_bytes());
        fuzzing::key_set(text.as_bytes());
    }
}
