//! Whatever a message is, under any policy for attachments what is left can be read, and nothing blocked is in it.

#![no_main]

#[path = "../../tests/stripping/mod.rs"]
mod stripping;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((choice, raw)) = data.split_first() {
        stripping::fuzz_attachments(*choice, raw);
    }
});
