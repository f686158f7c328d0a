//! An upstream that answers with exactly the bytes it is told, changed by the test while it runs.
//!
//! Each request's head is read, a body of the announced length is taken, then the bytes of now are sent; the
//! connection stays open for the next one until its peer closes it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long the next head may take, and how long one part of an answer waits behind the other.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(15);

type Say = dyn Fn(&str) -> Vec<Vec<u8>> + Send;

struct Shared {
    say: Mutex<Box<Say>>,
    heads: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

/// A listener on loopback, without TLS.
pub struct Puppet {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Puppet {
    /// Starts it; until told otherwise it answers 200 without a body.
    ///
    /// # Panics
    /// If loopback has no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            say: Mutex::new(Box::new(|_| vec![b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()])),
            heads: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if served.stopped.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&served);
                thread::spawn(move || serve(stream, &shared));
            }
        };
        thread::spawn(accept);
        Self { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with these bytes from now on.
    pub fn says(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref().to_vec();
        self.answers(move |_| vec![bytes.clone()]);
    }

    /// Answers with what `say` makes of the request's head, one write after the other.
    pub fn answers(&self, say: impl Fn(&str) -> Vec<Vec<u8>> + Send + 'static) {
        *lock(&self.shared.say) = Box::new(say);
    }

    /// The heads that came so far.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        lock(&self.shared.heads).clone()
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_nodelay(true);
    while let Some(head) = read_head(&mut stream) {
        lock(&shared.heads).push(head.clone());
        let parts = lock(&shared.say)(&head);
        for part in parts {
            if stream.write_all(&part).is_err() {
                return;
            }
            // Each part in a segment of its own, so that the reader sees them one by one.
            if !goes_on(&stream) {
                return;
            }
        }
    }
}

/// Listens for a moment without taking anything: false once the peer has closed.
fn goes_on(stream: &TcpStream) -> bool {
    let listened = stream.set_read_timeout(Some(BETWEEN)).and_then(|()| stream.peek(&mut [0]));
    let _ = stream.set_read_timeout(Some(PATIENCE));
    !matches!(listened, Ok(0))
}

/// The head, and the body of the length that it announces read and dropped.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 || head.len() > 128 * 1024 {
            return None;
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    });
    let _ = std::io::copy(&mut stream.take(length.unwrap_or(0)), &mut std::io::sink());
    Some(head)
}
