//! HTTP/2 frames by hand, for floods and broken sequences that no good client would send.
//!
//! Header blocks are literals without indexing and without Huffman coding, so a test can read its own bytes.
//!
//! Sources: RFC 9113 §3.4 (preface), §4.1 (frame format), §6 (frame types); RFC 7541 §6.2.2 (literals).

/// What a client sends first, before its SETTINGS frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Flag on DATA and HEADERS: nothing follows on this stream.
pub const END_STREAM: u8 = 0x1;
/// Flag on HEADERS and CONTINUATION: the header block is whole.
pub const END_HEADERS: u8 = 0x4;
/// Flag on SETTINGS and PING: this is the acknowledgement.
pub const ACK: u8 = 0x1;

/// The `type` octet.
pub mod kind {
    #![allow(missing_docs, reason = "the names of RFC 9113 §6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// One frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// `type` octet.
    pub kind: u8,
    /// `flags` octet.
    pub flags: u8,
    /// Stream, zero for the connection.
    pub stream: u32,
    /// What follows the nine octets of the header.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY or RST_STREAM frame.
    #[must_use]
    pub fn error_code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::GOAWAY => 4,
            kind::RST_STREAM => 0,
            _ => return None,
        };
        self.payload.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }
}

/// Any frame at all.
///
/// # Panics
/// If the payload is longer than the length field can say.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).ok().filter(|n| *n < 1 << 24).expect("under 16 MiB");
    let mut out = length.to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The preface and an empty SETTINGS frame.
#[must_use]
pub fn hello() -> Vec<u8> {
    [PREFACE, &settings(&[])].concat()
}

/// A SETTINGS frame with these (identifier, value) pairs.
#[must_use]
pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in pairs {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(kind::SETTINGS, 0, 0, &payload)
}

/// A header block: each field a literal without indexing.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        string(&mut out, name.as_bytes());
        string(&mut out, value.as_bytes());
    }
    out
}

/// A HEADERS frame that ends its header block, with [`END_STREAM`] or 0 in `flags`.
#[must_use]
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// A whole `GET` request.
#[must_use]
pub fn get(stream: u32, authority: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)];
    headers(stream, END_STREAM, &fields)
}

/// A DATA frame.
#[must_use]
pub fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, payload)
}

/// A RST_STREAM frame.
#[must_use]
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A PING frame.
#[must_use]
pub fn ping() -> Vec<u8> {
    frame(kind::PING, 0, 0, b"portcull")
}

/// A WINDOW_UPDATE frame.
#[must_use]
pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// The whole frames in `bytes`; an unfinished last one is left out.
#[must_use]
pub fn split(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, s0, s1, s2, s3, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(payload) = rest.get(..length) else { break };
        let stream = u32::from_be_bytes([*s0, *s1, *s2, *s3]) & 0x7fff_ffff;
        frames.push(Frame { kind: *kind, flags: *flags, stream, payload: payload.to_vec() });
        bytes = &rest[length..];
    }
    frames
}

/// RFC 7541 §5.2 without Huffman coding; the length is an integer with a prefix of seven bits (§5.1).
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() < 127 {
        out.extend(u8::try_from(bytes.len()));
    } else {
        out.push(127);
        let mut rest = bytes.len() - 127;
        while rest >= 128 {
            out.extend(u8::try_from(rest % 128 + 128));
            rest /= 128;
        }
        out.extend(u8::try_from(rest));
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_were_written_are_read_back() {
        let bytes = [reset(3, 8), frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11]), vec![0, 0]].concat();
        let frames = split(&bytes);
        assert_eq!(frames.iter().map(Frame::error_code).collect::<Vec<_>>(), [Some(8), Some(11)]);
        assert_eq!(frames[0].stream, 3);
    }

    #[test]
    fn a_long_string_has_a_long_length() {
        let mut out = Vec::new();
        string(&mut out, &[b'a'; 400]);
        // 400 - 127 = 273 = 17 + 2 * 128
        assert_eq!(out[..3], [127, 128 + 17, 2]);
    }
}
