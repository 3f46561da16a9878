#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::edge_session(bytes));
