//! Header edits and path rewriting.
//!
//! SECURITY: a configured header may neither frame a message nor say who somebody is; both are the gateway's own
//! (A8, B9, B10).

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::NormalPath;

use super::items;
use crate::plan::{HeaderEdit, HeaderEdits, Rewrite, RouteTemplate, Segment};
use crate::raw::service::{RawHeaderEdit, RawHeaders, RawRewrite};
use crate::raw::values::HeaderName;
use crate::yaml::{At, Report, Text, quote};

/// Names that frame, route or steer the connection (RFC 9110 §7.6.1, RFC 9112 §6).
const FRAMING: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
];

/// Names, or beginnings of names, that say who somebody is or where they come from.
const IDENTITY: [&str; 13] = [
    "authorization",
    "cookie",
    "set-cookie",
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-cert",
    "x-auth",
    "x-user",
    "x-remote",
    "x-portcullis",
    "traceparent",
    "x-request-id",
];

pub(crate) fn header_edits(raw: &RawHeaders, report: &mut Report) -> Option<HeaderEdits> {
    let (request, response) = (raw.request.get()?, raw.response.get()?);
    Some(HeaderEdits { request: edit(request, report), response: edit(response, report) })
}

fn edit(raw: &RawHeaderEdit, report: &mut Report) -> HeaderEdit {
    let rows = raw.set.get().map_or(&[][..], |table| &table.value.0);
    let mut set: Vec<_> = rows.iter().filter_map(|(name, value)| setting(name, value, report)).collect();
    set.sort();
    let mut remove = BTreeSet::new();
    for name in items(&raw.remove) {
        if is_ours(&name.0, Direction::Remove) {
            report.say(&name.site, format!("{} is the gateway's own and cannot be removed", quote(&name.0)));
        }
        if set.iter().any(|(n, _)| **n == *name.0) {
            report.say(&name.site, format!("{} is set as well", quote(&name.0)));
        }
        remove.insert(Arc::from(name.0.as_str()));
    }
    HeaderEdit { set, remove: remove.into_iter().collect() }
}

fn setting(name: &At<String>, value: &At<Text>, report: &mut Report) -> Option<(Arc<str>, Arc<str>)> {
    let Some(header) = HeaderName::parse(name) else {
        report.say(&name.site, "is not the name of a header, lower case");
        return None;
    };
    if is_ours(&header.0, Direction::Set) {
        report.say(&name.site, "is the gateway's own and cannot be set");
        return None;
    }
    // RFC 9110 §5.5 without obsolete bytes; no space at either end.
    let text = value.0.as_str();
    if text.trim() != text || !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        report.say(&value.site, format!("found {}, expected visible ASCII", quote(text)));
        return None;
    }
    Some((Arc::from(header.0), Arc::from(text)))
}

/// What is done to a header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Set,
    Remove,
}

/// Folds `_` and `.` to `-`, as services behind do, and compares (B9).
fn is_ours(name: &str, direction: Direction) -> bool {
    let folded: String = name.chars().map(|c| if matches!(c, '_' | '.') { '-' } else { c }).collect();
    let identity = IDENTITY
        .iter()
        .any(|own| folded.strip_prefix(own).is_some_and(|r| r.is_empty() || r.starts_with('-')));
    // Removing a name of somebody's identity takes nothing away that a service may rely on, except our own.
    let guarded = match direction {
        Direction::Set => identity || folded == "alt-svc",
        Direction::Remove => {
            folded.starts_with("x-portcullis") || folded == "authorization" || folded == "forwarded"
        }
    };
    FRAMING.contains(&folded.as_str()) || guarded
}

/// A rewrite replaces literal leading segments, so that what was authorised is what is sent, changed in one
/// known way (B1).
pub(crate) fn rewrite(
    raw: &RawRewrite,
    template: Option<&RouteTemplate>,
    report: &mut Report,
) -> Option<Rewrite> {
    let prefix = raw.prefix.get().and_then(|t| leading(t, report));
    let to = raw.to.get().and_then(|t| leading(t, report));
    if let (Some(prefix), Some(template), Some(written)) = (&prefix, template, raw.prefix.get())
        && !starts_with(template, prefix)
    {
        report.say(&written.site, format!("{} is not how the path `{template}` begins", quote(&written.0)));
    }
    Some(Rewrite { prefix: prefix?, to: to? })
}

/// A normal path without its trailing slash.
fn leading(text: &At<Text>, report: &mut Report) -> Option<Arc<str>> {
    let bare = text.0.strip_suffix('/').unwrap_or(&text.0);
    let normal = bare.is_empty() || NormalPath::parse(bare).is_ok_and(|p| p.as_str() == bare);
    if !normal || text.0.is_empty() {
        report.say(
            &text.site,
            format!("found {}, expected a path in normal form such as `/api`", quote(&text.0)),
        );
        return None;
    }
    Some(Arc::from(bare))
}

fn starts_with(template: &RouteTemplate, prefix: &str) -> bool {
    let mut segments = template.segments().iter();
    let parts = prefix.split('/').skip(1);
    parts.into_iter().all(|part| matches!(segments.next(), Some(Segment::Literal(text)) if **text == *part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a8_b9_b10_headers_that_frame_or_identify_are_the_gateways_own() {
        let both = [
            "connection",
            "content-length",
            "transfer-encoding",
            "transfer_encoding",
            "host",
            "x-portcullis-caller",
        ];
        for name in both {
            assert!(is_ours(name, Direction::Set) && is_ours(name, Direction::Remove), "{name}");
        }
        for name in ["authorization", "x_forwarded_for", "x.real.ip", "x-user-id", "cookie", "traceparent"] {
            assert!(is_ours(name, Direction::Set), "{name}");
        }
        for name in
            ["x-frame-options", "server", "x-powered-by", "cache-control", "x-username-policy", "x-userland"]
        {
            assert!(!is_ours(name, Direction::Set) && !is_ours(name, Direction::Remove), "{name}");
        }
        assert!(!is_ours("x-forwarded-for", Direction::Remove));
    }

    #[test]
    fn b1_a_rewrite_replaces_whole_literal_segments() {
        let template = RouteTemplate::parse("/api/v1/{id}").expect("a template");
        for (prefix, fits) in
            [("/api", true), ("/api/v1", true), ("", true), ("/ap", false), ("/api/v1/x", false)]
        {
            assert_eq!(starts_with(&template, prefix), fits, "{prefix}");
        }
    }
}
