//! Listening: sockets, fairness between cores, caps per source, drain.
//!
//! One listening socket is shared by all cores. A core takes a connection only while it holds about as few as the
//! others ([`LoadBoard`]), since `SO_REUSEPORT` alone puts a handful of HTTP/2 connections on one core.
//!
//! INVARIANT: every address that leaves this module is folded (B12).
//! INVARIANT: what is counted here is given back by dropping a guard, on every path.
//!
//! Not here: TLS, the PROXY protocol, what to do with a connection.

mod board;
mod caps;
mod drain;
mod handshakes;
mod socket;

pub use board::{LoadBoard, Occupied, Seat};
pub use caps::{CapFault, CapLimits, ConnectionSlot, HandshakeSlot, Place, SourceCaps, Unnamed};
pub use drain::{Drain, DrainSwitch, Phase};
pub use handshakes::{CoreHandshakes, HandshakeTurn};
pub use socket::{AcceptFault, BindFault, Connection, CoreListener, Listener};
