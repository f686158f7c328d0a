//! Stage 9: one answer, whatever happened.
//!
//! INVARIANT: an answer of an upstream passes the same rules whatever its status (threat B14): hop-by-hop fields stop,
//! CORS is ours, and an internal token anywhere in its head, body or trailers ends it.
//! INVARIANT: the body carries the record; whoever drops the body closes the record.
//!
//! Not here: the wording of refusals (`problem_details`).
//!
//! Sources: MS-SS-10.3; RFC 9110 §7.6.1; draft-ietf-httpapi-ratelimit-headers.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use portcullis_core::{Reason, Refusal};
use portcullis_evidence::request::Close;
use portcullis_limits::Held;
use portcullis_net::guard::{Fault, Leg};
use portcullis_net::pool::Upgraded;
use portcullis_net::taking;
use portcullis_registry::Picked;
use portcullis_token::{Scan, Scrubber};
use tokio::time::Instant;

use crate::admit::Slot;
use crate::authorise::Facts;
use crate::body::{BodyError, UpstreamBody};
use crate::forward::Forwarded;
use crate::record::Record;
use crate::streams::OpenStream;
use crate::trailers::{self, Takes};
use crate::upgrade::{self, Pending};
use crate::{cors, headers, problem_details, trace};

/// An answer before the record goes into its body.
pub(crate) struct Answer {
    response: Response<Source>,
    keeps: Option<Keeps>,
    upgrade: Option<Rc<Facts>>,
    lasts: Option<(Lasts, Rc<Facts>)>,
}

/// How long an answer is expected to last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasts {
    /// It says so itself.
    Long,
    /// It may turn out to.
    Unknown,
}

/// What is held until the last byte.
#[expect(dead_code, reason = "held, not read")]
pub(crate) struct Keeps {
    slot: Slot,
    held: Option<Held>,
    picked: Picked,
}

/// Where an answer's body comes from.
enum Source {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl Answer {
    /// An answer of our own without a body.
    pub(crate) fn empty(status: StatusCode, fields: HeaderMap) -> Self {
        Self::whole(status, fields, Bytes::new())
    }

    /// An answer of our own.
    pub(crate) fn whole(status: StatusCode, fields: HeaderMap, body: Bytes) -> Self {
        let mut response = Response::new(Source::Whole(Some(body)));
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        Self { response, keeps: None, upgrade: None, lasts: None }
    }
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Makes the upstream's answer fit to leave.
pub(crate) fn finish(forwarded: Forwarded) -> Result<Answer, Refusal> {
    let Forwarded { response, facts, picked, slot, held, standing, origin, upgrade, takes } = forwarded;
    let (mut parts, body) = response.into_parts();
    let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && upgrade.is_none() {
        return Err(Refusal::new(Reason::UpstreamMalformed, "a 101 that nobody asked for"));
    }
    let announced = trailers::announced(&parts.headers, &body).filter(|_| takes == Takes::Announced);
    headers::strip_answer(&mut parts.headers);
    refuse_leaks(&parts.headers)?;
    for name in &facts.route.answer_edit.remove {
        parts.headers.remove(name);
    }
    for (name, value) in &facts.route.answer_edit.set {
        parts.headers.insert(name.clone(), value.clone());
    }
    cors::finish(facts.route.cors.as_ref(), origin.as_ref(), &mut parts.headers);
    if let Some((plan, standing)) = &standing {
        headers::set(&mut parts.headers, RATE_LIMIT, portcullis_limits::ratelimit(plan, standing));
    }
    if let Some(names) = announced {
        parts.headers.insert(header::TRAILER, names);
    }
    let lasts = if is_stream(&parts.headers) { Lasts::Long } else { Lasts::Unknown };
    let upgrade = upgrade.filter(|_| switches).map(|_| Rc::clone(&facts));
    if switches {
        upgrade::confirm(&mut parts.headers);
    }
    let keeps = Some(Keeps { slot, held, picked });
    let lasts = (!switches).then_some((lasts, facts));
    Ok(Answer { response: Response::from_parts(parts, Source::Upstream(body)), keeps, upgrade, lasts })
}

/// SECURITY: an internal token in a field would hand an outsider an insider's identity.
fn refuse_leaks(fields: &HeaderMap) -> Result<(), Refusal> {
    let leaks = |value: &HeaderValue| Scrubber::scan_whole(value.as_bytes()) == Scan::Found;
    match fields.values().any(leaks) {
        true => Err(Refusal::new(Reason::UpstreamMalformed, "the answer's head carries an internal token")),
        false => Ok(()),
    }
}

/// Server-sent events and gRPC live long.
fn is_stream(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let starts = |known: &[u8]| kind.get(..known.len()).is_some_and(|k| k.eq_ignore_ascii_case(known));
    starts(b"text/event-stream") || starts(b"application/grpc")
}

/// Sends the upstream's answer on, with the record in its body.
pub(crate) fn pass(answer: Answer, mut record: Box<Record>) -> Response<AnswerBody> {
    let Answer { response, keeps, upgrade, lasts } = answer;
    let connection = Rc::clone(record.connection());
    let (mut parts, mut source) = response.into_parts();
    headers::set(&mut parts.headers, trace::REQUEST_ID, &record.id().digits()[..]);
    record.served(parts.status.as_u16());
    let (mut stream, mut brief) = (None, None);
    match lasts {
        Some((Lasts::Long, facts)) => {
            if let Source::Upstream(body) = &mut source {
                body.may_be_silent();
            }
            stream = Some(open(&mut record, facts));
        }
        Some((Lasts::Unknown, facts)) => brief = Some(Brief { facts, since: record.core().beats() }),
        None => {}
    }
    let mut body = AnswerBody::of(source, Some(record));
    (body.stream, body.brief, body.keeps) = (stream, brief, keeps);
    match upgrade {
        None => {
            connection.settle();
            Response::from_parts(parts, body)
        }
        Some(facts) => {
            connection.pend(Pending { facts, body });
            Response::from_parts(parts, AnswerBody::none())
        }
    }
}

/// Enters an answer among the streams: it ends with its credential, and is asked about again (DESIGN §4).
fn open(record: &mut Record, facts: Rc<Facts>) -> OpenStream {
    record.streams();
    let core = record.core();
    let bounds = core.bounds(&facts);
    core.streams.open(facts, bounds)
}

/// Says no.
pub(crate) fn refuse(refusal: &Refusal, mut record: Box<Record>) -> Response<AnswerBody> {
    record.refused(refusal);
    record.connection().settle();
    let realm = record.core().shared.environment.as_str();
    let answer = problem_details::answer(refusal, record.id(), realm, record.dialect());
    let mut response = Response::new(AnswerBody::none());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    if refusal.reason() == Reason::MethodNotAllowed {
        problem_details::allow(response.headers_mut(), record.allowed());
    }
    let source = Source::Whole(Some(Bytes::from(answer.body)));
    *response.body_mut() = AnswerBody::of(source, Some(record));
    response
}

/// The body of every answer.
pub(crate) struct AnswerBody {
    source: Source,
    scrubber: Scrubber,
    stream: Option<OpenStream>,
    brief: Option<Brief>,
    record: Option<Box<Record>>,
    keeps: Option<Keeps>,
    /// What has been scanned and not been given out: an HTTP/2 stream gets its body in pieces, so that its pace shows.
    rest: Bytes,
}

/// An answer that did not say that it lasts.
struct Brief {
    facts: Rc<Facts>,
    /// The core's beats when its head left.
    since: u64,
}

/// Beats, of a second each, after which an answer is a stream whatever it calls itself.
const BRIEF: u64 = 2;

/// Why an answer was cut short.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the answer carries an internal token")]
    Leak,
    #[error("the stream's time is over")]
    Stream,
    #[error("the answer's trailers break the rules")]
    Trailers(#[source] Fault),
}

impl AnswerBody {
    fn none() -> Self {
        Self::of(Source::Whole(None), None)
    }

    fn of(source: Source, record: Option<Box<Record>>) -> Self {
        let (scrubber, rest) = (Scrubber::default(), Bytes::new());
        Self { source, scrubber, stream: None, brief: None, record, keeps: None, rest }
    }

    /// Takes the upstream's half of a tunnel and the record out.
    pub(crate) fn into_tunnel(mut self) -> Option<(Box<Upgraded>, Box<Record>, Keeps)> {
        let (record, keeps) = self.record.take().zip(self.keeps.take())?;
        match &mut self.source {
            Source::Upstream(body) => body.take_upgraded().map(|upstream| (upstream, record, keeps)),
            Source::Whole(_) => None,
        }
    }

    fn end(&mut self, close: Close) {
        self.stream = None;
        if let Some(mut record) = self.record.take() {
            record.end(close);
        }
    }

    fn cut(&mut self, close: Close, why: Cut) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.source = Source::Whole(None);
        self.end(close);
        Poll::Ready(Some(Err(Box::new(why))))
    }

    /// SECURITY: an endless answer is a stream by any media type, else it would outlive token, rules and revocation.
    fn note_lasting(&mut self) {
        let Some(record) = &mut self.record else { return };
        let lasts = |brief: &mut Brief| record.core().beats().wrapping_sub(brief.since) >= BRIEF;
        if let Some(brief) = self.brief.take_if(lasts) {
            self.stream = Some(open(record, brief.facts));
        }
    }

    /// The trailer section, if it keeps to the rules.
    fn ends_with(&mut self, section: HeaderMap) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(record) = &self.record else { return Poll::Ready(None) };
        match trailers::clean(section, record.connection().trailers(), Leg::Upstream) {
            Ok(section) => Poll::Ready(Some(Ok(Frame::trailers(section)))),
            Err(fault) => self.cut(Close::UpstreamBroke, Cut::Trailers(fault)),
        }
    }

    /// Gives out what was scanned: all of it, or the next piece.
    fn gives(&mut self, mut data: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if data.len() > taking::PIECE && taking::is_stream() {
            self.rest = data.split_off(taking::PIECE);
        }
        taking::gives(data.len());
        if let Some(record) = &mut self.record {
            record.sent(data.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// Scans one frame on its way out.
    fn passes(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match frame.into_data() {
            Ok(data) => {
                if self.scrubber.scan(&data) == Scan::Found {
                    return self.cut(Close::UpstreamBroke, Cut::Leak);
                }
                if let Some(stream) = &self.stream {
                    stream.pulse().beat();
                }
                self.gives(data)
            }
            Err(other) => {
                let Ok(trailers) = other.into_trailers() else { return Poll::Ready(None) };
                if refuse_leaks(&trailers).is_err() {
                    return self.cut(Close::UpstreamBroke, Cut::Leak);
                }
                self.ends_with(trailers)
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        taking::asked(Instant::now);
        this.note_lasting();
        if let Some(stream) = &mut this.stream
            && let Poll::Ready(close) = stream.poll_end(context)
        {
            return this.cut(close, Cut::Stream);
        }
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return this.gives(rest);
        }
        let frame = match &mut this.source {
            Source::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Source::Upstream(body) => Pin::new(body).poll_frame(context).map_err(BodyError::from),
        };
        match std::task::ready!(frame) {
            Some(Ok(frame)) => this.passes(frame),
            Some(Err(error)) => {
                this.end(Close::UpstreamBroke);
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.end(Close::Complete);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && match &self.source {
                Source::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
                Source::Upstream(body) => body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // An answer without a body is complete as soon as its head is handed over.
        let complete = matches!(self.source, Source::Whole(_)) || self.is_end_stream();
        self.end(match (taking::fault(), complete) {
            // What was given out last was never taken, even if nothing stands behind it.
            (Some(_), _) => Close::SlowReader,
            (None, true) => Close::Complete,
            (None, false) => Close::CallerGone,
        });
    }
}
