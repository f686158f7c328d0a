//! Reads one HTTP/1.1 answer out of bytes: a second, strict reading beside the product's own.
//!
//! Sources: RFC 9112 §4 (status line), §6.3 (message body length), §7.1 (chunked).

use crate::conn::find;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, chunks put together.
    pub body: Vec<u8>,
    /// Trailer fields after the last chunk, names in lower case.
    pub trailers: Vec<(String, String)>,
}

/// Has the peer closed after these bytes?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// More may come.
    Open,
    /// No more will come: a body without a length ends here.
    Closed,
}

impl Answer {
    /// The first field of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in: {}", self.text()))
    }

    /// The first final answer in `bytes` and how many bytes it took, interim ones before it included.
    #[must_use]
    pub fn parse(bytes: &[u8], method: &str, ending: Ending) -> Option<(Self, usize)> {
        let mut from = 0;
        loop {
            let end = from + find(&bytes[from..], b"\r\n\r\n")? + 4;
            let (status, headers) = head(&bytes[from..end - 4])?;
            if (100..200).contains(&status) && status != 101 {
                from = end;
                continue;
            }
            let mut answer = Self { status, headers, body: Vec::new(), trailers: Vec::new() };
            let used = answer.read_body(&bytes[end..], method, ending)?;
            return Some((answer, end + used));
        }
    }

    fn read_body(&mut self, rest: &[u8], method: &str, ending: Ending) -> Option<usize> {
        if method == "HEAD" || matches!(self.status, 101 | 204 | 304) {
            return Some(0);
        }
        if self.header("transfer-encoding").is_some() {
            return self.read_chunks(rest);
        }
        let length = match self.header("content-length") {
            Some(length) => length.parse().ok()?,
            None if ending == Ending::Closed => rest.len(),
            None => return None,
        };
        self.body = rest.get(..length)?.to_vec();
        Some(length)
    }

    fn read_chunks(&mut self, rest: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let line = find(&rest[at..], b"\r\n")?;
            let size = std::str::from_utf8(&rest[at..at + line]).ok()?;
            let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
            at += line + 2;
            if size == 0 {
                let end =
                    if rest[at..].starts_with(b"\r\n") { 0 } else { find(&rest[at..], b"\r\n\r\n")? + 2 };
                self.trailers = fields(&rest[at..at + end]);
                return (rest.len() >= at + end + 2).then_some(at + end + 2);
            }
            self.body.extend_from_slice(rest.get(at..at + size)?);
            at += size + 2;
            if rest.len() < at {
                return None;
            }
        }
    }
}

fn head(bytes: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let line = find(bytes, b"\r\n").unwrap_or(bytes.len());
    let status = std::str::from_utf8(&bytes[..line]).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, fields(bytes.get(line + 2..).unwrap_or_default())))
}

fn fields(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    let pair = |line: &str| {
        line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    text.split("\r\n").filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_framing_says() {
        type Case = (&'static str, &'static str, Ending, Option<(u16, &'static str, usize)>);
        let table: [Case; 8] = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhixx", "GET", Ending::Open, Some((200, "hi", 40))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", "GET", Ending::Open, None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "HEAD", Ending::Open, Some((200, "", 38))),
            ("HTTP/1.1 200 OK\r\n\r\nhi", "GET", Ending::Open, None),
            ("HTTP/1.1 200 OK\r\n\r\nhi", "GET", Ending::Closed, Some((200, "hi", 21))),
            ("HTTP/1.1 204 No\r\n\r\n", "GET", Ending::Open, Some((204, "", 19))),
            ("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "GET", Ending::Open, Some((204, "", 37))),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                "GET",
                Ending::Open,
                Some((200, "hi", 59)),
            ),
        ];
        for (bytes, method, ending, want) in table {
            let got = Answer::parse(bytes.as_bytes(), method, ending);
            let got = got.map(|(a, used)| (a.status, a.text(), used));
            assert_eq!(got, want.map(|(s, b, u)| (s, b.to_owned(), u)), "{bytes:?}");
        }
    }

    #[test]
    fn trailers_come_after_the_last_chunk() {
        let bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nGrpc-Status: 7\r\n\r\n";
        let (answer, used) = Answer::parse(bytes, "GET", Ending::Open).unwrap();
        assert_eq!(used, bytes.len());
        assert_eq!(answer.trailers, [("grpc-status".to_owned(), "7".to_owned())]);
    }
}
