//! See `portcullis_token::fuzzing::jws`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_token::fuzzing::jws(bytes));
