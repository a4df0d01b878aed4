#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fc_fuzz::vn2vn(bytes));
