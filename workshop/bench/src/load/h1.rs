//! HTTP/1.1 load: writes prepared requests, reads just enough of the answers.

use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Schedule, Tally, Target, asked};
use crate::Outcome;
use crate::origin;

/// What uploads are made of.
static FILLING: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// A stream to the proxy, whatever it is made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection, one request after the other; a broken connection is made anew.
pub(crate) async fn keep_alive(target: Target, schedule: Arc<Schedule>) -> Tally {
    let mut tally = Tally::default();
    let mut open: Option<Box<dyn Stream>> = None;
    let mut buffer = Vec::with_capacity(8 * 1024);
    while let Some((number, due)) = schedule.turn().await {
        let outcome = match open.take() {
            Some(stream) => Ok(stream),
            None => connect(&target).await,
        };
        let outcome = match outcome {
            Ok(mut stream) => {
                let status = exchange(
                    stream.as_mut(),
                    &request(&target, number, "keep-alive"),
                    target.bodies.0,
                    &mut buffer,
                )
                .await;
                open = status.is_ok().then_some(stream);
                status
            }
            Err(fault) => Err(fault),
        };
        tally.note(due, &outcome);
    }
    tally
}

/// A new connection for every request.
pub(crate) async fn fresh(target: Target, schedule: Arc<Schedule>) -> Tally {
    let mut tally = Tally::default();
    let mut buffer = Vec::with_capacity(8 * 1024);
    while let Some((number, due)) = schedule.turn().await {
        let outcome = match connect(&target).await {
            Ok(mut stream) => {
                exchange(stream.as_mut(), &request(&target, number, "close"), target.bodies.0, &mut buffer)
                    .await
            }
            Err(fault) => Err(fault),
        };
        tally.note(due, &outcome);
    }
    tally
}

/// One request on a connection of its own.
pub(crate) async fn once(target: &Target) -> Outcome<u16> {
    let mut stream = connect(target).await?;
    exchange(stream.as_mut(), &request(target, 0, "close"), target.bodies.0, &mut Vec::new()).await
}

/// Connects, with TLS if the target has it.
pub(crate) async fn connect(target: &Target) -> Outcome<Box<dyn Stream>> {
    let tcp = TcpStream::connect(target.address).await.map_err(|e| e.to_string())?;
    tcp.set_nodelay(true).map_err(|e| e.to_string())?;
    let Some(config) = &target.tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
    let tls = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(|e| e.to_string())?;
    Ok(Box::new(tls))
}

fn request(target: &Target, number: u64, connection: &str) -> Vec<u8> {
    let (path, token) = asked(target, number);
    let (up, down) = target.bodies;
    let method = if up == 0 { "GET" } else { "POST" };
    let mut text = String::with_capacity(1_024);
    text += &format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n");
    if connection == "close" {
        text += "connection: close\r\n";
    }
    if let Some(token) = token {
        text += &format!("authorization: Bearer {token}\r\n");
    }
    if up > 0 {
        text += &format!("content-type: application/octet-stream\r\ncontent-length: {up}\r\n");
    }
    if let Some(down) = down {
        text += &format!("{}: {down}\r\n", origin::ASKED);
    }
    text += "\r\n";
    text.into_bytes()
}

/// Sends one request with `up` bytes of body and reads its answer to the last byte.
async fn exchange(stream: &mut dyn Stream, request: &[u8], up: usize, buffer: &mut Vec<u8>) -> Outcome<u16> {
    stream.write_all(request).await.map_err(|e| e.to_string())?;
    let mut left = up;
    while left > 0 {
        let chunk = FILLING.get(..left.min(FILLING.len())).unwrap_or_default();
        stream.write_all(chunk).await.map_err(|e| e.to_string())?;
        left -= chunk.len();
    }
    stream.flush().await.map_err(|e| e.to_string())?;
    buffer.clear();
    let (status, length) = loop {
        fill(stream, buffer).await?;
        if let Some(framed) = framed(buffer) {
            break framed;
        }
    };
    let mut read = buffer.len();
    while read < length {
        buffer.clear();
        fill(stream, buffer).await?;
        read += buffer.len();
    }
    Ok(status)
}

async fn fill(stream: &mut dyn Stream, buffer: &mut Vec<u8>) -> Outcome<()> {
    match stream.read_buf(buffer).await {
        Ok(0) => Err("closed early".to_owned()),
        Ok(_) => Ok(()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// Status and whole length of an answer with a `Content-Length`, once its head is there.
fn framed(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    })?;
    Some((status, end + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_at_its_stated_length() {
        assert_eq!(framed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Some((200, 40)));
        assert_eq!(framed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"), None);
    }
}
