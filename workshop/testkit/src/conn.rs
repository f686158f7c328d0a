//! A client that says exactly the bytes it is told: for framing, smuggling and slow-peer tests.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use crate::answer::{Answer, Ending};
use crate::duplex::{Duplex, Read1, read_some};

/// How long a read waits unless the test says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One connection and the bytes read from it that nobody has taken yet.
pub struct RawConn {
    stream: Box<dyn Duplex>,
    pending: Vec<u8>,
    alpn: Option<Vec<u8>>,
}

impl RawConn {
    /// Plain TCP.
    #[must_use]
    pub fn tcp(to: SocketAddr) -> Self {
        Self::over(dial(to), None)
    }

    /// TLS; a refused handshake is an error in rustls' words.
    ///
    /// # Errors
    /// What the handshake said.
    pub fn tls(to: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Result<Self, String> {
        Self::tls_over(dial(to), name, config)
    }

    /// TLS on a connection that exists, whatever was said on it before.
    ///
    /// # Errors
    /// What the handshake said.
    pub fn tls_over(mut tcp: TcpStream, name: &str, config: Arc<ClientConfig>) -> Result<Self, String> {
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        let mut conn = ClientConnection::new(config, name).map_err(|e| e.to_string())?;
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
        while conn.is_handshaking() {
            conn.complete_io(&mut tcp).map_err(|e| e.to_string())?;
        }
        let alpn = conn.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Self::over(StreamOwned::new(conn, tcp), alpn))
    }

    /// A unix socket.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        let stream =
            UnixStream::connect(path).unwrap_or_else(|e| panic!("connecting to {}: {e}", path.display()));
        Self::over(stream, None)
    }

    fn over(stream: impl Duplex + 'static, alpn: Option<Vec<u8>>) -> Self {
        Self { stream: Box::new(stream), pending: Vec::new(), alpn }
    }

    /// The application protocol that TLS agreed on.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Writes all of it. A peer that has already closed is not an error here: what it answered is the test.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.try_send(bytes);
        self
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The peer has closed or reset.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.stream.finish();
        self
    }

    /// Everything until the peer closes.
    ///
    /// # Panics
    /// If the peer has not closed within [`PATIENCE`].
    pub fn read_to_close(&mut self) -> Vec<u8> {
        self.read_to_close_within(PATIENCE).unwrap_or_else(|got| panic!("still open after: {}", lossy(&got)))
    }

    /// Everything until the peer closes, or `Err` with what came so far.
    ///
    /// # Errors
    /// The peer has not closed within `span`.
    pub fn read_to_close_within(&mut self, span: Duration) -> Result<Vec<u8>, Vec<u8>> {
        match self.read_until(span, |_| false) {
            Read1::Closed => Ok(std::mem::take(&mut self.pending)),
            _ => Err(std::mem::take(&mut self.pending)),
        }
    }

    /// Bytes up to and including `needle`; later ones stay for the next read.
    ///
    /// # Panics
    /// If `needle` has not come within [`PATIENCE`].
    pub fn read_past(&mut self, needle: &[u8]) -> Vec<u8> {
        self.read_until(PATIENCE, |got| find(got, needle).is_some());
        match find(&self.pending, needle) {
            Some(at) => self.pending.drain(..at + needle.len()).collect(),
            None => panic!("{} never came, only: {}", lossy(needle), lossy(&self.pending)),
        }
    }

    /// Exactly `count` bytes.
    ///
    /// # Panics
    /// If fewer come within [`PATIENCE`].
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        self.read_until(PATIENCE, |got| got.len() >= count);
        assert!(self.pending.len() >= count, "only {} of {count} bytes came", self.pending.len());
        self.pending.drain(..count).collect()
    }

    /// Whatever has come after at most `span`, which may be nothing.
    pub fn read_for(&mut self, span: Duration) -> Vec<u8> {
        self.read_until(span, |_| false);
        std::mem::take(&mut self.pending)
    }

    /// One whole final HTTP/1.1 answer (interim 1xx answers are skipped, 101 is final), framed as RFC 9112 §6.3.
    ///
    /// # Panics
    /// If no whole answer comes within [`PATIENCE`].
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// As [`RawConn::answer`], knowing the method: an answer to `HEAD` has no body.
    ///
    /// # Panics
    /// If no whole answer comes within [`PATIENCE`].
    pub fn answer_to(&mut self, method: &str) -> Answer {
        let method = method.to_owned();
        let ending = self.read_until(PATIENCE, |got| Answer::parse(got, &method, Ending::Open).is_some());
        let ending = if matches!(ending, Read1::Closed) { Ending::Closed } else { Ending::Open };
        match Answer::parse(&self.pending, &method, ending) {
            Some((answer, used)) => {
                self.pending.drain(..used);
                answer
            }
            None => panic!("no whole answer in: {}", lossy(&self.pending)),
        }
    }

    /// Sends one request and reads its answer.
    ///
    /// # Panics
    /// If no whole answer comes within [`PATIENCE`].
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let method: String =
            request.as_ref().iter().take_while(|b| **b != b' ').map(|b| char::from(*b)).collect();
        self.send(request);
        self.answer_to(&method)
    }

    /// True once the peer has closed, waiting up to `span`; bytes that come first are kept.
    pub fn closes_within(&mut self, span: Duration) -> bool {
        matches!(self.read_until(span, |_| false), Read1::Closed)
    }

    fn read_until(&mut self, span: Duration, done: impl Fn(&[u8]) -> bool) -> Read1 {
        let end = Instant::now() + span;
        loop {
            if done(&self.pending) {
                return Read1::Bytes;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Read1::TimedOut;
            }
            match read_some(self.stream.as_mut(), &mut self.pending, left) {
                Read1::Bytes => {}
                ending => return ending,
            }
        }
    }
}

/// Connects, or says where it could not.
pub(crate) fn dial(to: SocketAddr) -> TcpStream {
    let stream =
        TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|e| panic!("connecting to {to}: {e}"));
    stream.set_nodelay(true).expect("a TCP socket takes TCP_NODELAY");
    stream
}

/// Connects from this address of the machine, such as `127.0.0.2`.
///
/// # Panics
/// If the address cannot be had, or nobody listens.
#[must_use]
pub fn dial_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddr::new(from, 0)).unwrap_or_else(|e| panic!("binding {from}: {e}"));
    connect(&socket, &to).unwrap_or_else(|e| panic!("connecting from {from} to {to}: {e}"));
    TcpStream::from(socket)
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}
