//! See `portcullis_token::fuzzing::scrub`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assert!(portcullis_token::fuzzing::scrub(bytes)));
