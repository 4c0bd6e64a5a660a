//! Where requests end does not depend on the segmentation, and hyper's parser agrees.

#![no_main]

#[path = "../../tests/gate/mod.rs"]
mod gate;

libfuzzer_sys::fuzz_target!(|data: &[u8]| gate::fuzz_http(data));
