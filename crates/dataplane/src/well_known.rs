//! What the gateway itself answers: the public keys of its internal tokens.
//!
//! A service fetches the key set to verify the tokens that it is handed. The keys are public; serving them needs no
//! permit. The next key is in the set before it signs, so that no service meets a key that it could not have known.
//!
//! INVARIANT: only this exact path and the method GET; everything else goes down the line.
//!
//! Sources: RFC 7517 §5, §8.5; RFC 8615.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::core_state::Core;
use crate::frame::Framed;

/// Where the key set is.
const KEYS: &str = "/.well-known/portcullis/jwks.json";

/// Answers a request for the key set.
pub(crate) fn answer(core: &Core, framed: &Framed) -> Option<Answer> {
    if framed.path.as_str() != KEYS || framed.parts.method != Method::GET {
        return None;
    }
    let mut fields = HeaderMap::with_capacity(3);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let keys = core.shared.minter.load().jwks();
    Some(Answer::whole(StatusCode::OK, fields, Bytes::from(keys)))
}
