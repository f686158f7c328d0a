//! HTTP/1.1 load: writes prepared requests, reads just enough of the answers.

use std::sync::Arc;

use memchr::memmem;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::prepared;
use super::{Parts, Shape, Target};
use crate::Outcome;

/// What uploads are made of.
static FILLING: [u8; 64 * 1024] = [b'x'; 64 * 1024];
/// What one connection reads at a time.
const READ: usize = 64 * 1024;

/// A stream to the proxy, whatever it is made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One request after the other; a broken connection is made anew, and for [`Shape::Fresh`] every one is.
pub(crate) async fn worker(
    (target, prepared, schedule): Parts,
    place: usize,
    mut open: Option<Box<dyn Stream>>,
) {
    let mut buffer = Vec::with_capacity(READ);
    while let Some(turn) = schedule.turn(place).await {
        let outcome = match open.take() {
            Some(stream) => Ok(stream),
            None => connect(&target).await,
        };
        let outcome = match outcome {
            Ok(mut stream) => {
                let request = prepared.of(turn.number);
                let status = exchange(stream.as_mut(), request, target.bodies.0, &mut buffer).await;
                let keeps = status.is_ok() && !matches!(target.shape, Shape::Fresh(_));
                open = keeps.then_some(stream);
                status
            }
            Err(fault) => Err(fault),
        };
        schedule.note(place, &outcome);
    }
}

/// One request on a connection of its own.
pub(crate) async fn once(target: &Target) -> Outcome<u16> {
    let mut stream = connect(target).await?;
    let request = prepared::head(target, 0, "connection: close\r\n");
    exchange(stream.as_mut(), &request, target.bodies.0, &mut Vec::with_capacity(READ)).await
}

/// Connects from the wanted address, with TLS if the target has it.
pub(crate) async fn connect(target: &Target) -> Outcome<Box<dyn Stream>> {
    let tcp = tcp(target).await.map_err(|e| format!("connect: {e}"))?;
    let Some(config) = &target.tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
    let tls = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
    Ok(Box::new(tls.map_err(|e| format!("handshake: {e}"))?))
}

pub(crate) async fn tcp(target: &Target) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = target.source {
        socket.bind((source, 0).into())?;
    }
    let tcp = socket.connect(target.address).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Sends one request with `up` bytes of body and reads its answer to the last byte.
pub(crate) async fn exchange(
    stream: &mut dyn Stream,
    request: &[u8],
    up: usize,
    buffer: &mut Vec<u8>,
) -> Outcome<u16> {
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
pub(crate) fn framed(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = bytes.get(..end)?;
    let status = head.get(9..12)?.iter().try_fold(0_u16, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        Some(sum * 10 + u16::from(digit))
    })?;
    Some((status, end + field(head, b"content-length").and_then(number)?))
}

/// The value of the first field of that name, which is in lower case.
pub(crate) fn field<'b>(head: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let mut lines = head.split(|b| *b == b'\n');
    lines.find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// Decimal digits.
pub(crate) fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_at_its_stated_length() {
        assert_eq!(framed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Some((200, 40)));
        assert_eq!(framed(b"HTTP/1.1 429 No\r\nx: y\r\ncontent-length:17\r\n\r\n"), Some((429, 61)));
        for broken in
            ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\n"]
        {
            assert_eq!(framed(broken.as_bytes()), None, "{broken}");
        }
    }
}
