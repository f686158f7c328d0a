//! One question to a running *control*, over its admin socket.
//!
//! The peer is our own process, known by the path of a socket that only our user can reach; the reader is bounded all
//! the same.
//!
//! Sources: RFC 9112 §6; threat F1 (the socket checks `Host`).

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest answer that is read.
const LONGEST: u64 = 16 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why *control* gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens.
    #[error("nothing answers on the admin socket `{socket}`; is `portcullis up` running?")]
    Nobody {
        socket: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// It broke off.
    #[error("the admin socket broke off")]
    Broken(#[source] std::io::Error),
    /// Not HTTP as we speak it.
    #[error("the admin socket gave an answer that is not understood")]
    Form,
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks. `path` is an absolute path of the admin interface.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Result<Reply, AskError> {
    let nobody = |cause| AskError::Nobody { socket: socket.to_owned(), cause };
    let mut stream = UnixStream::connect(socket).map_err(nobody)?;
    let mut exchange = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        (&mut stream).take(LONGEST).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(AskError::Broken)?;
    parse(&answer).ok_or(AskError::Form)
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let fields: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
    let field = |name: &str| fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim());
    if field("transfer-encoding").is_some() {
        return Some(Reply { status, body: unchunked(body)? });
    }
    let whole = field("content-length").is_none_or(|n| n.parse() == Ok(body.len()));
    whole.then(|| Reply { status, body: body.to_owned() })
}

fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let (chunk, after) = after.split_at_checked(size)?;
        body.push_str(chunk);
        rest = after.strip_prefix("\r\n")?;
        if size == 0 {
            return Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let reply = |status, body: &str| Some(Reply { status, body: body.into() });
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", reply(200, "hi")),
            ("HTTP/1.1 404 Not Found\r\n\r\n", reply(404, "")),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n",
                reply(200, "hi!"),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", None),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", None),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nhi", None),
            ("HTTP/1.1 abc\r\n\r\n", None),
            ("", None),
        ];
        for (answer, want) in table {
            assert_eq!(parse(answer.as_bytes()), want, "{answer:?}");
        }
    }

    #[test]
    fn a_socket_without_a_listener_is_told_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = ask(&folder.path().join("admin.sock"), "GET", "/live", "").expect_err("nobody listens");
        assert!(error.to_string().contains("admin.sock"), "{error}");
    }
}
