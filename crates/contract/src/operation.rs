//! One operation: what a request to it must be.
//!
//! INVARIANT: a check allocates nothing for a request that has neither query nor parameters.
//!
//! Sources: SS028-11.6.2b; OpenAPI 3.1.1 §4.8.10.

use std::collections::HashSet;
use std::sync::Arc;

use crate::body::{Body, BodyCheck};
use crate::decode::Text;
use crate::finding::{Finding, Findings, Place};
use crate::parameter::{Parameter, Presence};
use crate::query::{self, Pair};

/// Calls its second argument once for each value of the header field named, which is lower case.
pub type HeaderLookup<'a> = dyn Fn(&str, &mut dyn FnMut(&[u8])) + 'a;

/// The head of a request, as a contract sees it.
#[derive(Clone, Copy)]
pub struct HeadView<'a> {
    /// The parameters of the path in the order of the template, percent-encoded as they came. Only the order counts: a route may
    /// name them otherwise than the contract does.
    pub path: &'a [(&'a str, &'a str)],
    /// What follows `?`, if anything does.
    pub query: Option<&'a str>,
    /// Finds header fields.
    pub headers: &'a HeaderLookup<'a>,
    /// The value of `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Whether a body comes.
    pub body: BodyPresence,
}

/// Whether a body comes with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPresence {
    /// None: no framing field, or a length of zero.
    Absent,
    /// One comes.
    Present,
}

/// One operation of a contract.
#[derive(Debug)]
pub struct Operation {
    pub(crate) id: Box<str>,
    pub(crate) method: Box<str>,
    pub(crate) template: Box<str>,
    /// In the order of the template.
    pub(crate) path: Vec<Option<Parameter>>,
    pub(crate) query: Vec<Parameter>,
    pub(crate) headers: Vec<Parameter>,
    pub(crate) cookies: Vec<Parameter>,
    /// Query parameters that security schemes use.
    pub(crate) credentials: Vec<Box<str>>,
    pub(crate) body: Option<Body>,
    pub(crate) security: Security,
    /// Names that may be shown; one set for the whole contract.
    pub(crate) known: Arc<HashSet<Box<str>>>,
}

/// Who may call an operation, by its contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// The contract says nothing.
    Undeclared,
    /// The contract says: anybody.
    Public,
    /// One of these alternatives, each of which is a set of scopes; empty where a scheme has none.
    Scopes(Vec<Vec<Box<str>>>),
}

impl Operation {
    /// Its `operationId`, or the method and the template.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Upper case.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// As the contract writes it.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// What the line must do for the body to be checked, by the value of `Content-Type`.
    #[must_use]
    pub fn needs_body(&self, content_type: Option<&str>) -> BodyCheck {
        self.body.as_ref().map_or(BodyCheck::None, |body| body.needs(content_type))
    }

    /// What of a head does not fit: parameters, and whether there is a body of a listed type.
    #[must_use]
    pub fn check_head(&self, head: &HeadView<'_>) -> Findings {
        let mut findings = Findings::default();
        self.check_path(head.path, &mut findings);
        self.check_query(head.query.unwrap_or(""), &mut findings);
        self.check_headers(head, &mut findings);
        self.check_cookies(head, &mut findings);
        match (&self.body, head.body) {
            (Some(body), BodyPresence::Present) => body.check_type(head.content_type, &mut findings),
            (Some(body), BodyPresence::Absent) if body.presence == Presence::Required => {
                findings.push(Finding::body("required"));
            }
            (None, BodyPresence::Present) => findings.push(Finding::body("unexpected")),
            _ => {}
        }
        findings
    }

    /// What of a body does not fit.
    #[must_use]
    pub fn check_body(&self, content_type: Option<&str>, bytes: &[u8]) -> Findings {
        let mut findings = Findings::default();
        match &self.body {
            Some(body) if bytes.is_empty() => {
                if body.presence == Presence::Required {
                    findings.push(Finding::body("required"));
                }
            }
            Some(body) => body.check(content_type, bytes, &self.known, &mut findings),
            None if bytes.is_empty() => {}
            None => findings.push(Finding::body("unexpected")),
        }
        findings
    }

    fn check_path(&self, given: &[(&str, &str)], findings: &mut Findings) {
        if given.len() != self.path.len() {
            // SECURITY: the route and the contract disagree about the path, so nothing of it can be checked.
            return findings.push(Finding::new(Place::Path, "", "template"));
        }
        for (parameter, (_, raw)) in self.path.iter().zip(given) {
            if let Some(parameter) = parameter {
                parameter.check(&[Text::Whole(raw)], &self.known, findings);
            }
        }
    }

    fn check_query(&self, query: &str, findings: &mut Findings) {
        let pairs = match query::pairs(query) {
            Ok(pairs) => pairs,
            Err(fault) => return findings.push(Finding::new(Place::Query, "", fault.word())),
        };
        let mut texts: Vec<Vec<Text<'_>>> = Vec::new();
        texts.resize_with(self.query.len(), Vec::new);
        for pair in &pairs {
            if !self.give(pair, &mut texts) {
                findings.push(Finding::unknown(Place::Query, &pair.name));
            }
        }
        for (parameter, texts) in self.query.iter().zip(&texts) {
            parameter.check(texts, &self.known, findings);
        }
    }

    /// Gives a pair to the parameter that it belongs to. `false` if there is none.
    fn give<'q>(&self, pair: &'q Pair<'q>, texts: &mut [Vec<Text<'q>>]) -> bool {
        let mut named = self.query.iter().zip(texts.iter_mut());
        let found =
            named.find_map(|(parameter, texts)| Some((parameter.claims(&pair.name, pair.raw)?, texts)));
        if let Some((text, texts)) = found {
            texts.push(text);
            return true;
        }
        if self.credentials.iter().any(|name| **name == *pair.name) {
            return true;
        }
        let mut open = self.query.iter().zip(texts.iter_mut());
        match open.find_map(|(parameter, texts)| Some((parameter.takes_others(&pair.name, pair.raw)?, texts)))
        {
            Some((text, texts)) => texts.push(text),
            None => return false,
        }
        true
    }

    fn check_headers(&self, head: &HeadView<'_>, findings: &mut Findings) {
        for parameter in &self.headers {
            let Some(values) = values(head, &parameter.name) else {
                findings.push(Finding::new(Place::Header, &parameter.name, "encoding"));
                continue;
            };
            let texts: Vec<Text<'_>> = values.iter().map(|value| Text::Whole(value)).collect();
            parameter.check(&texts, &self.known, findings);
        }
    }

    fn check_cookies(&self, head: &HeadView<'_>, findings: &mut Findings) {
        if self.cookies.is_empty() {
            return;
        }
        let Some(fields) = values(head, "cookie") else {
            return findings.push(Finding::new(Place::Cookie, "", "encoding"));
        };
        let crumbs: Vec<(&str, &str)> = fields
            .iter()
            .flat_map(|field| field.split(';'))
            .filter_map(|crumb| crumb.trim_matches(' ').split_once('='))
            .collect();
        for parameter in &self.cookies {
            let mine = crumbs.iter().filter_map(|(name, raw)| parameter.claims(name, raw));
            parameter.check(&mine.collect::<Vec<_>>(), &self.known, findings);
        }
    }
}

/// The values of a header field; `None` if one of them is not visible ASCII.
fn values(head: &HeadView<'_>, name: &str) -> Option<Vec<String>> {
    let (mut all, mut clean) = (Vec::new(), true);
    (head.headers)(name, &mut |value| match std::str::from_utf8(value) {
        Ok(text) if text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) => {
            all.push(text.to_owned());
        }
        _ => clean = false,
    });
    clean.then_some(all)
}
