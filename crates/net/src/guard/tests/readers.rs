//! Two independent readers of the same bytes, and a source of bytes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::fault::Flaw;
use super::super::h1::{RequestFramer, Step};
use super::super::limits::Limits;

/// A request as somebody read it. A body that was not whole makes no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) is_11: bool,
    /// Sorted by name; the order of equal names is kept.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
}

/// What the guard writes for `wire`, and the fault that ended it. Upgrades are refused and reading goes on.
pub(super) fn through_guard(wire: &[u8]) -> (Vec<u8>, Option<Flaw>) {
    let mut framer = RequestFramer::new(Limits::default());
    let (mut input, mut out) = (wire, Vec::new());
    loop {
        match framer.feed(&mut input, &mut out) {
            Ok(Step::Head) => {}
            Ok(Step::Held) => framer.resume(),
            Ok(_) => return (out, framer.finish(input).err().map(|f| f.flaw())),
            Err(fault) => return (out, Some(fault.flaw())),
        }
    }
}

/// Reads canonical bytes with httparse and a body reader that is as simple as it can be.
pub(super) fn httparse_reads(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some((mut message, rest)) = httparse_head(bytes) {
        let field = |name: &str| message.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let rest = if field("transfer-encoding").is_some() {
            chunked(rest).map(|(body, trailers, rest)| {
                (message.body, message.trailers) = (body, trailers);
                rest
            })
        } else {
            let text = field("content-length").unwrap_or_else(|| b"0".to_vec());
            let length: usize = String::from_utf8(text).expect("text").parse().expect("digits");
            rest.split_at_checked(length).map(|(body, rest)| {
                message.body = body.to_vec();
                rest
            })
        };
        let Some(rest) = rest else { break };
        messages.push(message);
        bytes = rest;
    }
    messages
}

fn httparse_head(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(bytes).expect("canonical bytes are well formed")
    else {
        return None;
    };
    let message = Message {
        method: request.method.expect("whole").to_owned(),
        target: request.path.expect("whole").to_owned(),
        is_11: request.version == Some(1),
        fields: sorted(request.headers.iter().map(|h| (h.name.to_owned(), h.value.to_vec())).collect()),
        body: Vec::new(),
        trailers: Vec::new(),
    };
    Some((message, &bytes[length..]))
}

type Chunked<'a> = (Vec<u8>, Vec<(String, Vec<u8>)>, &'a [u8]);

fn chunked(mut bytes: &[u8]) -> Option<Chunked<'_>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|w| w == b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).expect("canonical size");
        bytes = &bytes[end + 2..];
        if size == 0 {
            let mut headers = [httparse::EMPTY_HEADER; 128];
            let httparse::Status::Complete((length, headers)) =
                httparse::parse_headers(bytes, &mut headers).expect("canonical trailers")
            else {
                return None;
            };
            let trailers = headers.iter().map(|h| (h.name.to_owned(), h.value.to_vec())).collect();
            return Some((body, sorted(trailers), &bytes[length..]));
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

fn sorted(mut fields: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

fn fields(map: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    sorted(map.iter().map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec())).collect())
}

/// Reads bytes with hyper's server. The second value is all that it answered by itself or by the service.
pub(super) fn hyper_reads(bytes: &[u8]) -> (Vec<Message>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(hyper_reads_async(bytes))
}

async fn hyper_reads_async(bytes: &[u8]) -> (Vec<Message>, Vec<u8>) {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let sink = Arc::clone(&sink);
        async move {
            if let Ok(message) = message(request).await {
                sink.lock().expect("one thread").push(message);
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    client.write_all(bytes).await.expect("room");
    client.shutdown().await.expect("shut");
    let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).await.expect("read");
    let messages = seen.lock().expect("one thread").clone();
    (messages, answers)
}

/// The message, if its body comes to its end.
pub(super) async fn message(request: Request<Incoming>) -> hyper::Result<Message> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().map(fields).unwrap_or_default();
    Ok(Message {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        is_11: head.version == http::Version::HTTP_11,
        fields: fields(&head.headers),
        body: body.to_bytes().to_vec(),
        trailers,
    })
}

/// A small source of numbers that is the same on every machine (xorshift64*).
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % bound.max(1)
    }
}

/// What HTTP/1 readers have disagreed about.
const DICTIONARY: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.0",
    b"*",
    b"\r\n\r\n",
    b" HTTP/1.1",
    b"chunked",
    b"http://a/",
    b"#",
    b"?",
    b"%2f",
    b"TE: trailers\r\n",
    b"X: y\r\n",
    b"1",
    b"a",
];

/// `bytes` with a few changes.
pub(super) fn mutated(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(out.len() + 1);
        match numbers.below(5) {
            0 if at < out.len() => out[at] = u8::try_from(numbers.below(256)).expect("a byte"),
            1 => {
                let end = (at + numbers.below(8)).min(out.len());
                out.drain(at..end);
            }
            2 => {
                let end = (at + numbers.below(40)).min(out.len());
                let copy = out[at..end].to_vec();
                let to = numbers.below(out.len() + 1);
                out.splice(to..to, copy);
            }
            _ => {
                let word = DICTIONARY[numbers.below(DICTIONARY.len())];
                out.splice(at..at, word.iter().copied());
            }
        }
    }
    out
}
