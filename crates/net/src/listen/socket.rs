//! The listening socket and each core's way to take from it.
//!
//! INVARIANT: no error of `accept` ends the listener or makes it spin: what the system is short of is waited for.
//!
//! Sources: accept(2) ERRORS, socket(7), ipv6(7); threats B12, E8.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Occupied, Seat};
use crate::address::fold;

/// How long a core leaves a waiting connection to others that have fewer. SECURITY: a bound, so that one stuck core
/// cannot starve newcomers.
const PATIENCE: Duration = Duration::from_millis(50);

/// The first and the longest pause after the system ran out of descriptors or memory.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A listening socket, before it is shared out to cores.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindFault {
    /// The address cannot be had.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// As it was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The descriptor that was handed in is of no use.
    #[error("the descriptor that was handed over is not a listening TCP socket")]
    Descriptor(#[source] io::Error),
}

/// Why nothing was accepted. The pause that the fault needs has passed already: call again.
#[derive(Debug, thiserror::Error)]
#[error("the system has no room for another connection (accept paused for {} ms)", paused.as_millis())]
pub struct AcceptFault {
    /// What the system said.
    #[source]
    pub cause: io::Error,
    /// How long the listener held still.
    pub paused: Duration,
}

/// One core's end of a [`Listener`].
#[derive(Debug)]
pub struct CoreListener {
    socket: tokio::net::TcpListener,
    local: SocketAddr,
    seat: Seat,
    pause: Duration,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// The bytes, with `TCP_NODELAY` on.
    pub stream: TcpStream,
    /// Who connected, folded.
    pub peer: SocketAddr,
    /// The address that the listener is bound to, folded.
    pub local: SocketAddr,
    /// The place on the load board.
    pub seat: Occupied,
}

impl Listener {
    /// Binds `address`. The IPv6 wildcard takes IPv4 callers too.
    ///
    /// # Errors
    /// The system refuses.
    pub fn bind(address: SocketAddr, backlog: i32) -> Result<Self, BindFault> {
        let listen = || -> io::Result<Self> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            if address.is_ipv6() {
                socket.set_only_v6(!address.ip().is_unspecified())?;
            }
            socket.set_reuse_address(true)?;
            // Inherited by every accepted connection, which saves a system call each.
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(backlog)?;
            Ok(Self { socket: socket.into() })
        };
        listen().map_err(|cause| BindFault::Bind { address, cause })
    }

    /// Takes over a socket that another process bound.
    ///
    /// # Errors
    /// It is not a listening TCP socket.
    pub fn from_fd(descriptor: OwnedFd) -> Result<Self, BindFault> {
        let adopt = || -> io::Result<Self> {
            let socket = Socket::from(descriptor);
            let fits = socket.is_listener()? && socket.protocol()? == Some(Protocol::TCP);
            if !fits {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            Ok(Self { socket: socket.into() })
        };
        adopt().map_err(BindFault::Descriptor)
    }

    /// The bound address, which names the port when 0 was asked for.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// A core's own end. Call it on that core's runtime.
    ///
    /// # Errors
    /// No descriptor is left, or there is no runtime.
    pub fn for_core(&self, seat: Seat) -> io::Result<CoreListener> {
        let socket = tokio::net::TcpListener::from_std(self.socket.try_clone()?)?;
        let local = fold(self.local_addr()?);
        Ok(CoreListener { socket, local, seat, pause: PAUSE.0 })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl CoreListener {
    /// Takes the next connection, when it is this core's turn. Can be dropped at any point without losing one.
    ///
    /// # Errors
    /// The system had no room; the pause is over when this returns.
    pub async fn accept(&mut self) -> Result<Connection, AcceptFault> {
        loop {
            match self.take_one().await {
                Ok(connection) => {
                    self.pause = PAUSE.0;
                    return Ok(connection);
                }
                Err(cause) if is_about_one_connection(&cause) => {}
                Err(cause) => return Err(self.hold_still(cause).await),
            }
        }
    }

    async fn take_one(&self) -> io::Result<Connection> {
        let mut turn = self.seat.may_accept();
        loop {
            if !turn {
                // Others have fewer: theirs, unless they do not come.
                turn = timeout(PATIENCE, self.seat.free()).await.is_err() || self.seat.may_accept();
                continue;
            }
            if let Some(taken) = self.try_accept().await {
                return Ok(self.welcome(taken?));
            }
            woken().await;
            turn = self.seat.may_accept();
        }
    }

    /// Takes what is waiting; `None` leaves this task's waker with the socket.
    async fn try_accept(&self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        poll_fn(|cx| match self.socket.poll_accept(cx) {
            Poll::Ready(taken) => Poll::Ready(Some(taken)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn welcome(&self, (stream, peer): (TcpStream, SocketAddr)) -> Connection {
        Connection { stream, peer: fold(peer), local: self.local, seat: self.seat.occupy() }
    }

    async fn hold_still(&mut self, cause: io::Error) -> AcceptFault {
        let paused = self.pause;
        self.pause = (paused * 2).min(PAUSE.1);
        sleep(paused).await;
        AcceptFault { cause, paused }
    }
}

/// Waits for the next wake-up of this task, whoever causes it.
async fn woken() {
    let mut first = true;
    poll_fn(|_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// Errors of the connection that was to be accepted, not of the listener (accept(2)).
fn is_about_one_connection(cause: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        cause.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::NotConnected
            | Kind::Interrupted
            | Kind::TimedOut
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::super::LoadBoard;
    use super::*;

    fn core_listeners(address: &str, cores: usize) -> (SocketAddr, Vec<CoreListener>) {
        let listener = Listener::bind(address.parse().unwrap(), 64).unwrap();
        let board = LoadBoard::new(cores);
        let ends = (0..cores).map(|c| listener.for_core(board.seat(c).unwrap()).unwrap()).collect();
        (listener.local_addr().unwrap(), ends)
    }

    #[tokio::test]
    async fn b12_a_v4_caller_of_a_dual_stack_socket_is_a_v4_caller() {
        let (bound, mut cores) = core_listeners("[::]:0", 1);
        let _client = TcpStream::connect(("127.0.0.1", bound.port())).await.unwrap();
        let got = cores[0].accept().await.unwrap();
        assert!(got.peer.is_ipv4(), "{}", got.peer);
        assert!(got.stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn two_cores_share_eight_connections_evenly() {
        let (bound, mut cores) = core_listeners("127.0.0.1:0", 2);
        let (mut right, mut left) = (cores.pop().unwrap(), cores.pop().unwrap());
        let mut counts = [0, 0];
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(TcpStream::connect(bound).await.unwrap());
        }
        let mut taken = Vec::new();
        for _ in 0..8 {
            let (core, connection) = tokio::select! {
                biased; // the left core is always asked first and would take all
                got = left.accept() => (0, got.unwrap()),
                got = right.accept() => (1, got.unwrap()),
            };
            counts[core] += 1;
            taken.push(connection);
        }
        assert_eq!(counts, [4, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_the_emptier_core_does_not_take_is_taken_by_the_other() {
        let (bound, mut cores) = core_listeners("127.0.0.1:0", 2);
        let _clients = (TcpStream::connect(bound).await.unwrap(), TcpStream::connect(bound).await.unwrap());
        let _first = cores[0].accept().await.unwrap();
        // Core 1 is stuck and never asks.
        let _second = cores[0].accept().await.unwrap();
        assert_eq!(cores[0].seat.open(), 2);
    }

    #[tokio::test]
    async fn a_core_that_waits_for_its_turn_takes_what_came_meanwhile() {
        let (bound, mut cores) = core_listeners("127.0.0.1:0", 2);
        let (mut right, mut left) = (cores.pop().unwrap(), cores.pop().unwrap());
        let _one = TcpStream::connect(bound).await.unwrap();
        let first = left.accept().await.unwrap();
        let waits = tokio::spawn(async move { left.accept().await.unwrap() });
        let _two = TcpStream::connect(bound).await.unwrap();
        let _three = TcpStream::connect(bound).await.unwrap();
        let second = right.accept().await.unwrap();
        let third = waits.await.unwrap();
        drop((first, second, third));
    }

    #[tokio::test]
    async fn a_listener_is_handed_over_by_descriptor_and_nothing_else_is() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 8).unwrap();
        let bound = listener.local_addr().unwrap();
        let copy = listener.as_fd().try_clone_to_owned().unwrap();
        drop(listener);
        let adopted = Listener::from_fd(copy).unwrap();
        let mut core = adopted.for_core(LoadBoard::new(1).seat(0).unwrap()).unwrap();
        let mut client = TcpStream::connect(bound).await.unwrap();
        drop(core.accept().await.unwrap());
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);

        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Listener::from_fd(file.into()), Err(BindFault::Descriptor(_))));
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(Listener::from_fd(udp.into()), Err(BindFault::Descriptor(_))));
    }

    #[test]
    fn an_address_in_use_is_named() {
        let held = Listener::bind("127.0.0.1:0".parse().unwrap(), 8).unwrap();
        let address = held.local_addr().unwrap();
        let fault = Listener::bind(address, 8).unwrap_err();
        assert_eq!(fault.to_string(), format!("cannot listen on `{address}`"));
    }

    #[tokio::test(start_paused = true)]
    async fn e8_a_shortage_pauses_longer_and_longer_but_never_long() {
        let (_, mut cores) = core_listeners("127.0.0.1:0", 1);
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            let fault = cores[0].hold_still(io::Error::from_raw_os_error(24)).await;
            assert!(fault.paused >= last && fault.paused <= PAUSE.1);
            last = fault.paused;
        }
        assert_eq!(last, PAUSE.1);
    }
}
