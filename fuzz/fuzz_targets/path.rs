//! See `portcullis_net::guard::fuzzing::path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_net::guard::fuzzing::path(bytes));
