//! Does a request follow its OpenAPI document? The only room that knows JSON Schema.
//!
//! A document is read once, with every problem in it reported at once, and becomes a [`Contract`] of compiled
//! [`Operation`]s. A request is then checked in two steps: its head before anything is read of the body, its body once it is
//! there. What does not fit comes back as [`Findings`]; whether they are ignored, reported or refused is the
//! caller's setting.
//!
//! INVARIANT: no value that a caller sent is in a finding: names and rules only (SS028-11.6.2d).
//! INVARIANT: the cost of a check is bounded by the size of the request: bodies are capped before they are parsed (E9), patterns
//! run in linear time (E12), schemas that would evaluate without end or explode are refused or capped at load.
//! INVARIANT: nothing is fetched: a reference that leaves the document is a problem of the document.
//!
//! Not here: modes, events and answers (`portcullis-dataplane`), routing (`portcullis-snapshot`).
//!
//! Sources: OpenAPI 3.0.4 and 3.1.1; JSON Schema 2020-12; SS028-11.6.2b, MS-SS-5.2; threats B6, B8, E9, E12.

mod body;
mod compile;
mod contract;
mod cycles;
mod decode;
mod document;
mod finding;
pub mod import;
mod json;
mod media;
mod operation;
mod parameter;
mod query;
mod schema;
mod shape;

pub use body::BodyCheck;
pub use contract::Contract;
pub use finding::{Finding, Findings, Kind, Place};
pub use operation::{BodyPresence, HeadView, HeaderLookup, Operation};

/// Entry for the fuzzer: a document and a request in one text.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (document, request) = text.split_once('\u{1}').unwrap_or((text, ""));
    let Ok(contract) = Contract::parse("fuzz", document) else { return };
    for operation in contract.operations() {
        let lookup = |_: &str, each: &mut dyn FnMut(&[u8])| each(request.as_bytes());
        let head = HeadView {
            path: &[("a", request)],
            query: Some(request),
            headers: &lookup,
            content_type: Some("application/json"),
            body: BodyPresence::Present,
        };
        let _ = operation.check_head(&head);
        for media in ["application/json", "application/x-www-form-urlencoded"] {
            let _ = operation.check_body(Some(media), request.as_bytes());
        }
    }
    let _ = portcullis_core::Name::parse("fuzz").map(|name| import::routes(&contract, &name));
}

#[cfg(test)]
mod tests;
