//! Administration over mutual TLS: the same pages as the socket's, for administrators on other machines.
//!
//! INVARIANT: TLS 1.3 alone, HTTP/1.1 alone, and no resumption, since a client certificate counts (D2).
//! INVARIANT: an administrator is a certificate of the stated roots whose one name is listed; that is asked again at each
//! request, so a name that is taken off the list is out at once (D1, F1).
//! INVARIANT: whatever ends a connection before a request is on record; beyond a rate many of a kind share a line.
//!
//! Not here: pages, and what a browser may not ask (`pages`, `door`).
//!
//! Sources: SS028-11.3.3a, 11.3.3b; threats D1, D2, D8, E8, F1.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Clock, Name, Sensitive};
use portcullis_evidence::event::{Class, Connection as ConnectionEvent, ConnectionClass, Event};
use portcullis_evidence::{SafeText, Source, SourceForm};
use portcullis_identity::ClientCertificate;
use portcullis_net::Protocol;
use portcullis_net::listen::{
    CapLimits, ConnectionSlot, CoreListener, Drain, Listener, LoadBoard, Phase, SourceCaps,
};
use portcullis_net::tls::{
    CertificateSource, ClientAuth, ConnectionFacts, ServerTls, ServerTlsSource, TlsError, TlsVersions,
};
use portcullis_snapshot::holder;
use portcullis_snapshot::plan::AdminListener;
use portcullis_telemetry::coalesce::{Coalesce, Coalescer};
use portcullis_telemetry::{Chain, Level};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::door::{Asker, Door};
use super::{Admin, Places};

/// How many connections there may be: of all, of one source, and of one source that shake hands.
const CAPS: CapLimits = CapLimits { total: 64, per_source: 16, handshakes_per_source: 8 };
/// A handshake takes no longer than this.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Ends before a request that are written one by one, a second.
const WRITTEN: u32 = 5;

/// The TLS of a planned listener.
pub(super) fn admin_tls(planned: &AdminListener, clock: &Arc<dyn Clock>) -> Result<ServerTls, TlsError> {
    let key_pem = Sensitive::new(planned.certificate.key.expose().to_vec());
    let chain_pem = planned.certificate.chain.text.as_bytes();
    let source = ServerTlsSource {
        certificates: vec![CertificateSource { chain_pem, key_pem: &key_pem }],
        client_auth: ClientAuth::Required { authorities: &[planned.roots.text.as_bytes()] },
        versions: TlsVersions::Tls13Only,
    };
    ServerTls::build(&source, clock).map(|tls| tls.speaking_only(Protocol::Http1))
}

/// A single core's end of a listener.
pub(super) fn alone(listener: &Listener) -> io::Result<CoreListener> {
    let seat = LoadBoard::new(1).seat(0).ok_or_else(|| io::Error::other("a board without a seat"))?;
    listener.for_core(seat)
}

/// The listener while it is served.
pub(super) struct Listening {
    admin: Rc<Admin>,
    listener: CoreListener,
    caps: Arc<SourceCaps>,
    built: (AdminListener, Arc<ServerTls>),
    ends: Rc<RefCell<Coalescer>>,
}

impl Listening {
    pub(super) fn new(admin: &Rc<Admin>, (listener, tls): (Listener, Arc<ServerTls>)) -> io::Result<Self> {
        let planned = admin.state.plans.borrow().admin.listener.clone();
        let planned = planned.ok_or_else(|| io::Error::other("a listener that no plan names"))?;
        Ok(Self {
            admin: Rc::clone(admin),
            listener: alone(&listener)?,
            caps: SourceCaps::new(CAPS),
            built: (planned, tls),
            ends: Rc::new(RefCell::new(Coalescer::new(WRITTEN))),
        })
    }

    pub(super) async fn accept(mut self, mut drain: Drain) {
        let places = Places::new(CAPS.total);
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.reached(Phase::Draining) => break,
                _ = beat.tick() => { self.tell(); continue }
                accepted = self.listener.accept() => accepted,
            };
            let Ok(accepted) = accepted else { continue };
            let peer = accepted.peer;
            let slot = self.caps.enter().and_then(|place| place.of(peer.ip()));
            let visitor = Visitor { admin: Rc::clone(&self.admin), ends: Rc::clone(&self.ends), peer };
            match (slot, places.take()) {
                (Ok(slot), Some(place)) => {
                    let (tls, drain) = (self.tls(), drain.clone());
                    tokio::task::spawn_local(async move {
                        visitor.visit(accepted.stream, &tls, &slot, drain).await;
                        drop(place);
                    });
                }
                (Err(fault), _) => visitor.note(ConnectionClass::OverCap, fault.word()),
                (Ok(_), None) => visitor.note(ConnectionClass::OverCap, "connection-cap"),
            }
        }
        places.empty(drain).await;
    }

    /// The TLS of the plan in force. One that cannot be built leaves the one before.
    fn tls(&mut self) -> Arc<ServerTls> {
        let planned = self.admin.state.plans.borrow().admin.listener.clone();
        if let Some(planned) = planned.filter(|planned| *planned != self.built.0) {
            let desk = &self.admin.state.desk;
            let tls = match admin_tls(&planned, &desk.clock) {
                Ok(tls) => Arc::new(tls),
                Err(fault) => {
                    let text = "the certificates of `admin.listener` cannot be used; those before stay";
                    desk.say(Level::Error, text, &[("why", &Chain(&fault))]);
                    Arc::clone(&self.built.1)
                }
            };
            self.built = (planned, tls);
        }
        Arc::clone(&self.built.1)
    }

    /// Writes what was only counted.
    fn tell(&self) {
        let desk = &self.admin.state.desk;
        let wall = desk.now().wall;
        let _ = self.ends.borrow_mut().drain(wall, |counted| desk.record(&Event::Coalesced(counted)));
    }
}

/// Somebody who connected.
struct Visitor {
    admin: Rc<Admin>,
    ends: Rc<RefCell<Coalescer>>,
    peer: SocketAddr,
}

impl Visitor {
    async fn visit(&self, stream: TcpStream, tls: &ServerTls, slot: &ConnectionSlot, drain: Drain) {
        let accepted = {
            let _handshake = match slot.handshake() {
                Ok(handshake) => handshake,
                Err(fault) => return self.note(ConnectionClass::OverCap, fault.word()),
            };
            match tls.accept(stream, Instant::now() + HANDSHAKE).await {
                Ok(accepted) => accepted,
                Err(fault) => return self.note(class_of(fault.word()), fault.word()),
            }
        };
        let who = asker(&self.admin, &accepted.facts);
        match who {
            Ok(who) => self.admin.serve(accepted.stream, &who, Door::Listener(&accepted.facts), drain).await,
            Err(stranger) => self.admin.turn_away(&stranger),
        }
    }

    fn note(&self, class: ConnectionClass, fault: &'static str) {
        let desk = &self.admin.state.desk;
        let network = Source::of(self.peer.ip(), SourceForm::NETWORK);
        let noted = self.ends.borrow_mut().note(desk.now().wall, Class::Connection(class), network);
        if noted == Coalesce::Counted {
            return;
        }
        let listener = Name::parse("admin").ok();
        desk.note(&Event::Connection(ConnectionEvent {
            source: full(self.peer.ip()),
            via: None,
            listener: listener.as_ref(),
            class,
            fault,
            detail: SafeText::new(""),
            server_name: None,
            tls: None,
        }));
    }
}

fn full(address: IpAddr) -> Source {
    Source::of(address, SourceForm::Full)
}

fn class_of(word: &str) -> ConnectionClass {
    match word {
        word if word.starts_with("certificate-") => ConnectionClass::CertificateRefused,
        "handshake-timeout" => ConnectionClass::Timeout,
        _ => ConnectionClass::HandshakeFailed,
    }
}

/// The administrator whose certificate this is; else what the record calls the stranger.
fn asker(admin: &Admin, facts: &ConnectionFacts) -> Result<Asker, Asker> {
    let nobody = || Asker::Peer("a certificate that cannot be read".into());
    let leaf = facts.peer_leaf().ok_or_else(nobody)?;
    let certificate = ClientCertificate::read_leaf(leaf).map_err(|_| nobody())?;
    let issuer = Name::parse("administrators").map_err(|_| nobody())?;
    let plan = admin.state.plans.borrow();
    let listed = plan.admin.listener.as_ref().map_or(&[][..], |l| &l.names);
    let found = listed.iter().find_map(|name| holder(&certificate, name, &issuer));
    found.map(|principal| Asker::Peer(principal.subject)).ok_or_else(|| {
        let shown = certificate.uris().first().or(certificate.dns_names().first()).cloned();
        Asker::Peer(shown.unwrap_or_else(|| format!("x5t#S256 {}", certificate.x5t_s256())).into())
    })
}
