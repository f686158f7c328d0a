//! The admin socket of a gateway, as a program on the same machine uses it.

use std::path::Path;

use portcullis_testkit::{Answer, RawConn};
use serde_json::Value;

/// One connection to it, kept open.
pub struct Admin {
    conn: RawConn,
}

impl Admin {
    /// Connects to the socket at `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { conn: RawConn::unix(path) }
    }

    /// Asks for a page.
    #[must_use]
    pub fn ask(&mut self, method: &str, page: &str) -> Answer {
        self.conn.exchange(format!("{method} {page} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Asks for a reload: the status of the answer, and what it says.
    #[must_use]
    pub fn reload(&mut self) -> (u16, String) {
        let answer = self.ask("POST", "/reload");
        (answer.status, answer.text())
    }

    /// The number of the plan that each data plane follows.
    #[must_use]
    pub fn plans(&mut self) -> Vec<u64> {
        let status: Value = self.ask("GET", "/status").json();
        let edges = status["edges"].as_array().cloned().unwrap_or_default();
        edges.iter().filter_map(|edge| edge["plan"].as_u64()).collect()
    }

    /// Each series of a metric: its labels as they are written, and its value.
    #[must_use]
    pub fn metric(&mut self, name: &str) -> Vec<(String, f64)> {
        let text = self.ask("GET", "/metrics").text();
        let series = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        let series = series.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'));
        series.filter_map(|(labels, value)| Some((labels.to_owned(), value.parse().ok()?))).collect()
    }
}
