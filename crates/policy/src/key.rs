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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use portcullis_core::{Assurance, Binding, Name, Principal, Proof, UnixMillis};
    use proptest::prelude::*;

    use super::*;
    use crate::Method;

    fn door() -> Door {
        use Input::{
            Assurance, Binding, Claim, Client, Groups, Identity, Parameter, Proof, Roles, Scopes, Source,
        };
        let inputs = [
            Identity,
            Groups,
            Client,
            Proof,
            Binding,
            Assurance,
            Scopes,
            Roles,
            Claim("a".into()),
            Claim("b".into()),
            Parameter("p".into()),
            Parameter("q".into()),
            Source,
        ];
        Door { layers: Box::default(), inputs: inputs.into(), claims: Box::default(), cacheable: true }
    }

    type Values = (Principal, (String, String), IpAddr, Method);

    fn key((principal, (p, q), source, method): &Values) -> Vec<u8> {
        let path = [("p", p.as_str()), ("q", q.as_str())];
        let now = UnixMillis(0);
        let question = Question { principal, method: *method, path: &path, source: *source, now };
        let mut out = b"what was there before".to_vec();
        write_key(&mut out, SliceId { stamp: 1, index: 2 }, &door(), &question).expect("a key");
        out
    }

    /// Short texts out of few letters, so that boundaries collide if they can.
    fn text() -> impl Strategy<Value = String> {
        "[a\u{0}\u{1}]{0,2}"
    }

    fn texts() -> impl Strategy<Value = BTreeSet<Arc<str>>> {
        proptest::collection::btree_set(text().prop_map(Arc::from), 0..3)
    }

    fn claims() -> impl Strategy<Value = Option<ClaimValue>> {
        prop_oneof![
            Just(None),
            any::<bool>().prop_map(|v| Some(ClaimValue::Flag(v))),
            (0..2_i64).prop_map(|v| Some(ClaimValue::Number(v))),
            text().prop_map(|v| Some(ClaimValue::Text(v.into()))),
            texts().prop_map(|v| Some(ClaimValue::Texts(v))),
        ]
    }

    fn values() -> impl Strategy<Value = Values> {
        let who = (text(), proptest::option::of(text()), texts(), texts(), claims(), claims());
        let rest = ((text(), text()), any::<bool>(), any::<bool>(), any::<bool>());
        (who, rest).prop_map(|((subject, client, scopes, roles, a, b), (path, v6, get, strong))| {
            let pairs = [("a", a), ("b", b)];
            let claims = pairs.into_iter().filter_map(|(n, v)| v.map(|v| (Arc::from(n), v)));
            let claims: BTreeMap<_, _> = claims.collect();
            let principal = Principal {
                proof: if strong { Proof::Certificate } else { Proof::Token },
                subject: subject.into(),
                client: client.map(Arc::from),
                scopes,
                roles,
                claims,
                binding: if strong { Binding::MutualTls } else { Binding::Bearer },
                assurance: if strong { Assurance::High } else { Assurance::Low },
                ..Principal::anonymous(Name::parse("i").expect("a name"))
            };
            let source = if v6 { "::1" } else { "192.0.2.1" };
            let method = if get { Method::Get } else { Method::Post };
            (principal, path, source.parse().expect("an address"), method)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Keys are equal exactly when all values are.
        #[test]
        fn c7_a_key_is_as_large_as_the_question(one in values(), two in values()) {
            prop_assert_eq!(key(&one) == key(&two), one == two, "{:?} {:?}", one, two);
        }

        /// The same for questions that differ in one value only.
        #[test]
        fn c7_one_value_is_enough(one in values(), other in text(), at in 0..5_u8) {
            let mut two = one.clone();
            match at {
                0 => two.0.subject = other.into(),
                1 => two.0.client = Some(other.into()),
                2 => two.1.0 = other,
                3 => _ = two.0.scopes.insert(other.into()),
                _ => _ = two.0.claims.insert("b".into(), ClaimValue::Text(other.into())),
            }
            prop_assert_eq!(key(&one) == key(&two), one == two, "{:?} {:?}", one, two);
        }
    }
}
