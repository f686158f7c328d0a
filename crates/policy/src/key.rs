//! The key of the decision cache: the exact values of everything that an answer can depend on.
//!
//! The key is those values themselves, not a digest of them, so two different questions cannot meet by chance.
//!
//! INVARIANT: the encoding is injective: each part has a fixed place, a tag or a length, so no two lists of values
//! are written alike (C7).
//! INVARIANT: values and their absence are written differently.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::ClaimValue;

use crate::book::Door;
use crate::facts::{assurance, binding, canonical, parameter, proof};
use crate::input::Input;
use crate::{Fault, Question, SliceId};

/// Writes the key of a question into `out`, which is emptied first.
///
/// # Errors
/// The question lacks something that its rules read; it has no key then, and no answer but this.
pub(crate) fn write_key(
    out: &mut Vec<u8>,
    slice: SliceId,
    door: &Door,
    question: &Question<'_>,
) -> Result<(), Fault> {
    out.clear();
    out.extend_from_slice(&slice.index.to_le_bytes());
    out.push(question.method as u8);
    door.inputs.iter().try_for_each(|input| write_input(out, input, question))
}

fn write_input(out: &mut Vec<u8>, input: &Input, question: &Question<'_>) -> Result<(), Fault> {
    let caller = question.principal;
    match input {
        Input::Identity => {
            bytes(out, caller.issuer.as_str().as_bytes());
            bytes(out, caller.subject.as_bytes());
        }
        Input::Issuer => bytes(out, caller.issuer.as_str().as_bytes()),
        Input::Subject => bytes(out, caller.subject.as_bytes()),
        Input::Client => match &caller.client {
            None => out.push(0),
            Some(client) => {
                out.push(1);
                bytes(out, client.as_bytes());
            }
        },
        Input::Proof => bytes(out, proof(caller.proof).as_bytes()),
        Input::Binding => bytes(out, binding(caller.binding).as_bytes()),
        Input::Assurance => out.extend_from_slice(&assurance(caller.assurance).to_le_bytes()),
        Input::Scopes => list(out, &caller.scopes),
        Input::Roles | Input::Groups => list(out, &caller.roles),
        Input::Claim(name) => claim(out, caller.claims.get(name)),
        Input::Parameter(name) => bytes(out, parameter(question, name)?.as_bytes()),
        Input::Source => address(out, canonical(question.source)),
        // Never in a key that is used, since a slice that reads it is not cached; written all the same.
        Input::Time => out.extend_from_slice(&question.now.0.to_le_bytes()),
        // Fixed by slice and method, which the key begins with; or a mark for what is written by name.
        Input::EveryClaim
        | Input::EveryParameter
        | Input::Environment
        | Input::Method
        | Input::Route
        | Input::ActionGroups => {}
    }
    Ok(())
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(&value.len().to_le_bytes());
    out.extend_from_slice(value);
}

fn list<'l>(out: &mut Vec<u8>, values: impl IntoIterator<Item = &'l Arc<str>, IntoIter: ExactSizeIterator>) {
    let values = values.into_iter();
    out.extend_from_slice(&values.len().to_le_bytes());
    values.for_each(|value| bytes(out, value.as_bytes()));
}

fn claim(out: &mut Vec<u8>, value: Option<&ClaimValue>) {
    match value {
        None => out.push(0),
        Some(ClaimValue::Flag(flag)) => out.extend_from_slice(&[1, u8::from(*flag)]),
        Some(ClaimValue::Number(number)) => {
            out.push(2);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Some(ClaimValue::Text(text)) => {
            out.push(3);
            bytes(out, text.as_bytes());
        }
        Some(ClaimValue::Texts(texts)) => {
            out.push(4);
            list(out, texts);
        }
    }
}

fn address(out: &mut Vec<u8>, source: IpAddr) {
    match source {
        IpAddr::V4(v4) => {
            out.push(4);
            out.extend_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            out.push(6);
            out.extend_from_slice(&v6.octets());
        }
    }
}
