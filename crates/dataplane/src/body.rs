//! Bodies on their way through.
//!
//! A request's body is counted against the route's limit as it passes, and its trailers are held to the rules of
//! fields. An answer's body is scanned for internal tokens, ends with its stream's lifetime, and carries the record to
//! its end: whatever happens to the answer, the last byte, a reset or a caller who left, the record is closed.
//!
//! INVARIANT: over HTTP/2 each body has the pace of its own that the guard holds HTTP/1.1 to, and none costs a timer before
//! its first wait (E8).
//! INVARIANT: bytes pass in the order and number in which they came; nothing here buffers, so back-pressure is the
//! transport's.
//! INVARIANT: an answer in which an internal token shows is cut before the chunk that completes it (DESIGN §4).
//!
//! Sources: RFC 9110 §6.5 (trailers); threats A4, A7, E8, E10.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use portcullis_core::{Reason, Refusal};
use portcullis_net::Incoming;
use portcullis_net::guard::{Fault, Flaw, Leg, MinRate, StreamPace};
use tokio::time::Instant;

use crate::trailers;

/// The error of a body: why it broke off.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an upstream's answer.
pub(crate) type UpstreamBody = portcullis_net::pool::AnswerBody<RequestBody>;

/// A request body that is longer than its route permits.
#[derive(Debug, thiserror::Error)]
#[error("the request body is longer than the route permits")]
pub(crate) struct TooLong;

/// The body of a permitted request.
pub(crate) enum RequestBody {
    /// As it comes.
    Passing(Passing),
    /// All of it, checked.
    Whole(Option<Bytes>),
}

/// What a body is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRules {
    /// Most bytes.
    pub most: u64,
    /// Its trailers.
    pub trailers: trailers::Limits,
    /// The slowest pace, where nobody below holds it to one: HTTP/2, whose streams share a connection (E8).
    pub pace: Option<MinRate>,
}

/// What is known of a body that passes; it outlives the body.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    bytes: Cell<u64>,
    fault: Cell<Option<Fault>>,
}

impl Passed {
    /// A body of which all `bytes` have passed.
    pub(crate) fn of(bytes: u64) -> Self {
        Self { bytes: Cell::new(bytes), fault: Cell::default() }
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Why it broke off, if that was its pace.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }
}

/// A body that is counted while it passes.
pub(crate) struct Passing {
    incoming: Incoming,
    left: u64,
    trailers: trailers::Limits,
    pace: Option<StreamPace>,
    passed: Rc<Passed>,
}

impl RequestBody {
    /// A body under these rules.
    ///
    /// # Errors
    /// It announces more than they permit.
    pub(crate) fn passing(incoming: Option<Incoming>, rules: BodyRules) -> Result<Self, Refusal> {
        let Some(incoming) = incoming else { return Ok(Self::Whole(None)) };
        if incoming.size_hint().lower() > rules.most {
            return Err(Refusal::new(
                Reason::BodyTooLarge,
                "the announced length is beyond the route's limit",
            ));
        }
        let BodyRules { most: left, trailers, pace } = rules;
        let pace = pace.map(StreamPace::new);
        Ok(Self::Passing(Passing { incoming, left, trailers, pace, passed: Rc::default() }))
    }

    /// Bytes that were checked.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }

    /// Whether it is known to be empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_end_stream()
    }

    /// What is known of it, which outlives the body.
    pub(crate) fn passed(&self) -> Rc<Passed> {
        match self {
            Self::Passing(passing) => Rc::clone(&passing.passed),
            Self::Whole(bytes) => Rc::new(Passed::of(bytes.as_ref().map_or(0, |b| b.len() as u64))),
        }
    }

    /// Waits for all of it, but not for longer than `deadline` nor for more than `cap` bytes.
    ///
    /// # Errors
    /// It is too long, too slow, or breaks off.
    pub(crate) async fn collect(self, cap: usize, deadline: Duration) -> Result<Bytes, Refusal> {
        let gather = async {
            let mut body = self;
            let mut whole = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| broken_off(&*error))?;
                if let Ok(data) = frame.into_data() {
                    if whole.len().saturating_add(data.len()) > cap {
                        return Err(Refusal::new(
                            Reason::BodyTooLarge,
                            "longer than the contract check reads",
                        ));
                    }
                    whole.extend_from_slice(&data);
                }
            }
            Ok(whole.freeze())
        };
        let late = |_| Err(Refusal::new(Reason::RequestTimeout, "the body did not arrive in time"));
        tokio::time::timeout(deadline, gather).await.unwrap_or_else(late)
    }
}

/// Why a request body broke off, as a refusal: the cause may lie several errors deep.
pub(crate) fn broken_off(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let chain = std::iter::successors(Some(error), |e| e.source()).take(16);
    if chain.into_iter().any(|e| e.is::<TooLong>()) {
        return Refusal::new(Reason::BodyTooLarge, "the body is longer than the route permits");
    }
    match Fault::of(error) {
        Some(fault) => Refusal::new(fault.reason(), fault.class()),
        None => Refusal::new(Reason::MalformedRequest, "the request body broke off"),
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Self::Passing(passing) => passing.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Passing(passing) => passing.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Passing(passing) => passing.incoming.size_hint(),
        }
    }
}

impl Passing {
    /// The caller has nothing for us: a fault once that has been so for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(pace) = &mut self.pace else { return Poll::Pending };
        std::task::ready!(pace.poll_late(context, Instant::now()));
        let fault = Fault::new(Flaw::SlowBody, Leg::Downstream);
        self.passed.fault.set(Some(fault));
        Poll::Ready(Some(Err(Box::new(fault))))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(polled) = Pin::new(&mut self.incoming).poll_frame(context) else {
            return self.poll_late(context);
        };
        let frame = match polled {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let frame = match frame.into_data() {
            Err(trailers) => trailers,
            Ok(data) => match self.left.checked_sub(data.len() as u64) {
                None => return Poll::Ready(Some(Err(Box::new(TooLong)))),
                Some(left) => {
                    self.left = left;
                    self.passed.bytes.set(self.passed.bytes() + data.len() as u64);
                    if let Some(pace) = &mut self.pace {
                        pace.moved(data.len(), Instant::now);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            },
        };
        let Ok(section) = frame.into_trailers() else { return Poll::Ready(None) };
        let cleaned = trailers::clean(section, self.trailers, Leg::Downstream);
        Poll::Ready(Some(cleaned.map(Frame::trailers).map_err(BodyError::from)))
    }
}
