//! Walks the table of cases against the running shop and tells what came out.
//!
//! INVARIANT: whatever is otherwise than the table says is a surprise, and one surprise fails the walk.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::Full;
use portcullis_telemetry::Chain;

use super::cases::{CASES, Case, Shows, With};
use super::https::{self, Client, ClientError};
use crate::screen::{Mood, Screen};

/// How many cases came out otherwise.
pub(crate) struct Walked {
    pub(crate) surprises: usize,
    /// The id of a request that policy refused, to explain.
    pub(crate) refused: Option<String>,
}

/// The callers of the walk.
struct Callers<'f> {
    folder: &'f Path,
    plain: Client,
    device: Client,
}

/// The rule of the refusal that is explained afterwards.
const EXPLAINED: &str = "not-your-orders";

/// Walks all cases and prints a line for each.
pub(crate) async fn walk(folder: &Path, gateway: SocketAddr, screen: &Screen) -> Result<Walked, ClientError> {
    let callers = Callers {
        folder,
        plain: Client::new(folder, gateway, None)?,
        device: Client::new(folder, gateway, Some("device"))?,
    };
    let mut walked = Walked { surprises: 0, refused: None };
    for case in CASES {
        let outcome = callers.try_case(case).await;
        walked.surprises += usize::from(outcome.is_err());
        screen.line(row(case, &outcome, screen));
        if let Ok(Some(id)) = outcome
            && case.why.contains(EXPLAINED)
        {
            walked.refused = Some(id);
        }
    }
    Ok(walked)
}

fn row(case: &Case, outcome: &Result<Option<String>, String>, screen: &Screen) -> String {
    let answers: Vec<String> = case.answers.iter().map(u16::to_string).collect();
    let (word, told) = match outcome {
        Ok(_) => (screen.paint(Mood::Good, "ok  "), String::new()),
        Err(surprise) => (screen.paint(Mood::Bad, "FAIL"), format!("\n      {surprise}")),
    };
    format!("{word}  {:<60}  {}{told}", case.title, answers.join(" "))
}

impl Callers<'_> {
    /// Sends a case as often as it says. Yields the id of the last request, or the surprise.
    async fn try_case(&self, case: &Case) -> Result<Option<String>, String> {
        let client = if case.with.contains(&With::Certificate) { &self.device } else { &self.plain };
        let mut last = None;
        for (n, want) in case.answers.iter().enumerate() {
            let request = self.request(case).map_err(|error| error.to_string())?;
            let answer = client.send(request).await.map_err(|error| Chain(&error).to_string())?;
            let got = answer.status().as_u16();
            if got != *want {
                let body = String::from_utf8_lossy(answer.body()).into_owned();
                return Err(format!("answer {} is {got}, expected {want}: {}", n + 1, body.trim_end()));
            }
            last = Some(answer);
        }
        let last = last.ok_or_else(|| "the case is never sent".to_owned())?;
        shows(case.shows, &last)?;
        let id = last.headers().get("x-request-id").and_then(|id| id.to_str().ok());
        Ok(id.map(str::to_owned))
    }

    fn request(&self, case: &Case) -> Result<Request<Full<Bytes>>, Box<dyn std::error::Error>> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = case.method.parse()?;
        *request.uri_mut() = case.path.parse()?;
        for with in case.with {
            let (name, value) = match with {
                With::Certificate => continue,
                With::Header(name, value) => (HeaderName::from_static(name), HeaderValue::from_static(value)),
                With::Json(body) => {
                    *request.body_mut() = Full::from(*body);
                    (header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
                }
                With::Credential(name) => credential(self.folder, name)?,
            };
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

/// The header in a file, as `curl -H @FILE` reads it.
fn credential(folder: &Path, name: &str) -> Result<(HeaderName, HeaderValue), Box<dyn std::error::Error>> {
    let text = String::from_utf8(https::read(folder, &format!("tokens/{name}"))?)?;
    let (name, value) = text.trim_end().split_once(": ").ok_or("the file holds no header")?;
    let mut value = HeaderValue::from_str(value)?;
    value.set_sensitive(true);
    Ok((name.to_ascii_lowercase().parse()?, value))
}

fn shows(wanted: Shows, answer: &Response<Bytes>) -> Result<(), String> {
    let body = String::from_utf8_lossy(answer.body());
    let lacks = |what: &str| Err(format!("the answer lacks {what}: {}", body.trim_end()));
    match wanted {
        Shows::Any => Ok(()),
        Shows::Text(text) if body.contains(text) => Ok(()),
        Shows::Text(text) => lacks(text),
        Shows::Refusal(reason) if body.contains(&format!("\"urn:portcullis:refusal:{reason}\"")) => Ok(()),
        Shows::Refusal(reason) => lacks(&format!("refusal `{reason}`")),
        Shows::Header(name, value) => match answer.headers().get(name) {
            Some(got) if got.as_bytes() == value.as_bytes() => Ok(()),
            _ => lacks(&format!("`{name}: {value}`")),
        },
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Reason;

    use super::*;

    #[test]
    fn whatever_an_answer_lacks_is_a_surprise() {
        let mut answer =
            Response::new(Bytes::from_static(b"{\"type\":\"urn:portcullis:refusal:forbidden\"}"));
        answer.headers_mut().insert("vary", HeaderValue::from_static("origin"));
        let table = [
            (Shows::Any, true),
            (Shows::Text("forbidden"), true),
            (Shows::Text("allowed"), false),
            (Shows::Refusal(Reason::Forbidden), true),
            (Shows::Refusal(Reason::NoRoute), false),
            (Shows::Header("vary", "origin"), true),
            (Shows::Header("vary", "*"), false),
            (Shows::Header("allow", "GET"), false),
        ];
        for (wanted, good) in table {
            assert_eq!(shows(wanted, &answer).is_ok(), good, "{wanted:?}");
        }
    }

    #[test]
    fn a_row_of_the_report_fits_a_hundred_columns() {
        for case in CASES {
            assert!(row(case, &Ok(None), &Screen::standard()).chars().count() <= 110, "{}", case.title);
        }
    }
}
