//! See `portcullis_config::fuzzing::root_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_config::fuzzing::root_file(bytes));
