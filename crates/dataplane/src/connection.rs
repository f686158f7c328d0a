//! What is known about a connection, for all of its requests.
//!
//! INVARIANT: a client certificate is read once, when the connection is accepted, and names a caller only by an entry of
//! the configuration in force; otherwise it still binds tokens (RFC 8705 §3) but identifies nobody. After its end it proves
//! nothing, however long the connection stays open (D2).
//!
//! Not here: TLS and framing themselves (`portcullis-net`).

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use portcullis_core::{Generation, Name, Principal, Refusal, UnixMillis};
use portcullis_evidence::event::TlsVersion;
use portcullis_identity::ClientCertificate;
use portcullis_net::guard::meter::MeterHandle;
use portcullis_net::guard::{DownstreamHandle, Fault, MinRate};
use portcullis_net::tls::{ConnectionFacts, TlsVersion as NetTlsVersion};
use portcullis_snapshot::holder;
use portcullis_snapshot::plan::{ClientAuthority, Plan};

use crate::arrive::Ends;
use crate::body::BodyRules;
use crate::core_state::Snapshot;
use crate::upgrade::Pending;
use crate::{settings, trailers};

/// One connection of a caller.
pub(crate) struct Connection {
    ends: Ends,
    facts: Option<ConnectionFacts>,
    client: Option<Client>,
    framing: Framing,
    header_count: usize,
    trailers: trailers::Limits,
    pace: MinRate,
    pending: RefCell<Option<Pending>>,
    upgrade: Cell<Upgrade>,
}

/// Whether the guard waits to hear what became of an upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Upgrade {
    #[default]
    None,
    Open,
}

/// Who frames the messages.
pub(crate) enum Framing {
    /// The head guard.
    Http1(DownstreamHandle),
    /// The HTTP/2 codec, behind the meter.
    Http2(MeterHandle),
}

/// What a client certificate proves.
pub(crate) struct Client {
    /// Its SHA-256, which tokens are bound to.
    pub thumbprint: [u8; 32],
    /// When it ends.
    pub ends: UnixMillis,
    certificate: ClientCertificate,
    voucher: Option<Voucher>,
    /// What the configuration made of it, and since when it says so.
    known: RefCell<Option<(Generation, Option<Arc<Principal>>)>>,
}

/// The authority that verified the certificate, as it was then.
struct Voucher {
    name: Name,
    roots: Arc<str>,
}

impl Client {
    /// The caller that an entry of the configuration in force makes of it.
    pub(crate) fn caller(&self, snapshot: &Snapshot) -> Option<Arc<Principal>> {
        let since = snapshot.compiled.tls_since;
        let mut known = self.known.borrow_mut();
        match &*known {
            Some((of, caller)) if *of == since => caller.clone(),
            _ => {
                let caller = self.read(&snapshot.plan).map(Arc::new);
                *known = Some((since, caller.clone()));
                caller
            }
        }
    }

    /// SECURITY: only the authority that verified the chain says whose a name is (D3), and only while it is trusted.
    fn read(&self, plan: &Plan) -> Option<Principal> {
        let voucher = self.voucher.as_ref()?;
        let mut authorities = plan.gateway.client_certificates.authorities.iter();
        let authority = authorities.find(|a| a.name == voucher.name && a.roots.text == voucher.roots)?;
        caller(&self.certificate, authority)
    }
}

impl Connection {
    /// A connection after its handshake.
    pub(crate) fn new(ends: Ends, facts: Option<ConnectionFacts>, framing: Framing, plan: &Plan) -> Self {
        let client = facts.as_ref().and_then(|facts| read_client(facts, plan));
        let guard = settings::guard_limits(plan);
        Self {
            ends,
            facts,
            client,
            framing,
            header_count: guard.fields,
            trailers: trailers::Limits { count: guard.trailers, bytes: guard.trailer_bytes },
            pace: settings::guard_timeouts(plan).body,
            pending: RefCell::default(),
            upgrade: Cell::default(),
        }
    }

    /// Where it came from.
    pub(crate) fn ends(&self) -> Ends {
        self.ends
    }

    /// The certificate that was shown, for the record.
    pub(crate) fn certificate(&self) -> Option<&[u8; 32]> {
        self.client.as_ref().map(|client| &client.thumbprint)
    }

    /// What its certificate proves at `now`: nothing after its end.
    pub(crate) fn client(&self, now: UnixMillis) -> Option<&Client> {
        self.client.as_ref().filter(|client| now < client.ends)
    }

    /// The most header fields of a request.
    pub(crate) fn header_count(&self) -> usize {
        self.header_count
    }

    /// The largest trailer section, either way.
    pub(crate) fn trailers(&self) -> trailers::Limits {
        self.trailers
    }

    /// What a body of at most `most` bytes is held to. In HTTP/1.1 the guard knows its pace.
    pub(crate) fn body_rules(&self, most: u64) -> BodyRules {
        let pace = matches!(self.framing, Framing::Http2(_)).then_some(self.pace);
        BodyRules { most, trailers: self.trailers, pace }
    }

    /// Whether a request for `host` belongs on this connection; 421 if not (D1).
    pub(crate) fn serves(&self, host: &str) -> bool {
        self.facts.as_ref().is_none_or(|facts| facts.serves_authority(host))
    }

    /// The TLS version, for the record.
    pub(crate) fn tls_version(&self) -> Option<TlsVersion> {
        self.facts.as_ref().map(|facts| match facts.version() {
            NetTlsVersion::Tls12 => TlsVersion::V12,
            NetTlsVersion::Tls13 => TlsVersion::V13,
        })
    }

    /// The guard's verdict on the request that was just delivered.
    ///
    /// # Errors
    /// It stands for a head that had no single reading.
    pub(crate) fn verdict(&self) -> Result<(), Refusal> {
        match &self.framing {
            Framing::Http1(guard) => guard.next_request().map_err(|f| Refusal::new(f.reason(), f.class())),
            Framing::Http2(_) => Ok(()),
        }
    }

    /// The request that was just framed asks for an upgrade: the guard holds what comes behind it.
    pub(crate) fn holds(&self) {
        self.upgrade.set(Upgrade::Open);
    }

    /// The upgrade is granted: what was held passes, and the tunnel begins when HTTP has ended here.
    pub(crate) fn pend(&self, tunnel: Pending) {
        if let Framing::Http1(guard) = &self.framing {
            guard.tunnel();
            self.upgrade.set(Upgrade::None);
            *self.pending.borrow_mut() = Some(tunnel);
        }
    }

    /// The tunnel that was granted.
    pub(crate) fn take_pending(&self) -> Option<Pending> {
        self.pending.borrow_mut().take()
    }

    /// What the guard found, if it broke the connection.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match &self.framing {
            Framing::Http1(guard) => guard.fault(),
            Framing::Http2(meter) => meter.fault(),
        }
    }

    /// An answer that is no upgrade: if one was asked for, what was held is read as requests.
    pub(crate) fn settle(&self) {
        // Only then: a wish that nobody waits for would meet the next upgrade.
        if let (Framing::Http1(guard), Upgrade::Open) = (&self.framing, self.upgrade.replace(Upgrade::None)) {
            guard.resume();
        }
    }

    /// The answer to a request is over.
    pub(crate) fn answered(&self) {
        if let Framing::Http1(guard) = &self.framing {
            guard.answered();
        }
    }
}

fn read_client(facts: &ConnectionFacts, plan: &Plan) -> Option<Client> {
    let certificate = ClientCertificate::read_leaf(facts.peer_leaf()?).ok()?;
    let authorities = &plan.gateway.client_certificates.authorities;
    let authority = facts.peer_authority().and_then(|place| authorities.get(place));
    let voucher = |a: &ClientAuthority| Voucher { name: a.name.clone(), roots: Arc::clone(&a.roots.text) };
    Some(Client {
        thumbprint: *certificate.thumbprint(),
        ends: certificate.not_after(),
        certificate,
        voucher: authority.map(voucher),
        known: RefCell::default(),
    })
}

/// The principal that an authority's entry makes of a certificate.
fn caller(certificate: &ClientCertificate, authority: &ClientAuthority) -> Option<Principal> {
    authority.callers.iter().find_map(|entry| {
        let mut principal = holder(certificate, &entry.certificate, &authority.name)?;
        principal.scopes.clone_from(&entry.scopes);
        principal.roles.clone_from(&entry.roles);
        principal.assurance = authority.assurance;
        Some(principal)
    })
}
