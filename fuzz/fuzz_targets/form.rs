//! Queries and bodies of forms: read without a fault, bounded, and what is written is read again.

#![no_main]

#[path = "../../src/control/compat/form.rs"]
mod form;

use form::{Form, PAIRS_MAX, encoded};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let pairs = data.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    let count = pairs.count();
    let read = Form::read(data);
    assert_eq!(read.is_some(), count <= PAIRS_MAX);
    if let Some(mut form) = read {
        for name in ["f", "email_ids", ""] {
            let listed = form.list(name).count();
            assert!(listed <= count);
            assert!(form.get(name).is_none() || listed > 0, "one value is a list, too");
        }
        // In two pieces it is the same as long as none of them cuts a pair.
        assert_eq!(form.add(data), 2 * count <= PAIRS_MAX);
    }
    let text = String::from_utf8_lossy(data);
    let written = format!("a={}", encoded(&text));
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
    let form = Form::read(written.as_bytes()).expect("one pair");
    assert_eq!(form.get("a"), Some(&*text));
});
