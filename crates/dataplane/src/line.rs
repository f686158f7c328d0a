//! The whole life of a request, in the order in which it happens.
//!
//! ```text
//! accept ─ frame ─ admit ─ identify ─ route ─ authorise ─ shape ─ select ─ forward ─ answer ─ record
//! TCP,TLS  one     cheap   who?      which    may         limits,  which    needs    one      always,
//!          parse,  load    proof 1   door?    they?       contract end-     a        error    refusals too
//!          only    shed                       proof 2     checks   point    Permit   map      (outermost ring)
//! ```
//!
//! A stage is a function in its own file. It returns a value or a [`Refusal`]; it never writes an answer, counts a
//! metric, reads the clock or records: this file does that for all of them.
//!
//! INVARIANT: one request sees one `Snapshot`, taken at the door.
//! INVARIANT: the [`Caller`](crate::identify::Caller) and the [`Permit`](crate::authorise::Permit) are proofs: nothing
//! but `identify` and `authorise` can make them, neither can be copied, and `forward` takes its bytes from the permit
//! alone, so authorising one request and forwarding another cannot be written.
//! INVARIANT: the record is the outermost ring: it is opened before the first stage, and closing it cannot be
//! forgotten, since dropping it writes "outcome unknown".
//!
//! Not here: accepting connections (`edge`), what is counted and written (`record`).

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;

use http::{Request, Response};
use portcullis_core::Refusal;
use portcullis_evidence::request::Stage;
use portcullis_net::Incoming;

use crate::answer::{self, Answer, AnswerBody};
use crate::connection::Connection;
use crate::core_state::Core;
use crate::record::Record;
use crate::{admit, authorise, cors, forward, frame, identify, route, select, shape, source, well_known};

/// Begins to serve one request.
///
/// The future is some kilobytes. It is made where it stays, since a box that is asked for first is not copied into.
pub(crate) fn begin(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    request: Request<Incoming>,
) -> Pin<Box<impl Future<Output = Result<Response<AnswerBody>, Infallible>> + use<>>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, serve(Rc::clone(core), Rc::clone(connection), request)))
}

/// Serves one request: whatever happens, there is an answer and a record.
async fn serve(
    core: Rc<Core>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    // Boxed, since it goes from hand to hand: through the answer and its body to the last byte.
    let mut record = Box::write(Box::new_uninit(), Record::open(&core, &connection, &request));
    Ok(match life(&core, &connection, request, &mut record).await {
        Ok(answer) => answer::pass(answer, record),
        Err(refusal) => answer::refuse(&refusal, record),
    })
}

async fn life(
    core: &Rc<Core>,
    connection: &Connection,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Answer, Refusal> {
    record.at(Stage::Frame);
    let framed = frame::frame(connection, request)?;

    record.at(Stage::Admit);
    let snapshot = core.snapshot(record.now())?;
    record.comes_from(source::resolve(&snapshot.proxies, connection.ends().source, &framed.parts.headers)?);
    let admitted = admit::admit(core, framed, record)?;
    if let Some(own) = well_known::answer(core, &admitted.framed) {
        return Ok(own);
    }

    record.at(Stage::Identify);
    let door = route::find(&snapshot, &admitted.framed);
    let caller = identify::identify(core, &snapshot, connection, &admitted, &door, record.now())?;
    record.identified(&caller);

    record.at(Stage::Route);
    let routed = route::enter(door, admitted, &caller, record)?;
    record.routed(&snapshot, &routed);
    if let Some(granted) = cors::answer_preflight(&routed, &caller)? {
        return Ok(granted);
    }

    record.at(Stage::Authorise);
    let permit = authorise::authorise(core, &snapshot, caller, routed, record)?;

    record.at(Stage::Shape);
    let shaped = shape::shape(core, permit, record).await?;

    record.at(Stage::Select);
    let choice = select::select(core, &shaped.permit, record.now())?;

    record.at(Stage::Forward);
    record.decided().await?;
    let forwarded = forward::forward(core, &snapshot, shaped, choice, record).await?;

    record.at(Stage::Answer);
    answer::finish(forwarded)
}
