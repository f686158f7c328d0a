//! See `portcullis_token::fuzzing::key_set`; the same bytes are read as claims, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portcullis_token::fuzzing::key_set(bytes);
    portcullis_token::fuzzing::claims(bytes);
});
