//! Whatever a message is, it can be read, in a time and a space that go with its size.

#![no_main]

use mayfly::reading::html::Remote;
use mayfly::reading::{Limits, message};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let reading = message::read(data, &limits);
    assert!(reading.text.len() <= 4 * data.len() + 100);
    assert!(message::fields(data).len() <= data.len());
    for attachment in &reading.attachments {
        assert!(attachment.name.len() <= 255 && attachment.size <= data.len());
    }
    for remote in [Remote::Blocked, Remote::Shown] {
        if let Some(document) = message::document(data, &limits, remote) {
            assert!(!document.contains("<script") && !document.contains("javascript:\""));
        }
    }
});
