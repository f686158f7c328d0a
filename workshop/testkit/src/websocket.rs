//! Just enough WebSocket to echo: single frames up to 64 KiB, unmasked on the way back.
//!
//! Sources: RFC 6455 §4.2.2 (accept key), §5.2 (frame format).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The `Sec-WebSocket-Accept` that answers this key.
pub(crate) fn accept(key: &str) -> String {
    let text = format!("{key}{MAGIC}");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Sends every message back until the peer closes.
pub(crate) async fn echo(mut io: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    loop {
        let first = io.read_u8().await?;
        let payload = read_payload(&mut io).await?;
        let kind = first & 0x0f;
        let answer = if kind == PING { (first & 0xf0) | PONG } else { first };
        let mut out = vec![answer];
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => out.push(short),
            _ => {
                out.push(126);
                out.extend(u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        out.extend(payload);
        io.write_all(&out).await?;
        io.flush().await?;
        if kind == CLOSE {
            return io.shutdown().await;
        }
    }
}

async fn read_payload(io: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let second = io.read_u8().await?;
    let length = match second & 0x7f {
        126 => usize::from(io.read_u16().await?),
        127 => return Err(std::io::Error::other("longer than this echo takes")),
        short => usize::from(short),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        io.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; length];
    io.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Ok(payload)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_accept_key_of_rfc_6455_section_1_3() {
        assert_eq!(super::accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
