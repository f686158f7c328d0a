//! What administration offers, and what each asks of the caller.
//!
//! INVARIANT: nothing is shown or done that was not recorded first, but for `/live`, which shows nothing.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};
use http_body_util::Full;
use portcullis_core::RequestId;
use portcullis_evidence::event::{Admin as AdminEvent, AdminAction, Permission};
use portcullis_evidence::{Event, SafeText};
use portcullis_snapshot::link::{Question, Reply};
use serde_json::json;

use super::door::{Asker, Door};
use super::merge::merge;
use super::{AdminState, Overview};
use crate::monitor::CONTROL;

/// What is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page<'a> {
    Live,
    Ready,
    Status,
    Metrics,
    Explain(&'a str),
    Reload,
    Read,
    Verify,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nothing {
    /// There is no such path.
    Path,
    /// There is, with this method.
    Method(&'static str),
}

impl<'a> Page<'a> {
    pub(super) fn find(method: &Method, path: &'a str) -> Result<Self, Nothing> {
        let page = match path {
            "/live" => Self::Live,
            "/ready" => Self::Ready,
            "/status" => Self::Status,
            "/metrics" => Self::Metrics,
            "/reload" => Self::Reload,
            path if path.starts_with("/reads/read-records/") => Self::Read,
            path if path.starts_with("/reads/verify-records/") => Self::Verify,
            path => Self::Explain(
                path.strip_prefix("/explain/").filter(|id| !id.contains('/')).ok_or(Nothing::Path)?,
            ),
        };
        let wanted = match page {
            Self::Reload | Self::Read | Self::Verify => "POST",
            _ => "GET",
        };
        if method.as_str() == wanted { Ok(page) } else { Err(Nothing::Method(wanted)) }
    }

    /// What a door that proves little may show.
    fn is_for(self, door: Door<'_>) -> bool {
        !matches!(door, Door::Metrics) || matches!(self, Self::Live | Self::Ready | Self::Metrics)
    }

    fn action(self) -> AdminAction {
        match self {
            Self::Live | Self::Ready | Self::Status | Self::Metrics => AdminAction::Inspect,
            Self::Explain(_) => AdminAction::Explain,
            Self::Reload => AdminAction::Reload,
            Self::Read => AdminAction::ReadRecords,
            Self::Verify => AdminAction::VerifyRecords,
        }
    }
}

/// An answer: its status, kind and text.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    kind: &'static str,
    text: String,
    allow: Option<&'static str>,
}

impl Answer {
    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", text: text.into(), allow: None }
    }

    fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self { status, kind: "application/json", text: format!("{value}\n"), allow: None }
    }

    pub(super) fn refusal(status: u16) -> Self {
        Self::text(
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            "the request is refused\n",
        )
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.text)));
        *response.status_mut() = self.status;
        let fields: &mut HeaderMap = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = self.allow {
            fields.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl AdminState {
    /// Whether somebody may ask, under the plan in force.
    pub(super) fn may_ask(&self, who: &Asker) -> bool {
        let plan = self.plans.borrow();
        match who {
            Asker::Uid(uid) => {
                let own = rustix::process::geteuid().as_raw();
                *uid == own || *uid == 0 || plan.admin.uids.contains(uid)
            }
            Asker::Peer(name) => {
                plan.admin.listener.as_ref().is_some_and(|l| l.names.iter().any(|n| n.as_str() == &**name))
            }
            Asker::Local(address) => address.is_loopback(),
        }
    }

    /// Answers a request of somebody who was let in.
    pub(super) async fn answer(&self, who: &Asker, door: Door<'_>, head: &request::Parts) -> Answer {
        let path = head.uri.path();
        let found = Page::find(&head.method, path);
        let found = found.and_then(|page| if page.is_for(door) { Ok(page) } else { Err(Nothing::Path) });
        let action = found.map_or(AdminAction::Inspect, Page::action);
        if !self.may_ask(who) || !door.is_direct(head) {
            let _ = self.record(who, action, Permission::Refused, path);
            return Answer::text(
                StatusCode::FORBIDDEN,
                "only administrators' programs may ask, no web pages\n",
            );
        }
        let recorded = self.record(who, action, Permission::Allowed, path);
        match (found, recorded) {
            (Ok(Page::Live), _) => Answer::text(StatusCode::OK, "live\n"),
            // SECURITY: an administrator's act without a record is not done (SS028-11.6.1).
            (_, Err(full)) => {
                Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{full}; nothing was done\n"))
            }
            (Ok(page), Ok(())) => self.show(page, who).await,
            (Err(Nothing::Path), _) => Answer::text(StatusCode::NOT_FOUND, "there is nothing here\n"),
            (Err(Nothing::Method(allow)), _) => {
                let text = format!("this is asked with {allow}\n");
                Answer { allow: Some(allow), ..Answer::text(StatusCode::METHOD_NOT_ALLOWED, text) }
            }
        }
    }

    pub(super) fn record(
        &self,
        who: &Asker,
        action: AdminAction,
        permission: Permission,
        subject: &str,
    ) -> Result<(), portcullis_telemetry::Full> {
        let (actor, subject) = (who.actor(), SafeText::new(subject));
        self.desk.record(&Event::Admin(AdminEvent { action, actor, permission, subject }))
    }

    async fn show(&self, page: Page<'_>, who: &Asker) -> Answer {
        match page {
            Page::Live => Answer::text(StatusCode::OK, "live\n"),
            Page::Ready => ready(&self.edges.overview()),
            Page::Status => {
                let overview = self.edges.overview();
                Answer::json(StatusCode::OK, &serde_json::to_value(overview).unwrap_or_default())
            }
            Page::Metrics => self.metrics().await,
            Page::Explain(id) => self.explain(id).await,
            // The request is on record by now, with the path as its subject: that is all it is for.
            Page::Read | Page::Verify => Answer::text(StatusCode::OK, "recorded\n"),
            Page::Reload => match self.edges.reload(who.clone()).await {
                Ok(()) => Answer::json(StatusCode::OK, &json!({ "reloaded": true })),
                Err(why) => Answer::json(StatusCode::CONFLICT, &json!({ "reloaded": false, "why": why })),
            },
        }
    }

    async fn metrics(&self) -> Answer {
        let mut parts = vec![(CONTROL.to_owned(), self.desk.metrics.encode())];
        let replies = self.edges.ask(Question::Metrics).await;
        parts.extend(replies.into_iter().filter_map(|(edge, reply)| match reply {
            Reply::Text(text) => Some((edge, text)),
            Reply::Unknown(_) => None,
        }));
        Answer {
            kind: "text/plain; version=0.0.4; charset=utf-8",
            ..Answer::text(StatusCode::OK, merge(&parts))
        }
    }

    async fn explain(&self, id: &str) -> Answer {
        let Some(id) = RequestId::parse(id) else {
            return Answer::text(StatusCode::NOT_FOUND, "a request id is 32 hexadecimal digits\n");
        };
        let replies = self.edges.ask(Question::Explain(id)).await;
        let known = replies.into_iter().find_map(|(_, reply)| match reply {
            Reply::Text(text) => Some(text),
            Reply::Unknown(_) => None,
        });
        match known {
            Some(text) => Answer::text(StatusCode::OK, text),
            None => {
                Answer::text(StatusCode::NOT_FOUND, format!("no data plane remembers the request {id}\n"))
            }
        }
    }
}

fn ready(overview: &Overview) -> Answer {
    let serving = overview.edges.iter().filter(|edge| edge.plan.0 > 0).count();
    let status = if serving > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::json(status, &json!({ "ready": serving > 0, "edges": serving }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_method() {
        let table = [
            ("/live", "GET", Ok(Page::Live)),
            ("/ready", "GET", Ok(Page::Ready)),
            ("/status", "GET", Ok(Page::Status)),
            ("/metrics", "GET", Ok(Page::Metrics)),
            ("/explain/ab", "GET", Ok(Page::Explain("ab"))),
            ("/reload", "POST", Ok(Page::Reload)),
            ("/reload", "GET", Err(Nothing::Method("POST"))),
            ("/status", "POST", Err(Nothing::Method("GET"))),
            ("/live", "HEAD", Err(Nothing::Method("GET"))),
            ("/explain/a", "DELETE", Err(Nothing::Method("GET"))),
            ("/", "GET", Err(Nothing::Path)),
            ("/status/", "GET", Err(Nothing::Path)),
            ("/statuses", "GET", Err(Nothing::Path)),
            ("/reload/now", "POST", Err(Nothing::Path)),
            ("/explain/a/b", "GET", Err(Nothing::Path)),
            ("/explain", "GET", Err(Nothing::Path)),
        ];
        for (path, method, want) in table {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            assert_eq!(Page::find(&method, path), want, "{method} {path}");
        }
    }
}
