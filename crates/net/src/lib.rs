//! Listening, TLS, HTTP framing and its guard, the upstream pool; the only room that knows hyper and rustls.
