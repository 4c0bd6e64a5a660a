//! What clients of mail.tm's API write is read without a fault, and what is read out of it means what it says.

#![no_main]

#[path = "../../src/control/compat/mail_tm/asked.rs"]
mod asked;

use asked::{Since, attachment_id, attachment_number, cookie, is_topic_of, page, prefers_plain};

const ID: &str = "66b66d9cfdf11bf4bf13e676";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (one, other) = data.split_at(data.len() / 2);
    let alone = |field: &[u8]| prefers_plain([field].into_iter());
    assert!(!prefers_plain([one, other].into_iter()) || alone(one) || alone(other));
    if let Some(token) = cookie(data) {
        assert!(token.len() < data.len() && !token.contains(&b';'));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(page) = page(Some(text)) {
        assert!(page > 0 && page.checked_mul(asked::PAGE).is_some());
    }
    if let Some(number) = attachment_number(text) {
        assert_eq!(attachment_id(number), text);
    }
    if let Some(since) = Since::read(text) {
        let plain = text.strip_suffix(asked::OF_ACCOUNT);
        assert_eq!(since.knows_account, plain.is_some());
        let is_number = plain.unwrap_or(text).parse() == Ok(since.event);
        assert!(is_number || text == asked::EARLIEST);
    }
    let all = text.ends_with('*') || text.contains("{id}");
    assert!(!is_topic_of(text, ID) || text.contains(ID) || all);
});
