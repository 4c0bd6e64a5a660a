//! What counted chunks hold depends neither on the segmentation nor on the chunks.

#![no_main]

#[path = "../../tests/harness/mod.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::fuzz_chunk(data));
