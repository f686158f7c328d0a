//! See `portcullis_net::guard::fuzzing::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_net::guard::fuzzing::request(bytes));
