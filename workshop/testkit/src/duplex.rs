//! One byte stream, whatever is below it: TCP, TLS on either side, or a unix socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

/// Reads with a time limit and writes.
pub trait Duplex: Read + Write + Send {
    /// The longest that one read may block.
    ///
    /// # Errors
    /// What the socket says.
    fn limit_reads(&mut self, span: Duration) -> io::Result<()>;

    /// Says that no more bytes will come, and goes on reading.
    ///
    /// # Errors
    /// What the socket says.
    fn finish(&mut self) -> io::Result<()>;
}

impl Duplex for TcpStream {
    fn limit_reads(&mut self, span: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(span))
    }
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Duplex for UnixStream {
    fn limit_reads(&mut self, span: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(span))
    }
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Duplex for StreamOwned<ClientConnection, TcpStream> {
    fn limit_reads(&mut self, span: Duration) -> io::Result<()> {
        self.sock.set_read_timeout(Some(span))
    }
    fn finish(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.flush()
    }
}

impl Duplex for StreamOwned<ServerConnection, TcpStream> {
    fn limit_reads(&mut self, span: Duration) -> io::Result<()> {
        self.sock.set_read_timeout(Some(span))
    }
    fn finish(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.flush()
    }
}

/// What one bounded read found.
pub(crate) enum Read1 {
    Bytes,
    Closed,
    TimedOut,
}

/// Reads once, for at most `span`, and appends what came.
pub(crate) fn read_some(stream: &mut dyn Duplex, into: &mut Vec<u8>, span: Duration) -> Read1 {
    let mut chunk = [0; 16 * 1024];
    // A limit of zero would mean "for ever" to the socket.
    if stream.limit_reads(span.max(Duration::from_millis(1))).is_err() {
        return Read1::Closed;
    }
    match stream.read(&mut chunk) {
        Ok(0) => Read1::Closed,
        Ok(n) => {
            into.extend_from_slice(&chunk[..n]);
            Read1::Bytes
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Read1::TimedOut,
        // A reset, or TLS ended without `close_notify`: the peer is gone either way.
        Err(_) => Read1::Closed,
    }
}
