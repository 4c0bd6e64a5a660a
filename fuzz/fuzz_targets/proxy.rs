//! What a proxy says does not depend on the segmentation, and nothing behind it is touched.

#![no_main]

#[path = "../../tests/harness/mod.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::fuzz_proxy(data));
