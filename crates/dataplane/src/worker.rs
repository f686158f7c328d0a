//! One core: its runtime, its connections, its caches.
//!
//! INVARIANT: a connection stays on the core that accepted it.
//! INVARIANT: a connection holds no generation while it serves, so that old ones go though it lives on.
//! INVARIANT: whatever ends a connection before it reached the line is an event, and counted (DESIGN §4).
//!
//! Not here: who starts a core (`edge`), who is at the other end (`arrive`), what a request means (`line`).
//!
//! Sources: threats D8, E1-E5, E8; SS028-11.3.3a.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::RequestId;
use portcullis_evidence::event::{Class, Connection as ConnectionEvent, ConnectionClass, Event};
use portcullis_evidence::{SafeText, Source, SourceForm};
use portcullis_net::Protocol;
use portcullis_net::guard::meter::Meter;
use portcullis_net::guard::{Downstream, Leg};
use portcullis_net::listen::{
    self, ConnectionSlot, CoreHandshakes, CoreListener, Drain, Listener, Phase, Seat, SourceCaps,
};
use portcullis_net::serve::{self, Ended};
use portcullis_net::tls::{ConnectionFacts, ServerStream};
use portcullis_telemetry::coalesce::Coalesce;
use portcullis_telemetry::journal::Recorder;
use portcullis_telemetry::metrics::{CoreLabel, Gauge};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::arrive::{Arrived, End, Ends, arrive};
use crate::connection::{Connection, Framing};
use crate::core_state::{Core, Shared, Snapshot};
use crate::line;
use crate::settings;

/// Something that the process asks of a core.
pub(crate) enum Ask {
    /// The explanation of a recent decision, if it was made here.
    Explain(RequestId, oneshot::Sender<Option<String>>),
}

/// What a core is started with.
pub(crate) struct Worker {
    pub shared: Arc<Shared>,
    pub recorder: Recorder,
    pub listeners: Vec<(Arc<Listener>, Seat)>,
    pub caps: Arc<SourceCaps>,
    pub drain: Drain,
    pub asks: mpsc::Receiver<Ask>,
    /// How many cores there are.
    pub cores: u16,
    pub handshakes: u16,
}

impl Worker {
    /// Runs the core until it is drained.
    pub(crate) fn run(self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.serve())
    }

    async fn serve(mut self) -> std::io::Result<()> {
        let core = Rc::new(Core::new(self.shared, self.recorder, self.cores));
        let handshakes = CoreHandshakes::new(self.handshakes);
        let label = CoreLabel::new(core.recorder.worker());
        let open = core.shared.metrics.all().core_connections.at(&label);
        for (listener, seat) in self.listeners {
            let listener = listener.for_core(seat)?;
            let (core, caps) = (Rc::clone(&core), Arc::clone(&self.caps));
            let (handshakes, drain) = (handshakes.clone(), self.drain.clone());
            let door = Door { core, caps, handshakes, drain, open: open.clone() };
            tokio::task::spawn_local(accept(door, listener));
        }
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = self.drain.reached(Phase::Forcing) => return Ok(()),
                _ = beat.tick() => core.tend(),
                ask = self.asks.recv() => match ask {
                    Some(Ask::Explain(id, answer)) => {
                        let _ = answer.send(crate::explain::explain(&core, id));
                    }
                    // The process has let go of this core: the drain is over.
                    None => return Ok(()),
                },
            }
        }
    }
}

/// What every connection of a core needs.
#[derive(Clone)]
struct Door {
    core: Rc<Core>,
    caps: Arc<SourceCaps>,
    handshakes: CoreHandshakes,
    drain: Drain,
    /// How many connections the core has.
    open: Gauge,
}

async fn accept(mut door: Door, mut listener: CoreListener) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.drain.reached(Phase::Draining) => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok(accepted) = accepted {
            tokio::task::spawn_local(connection(door.clone(), accepted));
        }
    }
}

/// The whole life of a connection.
async fn connection(door: Door, accepted: listen::Connection) {
    let metrics = Arc::clone(door.core.shared.metrics.all());
    metrics.connections.inc();
    metrics.connections_open.inc();
    door.open.inc();
    if let Err((ends, End { class, fault })) = serve_connection(&door, accepted).await {
        door.core.shared.metrics.rejected(fault);
        note(&door.core, ends, class, fault);
    }
    door.open.dec();
    metrics.connections_open.dec();
}

async fn serve_connection(door: &Door, accepted: listen::Connection) -> Result<(), (Ends, End)> {
    let listen::Connection { mut stream, peer, seat: _seat, .. } = accepted;
    let idle = End { class: ConnectionClass::OverCap, fault: "no-generation" };
    let snapshot = door.core.snapshot(door.core.now()).map_err(|_| (Ends::direct(peer), idle))?;
    let deadline = Instant::now() + snapshot.plan.gateway.timeouts.handshake.as_duration();
    let Arrived { slot, ends } = arrive(&door.caps, &snapshot.balancers, &mut stream, peer, deadline).await?;
    serve_known(door, snapshot, (&slot, ends), stream, deadline).await.map_err(|end| (ends, end))
}

async fn serve_known(
    door: &Door,
    snapshot: Arc<Snapshot>,
    (slot, ends): (&ConnectionSlot, Ends),
    stream: TcpStream,
    deadline: Instant,
) -> Result<(), End> {
    let (stream, facts) = {
        let _handshake = slot.handshake()?;
        shake(door, &snapshot, stream, deadline).await?
    };
    match facts.protocol() {
        Protocol::Http1 => serve_http1(door, snapshot, ends, stream, facts).await,
        Protocol::Http2 => serve_http2(door, snapshot, ends, stream, facts).await,
    }
}

async fn shake(
    door: &Door,
    snapshot: &Snapshot,
    stream: TcpStream,
    deadline: Instant,
) -> Result<(Box<ServerStream<TcpStream>>, ConnectionFacts), End> {
    let core = &door.core;
    let began = core.now();
    let late = End { class: ConnectionClass::Timeout, fault: "handshake-queue" };
    let _turn = door.handshakes.turn(deadline).await.ok_or(late)?;
    let shaken = snapshot.tls.accept(stream, deadline).await;
    let accepted = shaken.map_err(|fault| {
        core.shared.metrics.handshake_failed(&fault);
        End { class: ConnectionClass::HandshakeFailed, fault: fault.word() }
    })?;
    let took = core.now().mono.saturating_duration_since(began.mono);
    core.shared.metrics.shook(took);
    // Boxed: its kilobyte would stand in the future of the connection once for each layer above it.
    Ok((Box::new(accepted.stream), accepted.facts))
}

async fn serve_http1(
    door: &Door,
    snapshot: Arc<Snapshot>,
    ends: Ends,
    stream: Box<ServerStream<TcpStream>>,
    facts: ConnectionFacts,
) -> Result<(), End> {
    let limits = settings::guard_limits(&snapshot.plan);
    let (guarded, handle) = Downstream::new(stream, limits.clone(), settings::guard_timeouts(&snapshot.plan));
    let known = Connection::new(ends, Some(facts), Framing::Http1(handle), &snapshot.plan);
    let known = Rc::new(known);
    drop(snapshot);
    // Boxed once, at the door: whoever holds or wraps the request's future then moves a pointer, not kilobytes.
    let service = |request| line::begin(&door.core, &known, request);
    let ended = serve::serve_http1(guarded, service, &limits, door.drain.clone()).await;
    if let Some(fault) = known.fault() {
        door.core.shared.metrics.guard_fault(fault.class());
    }
    match ended {
        Ok(Ended::Switched { stream, leading }) => {
            if let Some(tunnel) = known.take_pending() {
                // Boxed: few connections become tunnels, and every connection would carry the room for one.
                Box::pin(tunnel.run(stream, leading)).await;
            }
            Ok(())
        }
        Ok(_) => Ok(()),
        // A fault in a head was answered and recorded by the line; one in a pause was not.
        Err(_) => match known.fault() {
            Some(fault) => Err(End { class: ConnectionClass::GuardFault, fault: fault.class() }),
            None => Ok(()),
        },
    }
}

async fn serve_http2(
    door: &Door,
    snapshot: Arc<Snapshot>,
    ends: Ends,
    stream: Box<ServerStream<TcpStream>>,
    facts: ConnectionFacts,
) -> Result<(), End> {
    let (metered, handle) = Meter::new(stream, Leg::Downstream, settings::meter_limits(&snapshot.plan));
    let known = Connection::new(ends, Some(facts), Framing::Http2(handle), &snapshot.plan);
    let known = Rc::new(known);
    let core = Rc::clone(&door.core);
    let service = |request| line::begin(&core, &known, request);
    let settings = settings::http2(&snapshot.plan);
    drop(snapshot);
    let ended = serve::serve_http2(metered, service, &settings, door.drain.clone()).await;
    match (known.fault(), ended) {
        (Some(fault), _) => {
            door.core
                .shared
                .metrics
                .all()
                .h2_floods
                .at(&portcullis_telemetry::metrics::Word(fault.class()))
                .inc();
            Err(End { class: ConnectionClass::Flood, fault: fault.class() })
        }
        (None, Err(_)) => Err(End { class: ConnectionClass::ProtocolError, fault: "http2-protocol" }),
        (None, Ok(_)) => Ok(()),
    }
}

/// Records what never reached the line; beyond a rate, many of a kind share a line.
fn note(core: &Core, ends: Ends, class: ConnectionClass, fault: &'static str) {
    let now = core.now();
    let network = Source::of(ends.source, SourceForm::NETWORK);
    if core.coalesce(Class::Connection(class), network, now) == Coalesce::Counted {
        return;
    }
    let event = Event::Connection(ConnectionEvent {
        source: Source::of(ends.source, SourceForm::Full),
        via: ends.via.map(|via| Source::of(via, SourceForm::Full)),
        listener: None,
        class,
        fault,
        detail: SafeText::new(""),
        server_name: None,
        tls: None,
    });
    let _ = core.recorder.record(now, RequestId::new(now.wall, core.random_wide()), &event);
}
