//! The client of the admin socket, for the command line.
//!
//! INVARIANT: nothing of a caller's text becomes part of the head but a method of ours and a checked path; no more than
//! [`LARGEST`] bytes of an answer are read, and not for longer than [`PATIENCE`].

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The longest answer: the metrics of a large configuration.
const LARGEST: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// How something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Look.
    Get,
    /// Do.
    Post,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminCallError {
    /// Nobody listens, or we may not ask.
    #[error("cannot reach the admin socket `{path}`; is `portcullis up` running, and are you its user?")]
    Connect {
        /// Which socket.
        path: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It broke off.
    #[error("the admin socket broke off its answer")]
    Broken(#[source] io::Error),
    /// It took too long.
    #[error("the admin socket did not answer in time")]
    Late,
    /// The path is not one.
    #[error("`{0}` is not a path of the admin socket")]
    Path(String),
    /// The answer is not one.
    #[error("the admin socket gave an answer that is not HTTP")]
    Form,
}

/// Asks the admin socket at `socket`; the answer is its status and its text.
///
/// # Errors
/// See [`AdminCallError`].
pub async fn call(socket: &Path, method: Method, path: &str) -> Result<(u16, String), AdminCallError> {
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(AdminCallError::Path(path.to_owned()));
    }
    timeout(PATIENCE, exchange(socket, method, path)).await.unwrap_or(Err(AdminCallError::Late))
}

async fn exchange(socket: &Path, method: Method, path: &str) -> Result<(u16, String), AdminCallError> {
    let connect = |cause| AdminCallError::Connect { path: socket.display().to_string(), cause };
    let mut stream = UnixStream::connect(socket).await.map_err(connect)?;
    let line = match method {
        Method::Get => format!("GET {path} HTTP/1.1\r\n"),
        Method::Post => format!("POST {path} HTTP/1.1\r\nContent-Length: 0\r\n"),
    };
    let head = format!("{line}Host: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.map_err(AdminCallError::Broken)?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).await.map_err(AdminCallError::Broken)?;
    parse(&answer).ok_or(AdminCallError::Form)
}

/// The status and body of an answer that has all of its announced length.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let length =
        fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse::<usize>();
    (length.ok()? == body.len()).then(|| (status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_none() {
        let table = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Some((200, "ok".to_owned()))),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Some((404, String::new()))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", None),
            ("HTTP/1.1 200 OK\r\n\r\nok", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", None),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", None),
            ("HTTP/1.1 \u{e9}00\r\ncontent-length: 0\r\n\r\n", None),
            ("", None),
        ];
        for (answer, want) in table {
            assert_eq!(parse(answer.as_bytes()), want, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_path_cannot_bring_lines_of_its_own() {
        for path in ["", "status", "/a b", "/a\r\nOrigin: x", "/\u{e9}"] {
            let called = call(Path::new("/nonexistent"), Method::Get, path).await;
            assert!(matches!(called, Err(AdminCallError::Path(_))), "{path:?}");
        }
        let called = call(Path::new("/nonexistent"), Method::Get, "/live").await;
        assert!(matches!(called, Err(AdminCallError::Connect { .. })));
    }
}
