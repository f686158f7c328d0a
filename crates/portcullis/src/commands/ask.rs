//! One question to a running *control*.

use std::path::Path;

use portcullis_control::admin::{AdminCallError, Method, call};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No runtime.
    #[error("the system gives no runtime")]
    System(#[source] std::io::Error),
    /// No answer.
    #[error(transparent)]
    Call(#[from] AdminCallError),
}

/// Asks the admin socket; the answer is its status and its text.
pub(crate) fn ask(socket: &Path, method: Method, path: &str) -> Result<(u16, String), AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(AskError::System)?.block_on(call(socket, method, path))?)
}

/// A text as one segment of a path (RFC 3986 §2.1).
pub(crate) fn segment(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'=');
    let spelled = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(spelled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f8_nothing_in_a_segment_begins_another_line_or_path() {
        assert_eq!(segment("edge: query id=7"), "edge:%20query%20id=7");
        assert_eq!(segment("a/../b\r\nhost: é"), "a%2F..%2Fb%0D%0Ahost:%20%C3%A9");
    }

    #[test]
    fn a_socket_without_a_listener_is_told_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = ask(&folder.path().join("admin.sock"), Method::Get, "/live").expect_err("nobody listens");
        assert!(error.to_string().contains("admin.sock"), "{error}");
    }
}
