//! Requests that are bytes before the clock starts: nothing is composed or allocated while it runs.
//!
//! HTTP/2 heads are what hyper's own client writes for a peer without a dynamic table: Huffman coded, as real clients do.
//!
//! Sources: RFC 9112 §3, RFC 9113 §4.1 (frames), RFC 7541 §4.2 (a table of size 0).

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_testkit::frames;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{Shape, Target};
use crate::Outcome;
use crate::origin;

/// Most bytes that preparing may take.
const ROOM: usize = 64 << 20;
/// The setting for the size of the peer's table.
const HEADER_TABLE_SIZE: u16 = 1;

/// One for each user, used in turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    list: Vec<Vec<u8>>,
}

impl Prepared {
    /// For HTTP/1.1 whole heads, for HTTP/2 header blocks.
    pub(crate) async fn make(target: &Target) -> Outcome<Self> {
        let count = target.paths.len().max(1);
        let list = match target.shape {
            Shape::Streams(..) => blocks(target, count).await?,
            Shape::KeepAlive(_) => (0..count).map(|user| head(target, user, "")).collect(),
            Shape::Fresh(_) => (0..count).map(|user| head(target, user, "connection: close\r\n")).collect(),
        };
        Ok(Self { list })
    }

    /// The bytes of this request.
    pub(crate) fn of(&self, number: u64) -> &[u8] {
        let count = u64::try_from(self.list.len()).unwrap_or(1).max(1);
        let at = usize::try_from(number % count).unwrap_or_default();
        self.list.get(at).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Path and token of a user; no token for plain work.
fn asked(target: &Target, user: usize) -> (&str, Option<&str>) {
    let path = target.paths.get(user).map_or("/", String::as_str);
    let turn = user.checked_rem(target.tokens.len()).unwrap_or_default();
    (path, target.tokens.get(turn).map(String::as_str))
}

/// The head of one HTTP/1.1 request with these fields more.
pub(crate) fn head(target: &Target, user: usize, more: &str) -> Vec<u8> {
    let (path, token) = asked(target, user);
    let (up, down) = target.bodies;
    let method = if up == 0 { "GET" } else { "POST" };
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n{more}");
    if let Some(token) = token {
        text += &format!("authorization: Bearer {token}\r\n");
    }
    if up > 0 {
        text += &format!("content-type: application/octet-stream\r\ncontent-length: {up}\r\n");
    }
    if let Some(down) = down {
        text += &format!("{}: {down}\r\n", origin::ASKED);
    }
    (text + "\r\n").into_bytes()
}

async fn blocks(target: &Target, count: usize) -> Outcome<Vec<Vec<u8>>> {
    let (near, mut far) = duplex(1 << 20);
    far.write_all(&frames::settings(&[(HEADER_TABLE_SIZE, 0)])).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(near)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let mut inbox = Inbox { stream: far, bytes: Vec::new(), taken: 0 };
    // hyper's first head tells of the smaller table; it is not one of ours.
    inbox.settled().await?;
    let mut list = Vec::with_capacity(count);
    for user in std::iter::once(0).chain(0..count) {
        let request = request(target, user)?;
        sender.ready().await.map_err(|e| e.to_string())?;
        // The answer never comes; dropping the wait resets the stream, which is read over.
        let answer = sender.send_request(request);
        list.push(inbox.head().await?);
        drop(answer);
    }
    connection.abort();
    list.remove(0);
    Ok(list)
}

fn request(target: &Target, user: usize) -> Outcome<Request<Empty<Bytes>>> {
    let (path, token) = asked(target, user);
    let mut request = Request::get(format!("https://localhost{path}")).header("accept", "*/*");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Empty::new()).map_err(|e| e.to_string())
}

/// The server's end of the preparing connection.
struct Inbox {
    stream: DuplexStream,
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// Until the client has acknowledged the settings.
    async fn settled(&mut self) -> Outcome<()> {
        while self.bytes.len() < frames::PREFACE.len() {
            self.fill().await?;
        }
        self.bytes.drain(..frames::PREFACE.len());
        self.find(|frame| frame.kind == frames::kind::SETTINGS && frame.flags & frames::ACK != 0)
            .await
            .map(drop)
    }

    /// The header block of the next request.
    async fn head(&mut self) -> Outcome<Vec<u8>> {
        let frame = self.find(|frame| frame.kind == frames::kind::HEADERS).await?;
        let whole = frames::END_HEADERS | frames::END_STREAM;
        if frame.flags == whole {
            Ok(frame.payload)
        } else {
            Err("a request does not fit one frame".to_owned())
        }
    }

    async fn find(&mut self, wanted: impl Fn(&frames::Frame) -> bool) -> Outcome<frames::Frame> {
        loop {
            let mut all = frames::split(&self.bytes);
            if let Some(at) = all.iter().position(&wanted) {
                let used: usize = all.iter().take(at + 1).map(|frame| 9 + frame.payload.len()).sum();
                self.bytes.drain(..used);
                return Ok(all.swap_remove(at));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Outcome<()> {
        let count = self.stream.read_buf(&mut self.bytes).await.map_err(|e| e.to_string())?;
        self.taken += count;
        if count == 0 || self.taken > ROOM { Err("no request could be prepared".to_owned()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn target(shape: Shape) -> Target {
        Target {
            address: ([127, 0, 0, 1], 1).into(),
            source: None,
            tls: None,
            tokens: Arc::new(vec!["t0".to_owned(), "t1".to_owned()]),
            paths: Arc::new(vec!["/a".to_owned(), "/b".to_owned()]),
            shape,
            bodies: (0, None),
        }
    }

    fn made(shape: Shape) -> Prepared {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Prepared::make(&target(shape))).unwrap()
    }

    #[test]
    fn users_take_turns() {
        let prepared = made(Shape::KeepAlive(1));
        let text = |number| String::from_utf8(prepared.of(number).to_vec()).unwrap();
        assert!(text(0).starts_with("GET /a ") && text(0).contains("Bearer t0\r\n"), "{}", text(0));
        assert!(text(3).starts_with("GET /b ") && text(3).ends_with("Bearer t1\r\n\r\n"), "{}", text(3));
    }

    #[test]
    fn a_block_of_http2_leans_on_no_table() {
        let prepared = made(Shape::Streams(1, 1));
        assert_eq!(prepared.list.len(), 2);
        for block in &prepared.list {
            // `:method: GET` and `:scheme: https` are static; an index of 62 and more would be dynamic.
            assert!(block.contains(&0x82) && block.contains(&0x87), "{block:x?}");
            assert!(!block.starts_with(&[0x20]), "no change of the table");
        }
        assert_ne!(prepared.of(0), prepared.of(1));
        assert_eq!(prepared.of(0), prepared.of(2));
    }
}
