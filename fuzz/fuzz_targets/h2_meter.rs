//! See `portcullis_net::guard::fuzzing::meter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_net::guard::fuzzing::meter(bytes));
