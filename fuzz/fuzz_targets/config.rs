//! Whatever stands in a configuration file is taken or explained, and what is taken can be printed and read again.

#![no_main]

#[path = "../../tests/harness/mod.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::fuzz_config(data));
