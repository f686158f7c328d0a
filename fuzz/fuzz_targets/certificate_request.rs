//! See `portcullis_ca::fuzzing::certificate_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_ca::fuzzing::certificate_request(bytes));
