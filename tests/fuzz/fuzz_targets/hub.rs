#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| longlink_fuzz::hub::run(input));
