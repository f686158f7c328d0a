//! API keys: weak credentials, held on a short leash.
//!
//! A key is `pk_<id>_<secret>`, where the secret is 256 random bits. What is stored is a keyed hash of both, so that
//! neither a leaked configuration nor a swapped line gives anybody a key.
//!
//! INVARIANT: a key works only for its services, and only from its sources or its applications (MS-SS-1.4).
//! INVARIANT: an unknown id costs the same work as a wrong secret, and both look the same from outside (C11).
//! INVARIANT: restrictions are looked at only after the secret matched, so they tell a guesser nothing.
//!
//! Not here: "never sufficient for `sensitivity: high`" (MS-SS-1.1), which reads [`Proof::ApiKey`] where routes are known.
//!
//! Sources: MS-SS-1.1, 1.4, 1.5; threats B12, C11, C13.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use portcullis_core::{Assurance, Binding, Name, Principal, Proof, Reason, Refusal, Sensitive, UnixMillis};

use crate::key_hash::{self, KeyHash, ServerKey};

/// One key as configured.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its id, which is public.
    pub id: Name,
    /// The keyed hash of its secret.
    pub hash: KeyHash,
    /// Who is responsible for it; becomes the subject.
    pub owner: Arc<str>,
    /// The addresses that it may come from.
    pub sources: Vec<IpNet>,
    /// The proven names of client applications that may use it: SPIFFE ids or DNS names of client certificates.
    pub applications: BTreeSet<Arc<str>>,
    /// The services that it may call.
    pub services: BTreeSet<Name>,
    /// What it may be used for there.
    pub scopes: BTreeSet<Arc<str>>,
    /// How well the owner is known (MS-SS-1.5).
    pub assurance: Assurance,
    /// When it ends.
    pub expires: Option<UnixMillis>,
}

/// Why configured keys are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeysFault {
    /// Neither sources nor applications, or no services.
    #[error("API key `{id}` needs `sources` or `applications`, and `services` (MS-SS-1.4)")]
    Unrestricted {
        /// Which key.
        id: Name,
    },
    /// A network that is every address, or an IPv4 network in IPv6 clothes.
    #[error(
        "API key `{id}`: source `{source_net}` restricts nothing or is an IPv4-mapped form; write real networks"
    )]
    Source {
        /// Which key.
        id: Name,
        /// Which network.
        source_net: IpNet,
    },
    /// Two keys have the same id.
    #[error("two API keys have the id `{id}`")]
    SameId {
        /// Which id.
        id: Name,
    },
}

/// Why a presented key is not accepted. The public answer is the same for all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyFault {
    /// Not written as a key.
    #[error("the text is not written as an API key")]
    Form,
    /// No such id, or not its secret.
    #[error("the API key is unknown")]
    Unknown,
    /// It ended.
    #[error("API key `{id}` expired")]
    Expired {
        /// Which key.
        id: Name,
    },
    /// It came from elsewhere.
    #[error("API key `{id}` was used from a source or an application that is not its own")]
    Elsewhere {
        /// Which key.
        id: Name,
    },
    /// It is for other services.
    #[error("API key `{id}` is not for service `{service}`")]
    OtherService {
        /// Which key.
        id: Name,
        /// Which service was called.
        service: Name,
    },
}

impl ApiKeyFault {
    /// The refusal for the request line.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal::new(Reason::InvalidApiKey, self.to_string())
    }
}

/// The circumstances of one use.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse<'u> {
    /// The address of the caller, as the trusted part of the path gives it.
    pub source: IpAddr,
    /// The name that the connection's client certificate proves, if any.
    pub application: Option<&'u str>,
    /// The service that is called.
    pub service: &'u Name,
    /// The time.
    pub now: UnixMillis,
}

/// All keys of one table, as one generation.
pub struct ApiKeys {
    server: ServerKey,
    entries: HashMap<Name, Entry>,
}

struct Entry {
    key: ApiKey,
    principal: Arc<Principal>,
}

impl ApiKeys {
    /// Takes the keys of the table `issuer` in.
    ///
    /// # Errors
    /// A key is not restricted as MS-SS-1.4 asks, or two have the same id.
    pub fn new(issuer: &Name, server: ServerKey, keys: Vec<ApiKey>) -> Result<Self, ApiKeysFault> {
        let mut entries = HashMap::with_capacity(keys.len());
        for key in keys {
            key.ensure_restricted()?;
            let (id, principal) = (key.id.clone(), Arc::new(key.principal(issuer)));
            if entries.insert(id.clone(), Entry { key, principal }).is_some() {
                return Err(ApiKeysFault::SameId { id });
            }
        }
        Ok(Self { server, entries })
    }

    /// Who uses this key, if it may be used so.
    ///
    /// # Errors
    /// Why not; see [`ApiKeyFault::refusal`].
    pub fn check(&self, presented: &str, at: &KeyUse<'_>) -> Result<Arc<Principal>, ApiKeyFault> {
        let (id, secret) = key_hash::split(presented).ok_or(ApiKeyFault::Form)?;
        let found = Name::parse(id).ok().and_then(|id| self.entries.get(&id));
        // SECURITY: hash and compare in every case, so that time does not tell whether the id exists.
        let want = found.map_or(key_hash::NOBODY, |entry| entry.key.hash);
        let matches = self.server.hash(id, &secret).is(&want);
        let entry = found.filter(|_| matches).ok_or(ApiKeyFault::Unknown)?;
        entry.key.ensure_permitted(at)?;
        Ok(Arc::clone(&entry.principal))
    }

    /// Whether this principal is what one of the keys makes of its holder now.
    #[must_use]
    pub fn vouches(&self, principal: &Principal) -> bool {
        let id = principal.credential.as_deref().and_then(|id| Name::parse(id).ok());
        let entry = id.and_then(|id| self.entries.get(&id));
        entry.is_some_and(|entry| *entry.principal == *principal)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes a key out of 32 random bytes: the text for its owner, to be shown once, and the hash for the table.
    #[must_use]
    pub fn generate(id: &Name, random: &[u8; 32], server: &ServerKey) -> (Sensitive<String>, KeyHash) {
        (key_hash::text(id, random), server.hash(id.as_str(), random))
    }
}

impl ApiKey {
    fn ensure_restricted(&self) -> Result<(), ApiKeysFault> {
        let nowhere = self.sources.is_empty() && self.applications.is_empty();
        if nowhere || self.services.is_empty() {
            return Err(ApiKeysFault::Unrestricted { id: self.id.clone() });
        }
        let vague = |net: &&IpNet| net.prefix_len() == 0 || net.addr().to_canonical() != net.addr();
        match self.sources.iter().find(vague) {
            Some(net) => Err(ApiKeysFault::Source { id: self.id.clone(), source_net: *net }),
            None => Ok(()),
        }
    }

    fn ensure_permitted(&self, at: &KeyUse<'_>) -> Result<(), ApiKeyFault> {
        let id = || self.id.clone();
        if self.expires.is_some_and(|end| at.now >= end) {
            return Err(ApiKeyFault::Expired { id: id() });
        }
        // B12: `::ffff:192.0.2.1` is 192.0.2.1.
        let source = at.source.to_canonical();
        let from = self.sources.is_empty() || self.sources.iter().any(|net| net.contains(&source));
        let by =
            self.applications.is_empty() || at.application.is_some_and(|a| self.applications.contains(a));
        if !from || !by {
            return Err(ApiKeyFault::Elsewhere { id: id() });
        }
        if !self.services.contains(at.service) {
            return Err(ApiKeyFault::OtherService { id: id(), service: at.service.clone() });
        }
        Ok(())
    }

    fn principal(&self, issuer: &Name) -> Principal {
        Principal {
            proof: Proof::ApiKey,
            issuer: issuer.clone(),
            subject: Arc::clone(&self.owner),
            client: None,
            session: None,
            credential: Some(self.id.as_str().into()),
            scopes: self.scopes.clone(),
            roles: BTreeSet::new(),
            claims: BTreeMap::new(),
            binding: Binding::Bearer,
            assurance: self.assurance,
            expires: self.expires,
        }
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").field("count", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::b64;
    use crate::testing::{name, now, texts};

    const SECRET_BYTES: [u8; 32] = [0x5a; 32];

    fn server() -> ServerKey {
        ServerKey::new(&Sensitive::new([9; 32]))
    }

    fn key(id: &str) -> (String, ApiKey) {
        let (text, hash) = ApiKeys::generate(&name(id), &SECRET_BYTES, &server());
        let key = ApiKey {
            id: name(id),
            hash,
            owner: "warehouse".into(),
            sources: vec![
                "192.0.2.0/24".parse().expect("a network"),
                "2001:db8::/32".parse().expect("a network"),
            ],
            applications: BTreeSet::new(),
            services: BTreeSet::from([name("orders")]),
            scopes: texts(&["orders:read"]),
            assurance: Assurance::Low,
            expires: Some(now().plus(Duration::from_secs(60))),
        };
        (text.expose().clone(), key)
    }

    fn table(keys: Vec<ApiKey>) -> Result<ApiKeys, ApiKeysFault> {
        ApiKeys::new(&name("api-keys"), server(), keys)
    }

    /// One use, from the first network, of `orders`, now.
    fn used<'u>(service: &'u Name, source: &str) -> KeyUse<'u> {
        KeyUse { source: source.parse().expect("an address"), application: None, service, now: now() }
    }

    #[test]
    fn a_key_proves_its_owner() {
        let (text, key) = key("a_b_c");
        let table = table(vec![key]).expect("a table");
        let principal = table.check(&text, &used(&name("orders"), "192.0.2.7")).expect("is accepted");
        assert_eq!((principal.proof, principal.binding), (Proof::ApiKey, Binding::Bearer));
        assert_eq!((&*principal.subject, principal.credential.as_deref()), ("warehouse", Some("a_b_c")));
        assert_eq!(principal.scopes, texts(&["orders:read"]));
    }

    #[test]
    fn c6_a_table_vouches_for_what_its_keys_are_now() {
        let (text, key) = key("a_b_c");
        let before = table(vec![key.clone()]).expect("a table");
        let principal = before.check(&text, &used(&name("orders"), "192.0.2.7")).expect("is accepted");
        assert!(before.vouches(&principal));
        let narrowed = ApiKey { scopes: texts(&["orders:none"]), ..key };
        for after in [vec![], vec![narrowed]] {
            assert!(!table(after).expect("a table").vouches(&principal));
        }
    }

    #[test]
    fn ms_ss_1_4_a_key_works_from_its_sources_for_its_services_alone() {
        let (text, key) = key("stock");
        let table = table(vec![key]).expect("a table");
        let (orders, payments) = (name("orders"), name("payments"));
        let rows = [
            (used(&orders, "192.0.2.7"), "ok"),
            (used(&orders, "::ffff:192.0.2.7"), "ok"),
            (used(&orders, "2001:db8::1"), "ok"),
            (used(&orders, "192.0.3.7"), "elsewhere"),
            (used(&orders, "::192.0.2.7"), "elsewhere"),
            (used(&orders, "2001:db9::1"), "elsewhere"),
            (used(&payments, "192.0.2.7"), "service"),
            (KeyUse { now: now().plus(Duration::from_secs(60)), ..used(&orders, "192.0.2.7") }, "expired"),
        ];
        for (at, want) in rows {
            let got = match table.check(&text, &at) {
                Ok(_) => "ok",
                Err(ApiKeyFault::Elsewhere { .. }) => "elsewhere",
                Err(ApiKeyFault::OtherService { .. }) => "service",
                Err(ApiKeyFault::Expired { .. }) => "expired",
                Err(_) => "other",
            };
            assert_eq!(got, want, "{at:?}");
        }
    }

    #[test]
    fn ms_ss_1_4_a_key_of_an_application_needs_the_applications_certificate() {
        let (text, mut key) = key("stock");
        key.sources.clear();
        key.applications = texts(&["spiffe://shop.example/stock"]);
        let table = table(vec![key]).expect("a table");
        let orders = name("orders");
        let rows = [
            (Some("spiffe://shop.example/stock"), true),
            (Some("spiffe://shop.example/other"), false),
            (None, false),
        ];
        for (application, want) in rows {
            let at = KeyUse { application, ..used(&orders, "198.51.100.1") };
            assert_eq!(table.check(&text, &at).is_ok(), want, "{application:?}");
        }
    }

    #[test]
    fn ms_ss_1_4_an_unrestricted_key_does_not_load() {
        let broken: [fn(&mut ApiKey); 5] = [
            |k| k.sources.clear(),
            |k| k.services.clear(),
            |k| k.sources = vec!["0.0.0.0/0".parse().expect("a network")],
            |k| k.sources = vec!["::/0".parse().expect("a network")],
            |k| k.sources = vec!["::ffff:192.0.2.0/120".parse().expect("a network")],
        ];
        for (index, change) in broken.iter().enumerate() {
            let (_, mut key) = key("stock");
            change(&mut key);
            assert!(table(vec![key]).is_err(), "{index}");
        }
        let same = table(vec![key("stock").1, key("stock").1]).err();
        assert_eq!(same, Some(ApiKeysFault::SameId { id: name("stock") }));
    }

    #[test]
    fn c11_a_wrong_secret_and_an_unknown_id_look_the_same() {
        let (text, key) = key("stock");
        let table = table(vec![key]).expect("a table");
        let (orders, other) = (name("orders"), b64::encode([0; 32]));
        let wrong =
            [format!("pk_stock_{other}"), text.replacen("stock", "store", 1), format!("pk_store_{other}")];
        for presented in wrong {
            let found = table.check(&presented, &used(&orders, "192.0.2.7")).expect_err("is refused");
            assert_eq!(found, ApiKeyFault::Unknown, "{presented}");
            let elsewhere = table.check(&presented, &used(&orders, "203.0.113.1")).expect_err("is refused");
            assert_eq!(elsewhere, ApiKeyFault::Unknown, "the source tells a guesser nothing");
            assert_eq!(found.refusal().reason(), Reason::InvalidApiKey);
        }
    }

    #[test]
    fn c6_a_key_has_one_spelling() {
        let (text, key) = key("stock");
        let table = table(vec![key]).expect("a table");
        let orders = name("orders");
        let spellings = [
            "".into(),
            "pk_".into(),
            "pk__".into(),
            "é".repeat(30),
            format!("{text}="),
            format!("{text} "),
            text.replacen("pk_", "PK_", 1),
            text.replacen("pk_", "", 1),
            text.replacen("stock", "Stock", 1),
            format!("{}p", text.strip_suffix('o').expect("ends in o")),
            text.replacen("_stock_", "__", 1),
        ];
        for other in spellings {
            assert!(table.check(&other, &used(&orders, "192.0.2.7")).is_err(), "{other}");
        }
    }

    #[test]
    fn c13_a_stored_hash_is_good_for_its_own_line_and_server_alone() {
        let (text, mut key) = key("stock");
        assert_eq!(KeyHash::parse(&key.hash.to_string()), Some(key.hash));
        assert_eq!(KeyHash::parse("sha256:AA"), None);
        let shown = format!("{key:?}");
        assert!(!shown.contains(&b64::encode(SECRET_BYTES)) && shown.contains("[key hash]"));
        let orders = name("orders");
        let elsewhere = ApiKeys::new(&name("k"), ServerKey::new(&Sensitive::new([8; 32])), vec![key.clone()]);
        assert!(elsewhere.expect("a table").check(&text, &used(&orders, "192.0.2.7")).is_err());
        key.id = name("other");
        let moved = text.replacen("stock", "other", 1);
        assert!(table(vec![key]).expect("a table").check(&moved, &used(&orders, "192.0.2.7")).is_err());
    }
}
