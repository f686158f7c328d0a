//! An upstream that plays a script, byte for byte, and keeps the exact bytes it was sent.
//!
//! Each connection plays the script from its first step on a thread of its own, and is closed at its end.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::conn::{PATIENCE, find};
use crate::duplex::{Duplex, Read1, read_some};

/// One thing that a scripted upstream does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads until these bytes have come since the last step, or the peer has closed.
    ReadPast(Vec<u8>),
    /// Reads until this many bytes have come since the last step, or the peer has closed.
    ReadBytes(usize),
    /// Writes exactly these bytes.
    Send(Vec<u8>),
    /// Reads until the peer closes.
    ReadToClose,
}

impl Step {
    /// Reads one request head.
    #[must_use]
    pub fn head() -> Self {
        Self::ReadPast(b"\r\n\r\n".to_vec())
    }

    /// Writes these bytes.
    #[must_use]
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(bytes.as_ref().to_vec())
    }
}

/// A listener on loopback that plays its script on every connection.
pub struct ScriptedUpstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    stopped: Arc<AtomicBool>,
}

impl ScriptedUpstream {
    /// Plain TCP on 127.0.0.1.
    #[must_use]
    pub fn start(script: Vec<Step>) -> Self {
        Self::listen(script, None)
    }

    /// TLS on 127.0.0.1.
    #[must_use]
    pub fn start_tls(script: Vec<Step>, config: Arc<ServerConfig>) -> Self {
        Self::listen(script, Some(config))
    }

    /// Reads one request head, writes `answer`, closes.
    #[must_use]
    pub fn answering(answer: impl AsRef<[u8]>) -> Self {
        Self::start(vec![Step::head(), Step::send(answer)])
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The exact bytes that each connection has sent so far, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All bytes of all connections, as text.
    #[must_use]
    pub fn received_text(&self) -> String {
        self.received().iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect()
    }

    fn listen(script: Vec<Step>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let stopped: Arc<AtomicBool> = Arc::default();
        let (kept, stop) = (Arc::clone(&received), Arc::clone(&stopped));
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let (script, tls, kept) = (script.clone(), tls.clone(), Arc::clone(&kept));
                // A connection's thread ends with its script; every step has a deadline.
                let _ = thread::Builder::new()
                    .name("scripted".to_owned())
                    .spawn(move || serve(stream, tls, &script, &kept));
            }
        };
        thread::Builder::new().name("scripted-accept".to_owned()).spawn(accept).expect("a thread");
        Self { address, received, stopped }
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the accepting thread, which then sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(100));
    }
}

fn serve(tcp: TcpStream, tls: Option<Arc<ServerConfig>>, script: &[Step], kept: &Mutex<Vec<Vec<u8>>>) {
    let _ = tcp.set_nodelay(true);
    let mut stream: Box<dyn Duplex> = match tls {
        None => Box::new(tcp),
        Some(config) => {
            Box::new(StreamOwned::new(ServerConnection::new(config).expect("a good config"), tcp))
        }
    };
    let slot = {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(Vec::new());
        kept.len() - 1
    };
    let mut recorder = Recorder { kept, slot, taken: 0 };
    for step in script {
        if recorder.play(stream.as_mut(), step).is_err() {
            return;
        }
    }
    let _ = stream.finish();
}

struct Recorder<'a> {
    kept: &'a Mutex<Vec<Vec<u8>>>,
    slot: usize,
    /// How far earlier steps have read.
    taken: usize,
}

impl Recorder<'_> {
    fn play(&mut self, stream: &mut dyn Duplex, step: &Step) -> std::io::Result<()> {
        match step {
            Step::Send(bytes) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Step::ReadPast(needle) => self.read(stream, |got| find(got, needle).map(|at| at + needle.len())),
            Step::ReadBytes(count) => self.read(stream, |got| (got.len() >= *count).then_some(*count)),
            Step::ReadToClose => self.read(stream, |_| None),
        }
    }

    fn read(
        &mut self,
        stream: &mut dyn Duplex,
        done: impl Fn(&[u8]) -> Option<usize>,
    ) -> std::io::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = done(&self.lock()[self.slot][self.taken..]);
            if let Some(used) = found {
                self.taken += used;
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            let mut more = Vec::new();
            let outcome = read_some(stream, &mut more, left);
            self.lock()[self.slot].extend_from_slice(&more);
            if !matches!(outcome, Read1::Bytes) {
                return Ok(());
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawConn;

    #[test]
    fn it_says_its_script_and_remembers_what_it_was_told() {
        let upstream = ScriptedUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        let mut conn = RawConn::tcp(upstream.address());
        let answer = conn.exchange("GET /a HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
        assert!(conn.read_to_close().is_empty());
        assert_eq!(upstream.received_text(), "GET /a HTTP/1.1\r\nhost: x\r\n\r\n");
    }
}
