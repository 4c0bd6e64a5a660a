//! Mailboxes and messages as JSON. What a stranger wrote is decoded, cut to a sane length and
//! escaped by the JSON writer; nothing of it is ever executed, fetched or trusted.

use crate::clock::WallClock;
use crate::mail::{Address, Body, ReversePath};
use crate::store::{Entry, MailboxState};
use mail_parser::{Addr, Message, MessageParser};
use serde_json::{Value, json};

/// Only so much of a message is searched for its header.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// The longest text of a header field that is shown, in characters.
const TEXT_CHARS_MAX: usize = 1_000;

/// The most addresses that are shown of one header field.
const ADDRESSES_MAX: usize = 100;

/// A mailbox as its holder sees it.
pub(super) fn mailbox(state: &MailboxState, wall: &WallClock) -> Value {
    json!({
        "address": state.address.as_str(),
        "address_unicode": state.address.to_unicode(),
        "created_at": wall.rfc3339(state.created_at),
        "expires_at": state.expires_at.map(|at| wall.rfc3339(at)),
        "messages": state.messages,
        "bytes": state.bytes,
        "cursor": state.last.0.to_string(),
    })
}

/// A message as a list shows it.
pub(super) fn summary(entry: &Entry, wall: &WallClock) -> Value {
    let header = header_of(&entry.message.body);
    summary_of(
        entry,
        MessageParser::new().parse_headers(&header).as_ref(),
        wall,
    )
}

/// A message with its envelope and the header fields that people look at.
pub(super) fn detail(entry: &Entry, mailbox: &Address, wall: &WallClock) -> Value {
    let header = header_of(&entry.message.body);
    let parsed = MessageParser::new().parse_headers(&header);
    let parsed = parsed.as_ref();
    let mut view = summary_of(entry, parsed, wall);
    let from = match &entry.message.reverse_path {
        ReversePath::Null => None,
        ReversePath::Address(address) => Some(&**address),
    };
    view["queue_id"] = json!(entry.message.queue_id.as_str());
    view["envelope"] = json!({ "from": from, "to": mailbox.as_str() });
    view["headers"] = json!({
        "from": addresses(parsed.and_then(Message::from)),
        "to": addresses(parsed.and_then(Message::to)),
        "cc": addresses(parsed.and_then(Message::cc)),
        "reply_to": addresses(parsed.and_then(Message::reply_to)),
        "subject": parsed.and_then(Message::subject).map(cut),
        "date": parsed.and_then(Message::date).map(mail_parser::DateTime::to_rfc3339),
        "message_id": parsed.and_then(Message::message_id).map(cut),
    });
    view
}

fn summary_of(entry: &Entry, parsed: Option<&Message<'_>>, wall: &WallClock) -> Value {
    let from = parsed.and_then(Message::from);
    json!({
        "id": entry.sequence.0.to_string(),
        "from": from.and_then(|from| from.iter().next()).map(address),
        "subject": parsed.and_then(Message::subject).map(cut),
        "size": entry.message.body.len(),
        "received_at": wall.rfc3339(entry.message.received_at),
        "expires_at": wall.rfc3339(entry.expires_at),
        "tls": entry.message.tls,
        "require_tls": entry.message.require_tls,
    })
}

/// The header of a message: what stands before the first empty line.
fn header_of(body: &Body) -> Vec<u8> {
    let mut header = Vec::new();
    for segment in body.segments() {
        // The empty line may lie across the end of the segment before.
        let from = header.len().saturating_sub(3);
        let room = HEADER_BYTES_MAX - header.len();
        header.extend_from_slice(&segment[..segment.len().min(room)]);
        if let Some(end) = memchr::memmem::find(&header[from..], b"\r\n\r\n") {
            header.truncate(from + end + 4);
            break;
        }
        if header.len() >= HEADER_BYTES_MAX {
            break;
        }
    }
    header
}

fn addresses(field: Option<&mail_parser::Address<'_>>) -> Vec<Value> {
    field
        .into_iter()
        .flat_map(mail_parser::Address::iter)
        .take(ADDRESSES_MAX)
        .map(address)
        .collect()
}

fn address(address: &Addr<'_>) -> Value {
    json!({
        "name": address.name.as_deref().map(cut),
        "address": address.address.as_deref().map(cut),
    })
}

fn cut(text: &str) -> &str {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::mail::message::QueueId;
    use crate::mail::{self, BodyWriter, Ledger};
    use crate::store::Sequence;
    use std::sync::Arc;

    fn entry(text: &[u8]) -> Entry {
        let reservation = Ledger::new(1 << 30).reserve(text.len() as u64);
        let mut writer = BodyWriter::new(reservation.expect("fits"));
        for chunk in text.chunks(5_000) {
            writer.write(chunk);
        }
        Entry {
            sequence: Sequence(7),
            expires_at: Instant::from_secs(60),
            message: Arc::new(mail::Message {
                queue_id: QueueId::from_random(0),
                reverse_path: ReversePath::Null,
                body: writer.finish(),
                received_at: Instant::from_secs(5),
                tls: true,
                require_tls: false,
            }),
        }
    }

    fn summarised(text: &[u8]) -> Value {
        summary(&entry(text), &WallClock::new(Instant::ZERO, 0))
    }

    #[test]
    fn words_are_decoded_and_strangers_bytes_are_only_text() {
        let view = summarised(
            b"From: =?utf-8?q?J=C3=BCrgen?= <j@a.test>\r\n\
              Subject: =?utf-8?q?<script>=0D=0AX:_=C3=A4?=\r\n\r\nSubject: body\r\n",
        );
        assert_eq!(view["from"]["name"], "J\u{fc}rgen");
        assert_eq!(view["from"]["address"], "j@a.test");
        let subject = view["subject"].as_str().expect("text");
        assert!(subject.starts_with("<script>") && subject.ends_with('\u{e4}'));
        assert!(!view.to_string().contains(['\r', '\n']), "one line of JSON");
        assert_eq!(view["received_at"], "1970-01-01T00:00:05Z");
    }

    #[test]
    fn broken_messages_have_views_too() {
        let long = [b"Subject: ".as_slice(), &b"x".repeat(200_000)].concat();
        assert_eq!(summarised(&long)["size"], 200_009);
        for text in [
            &b""[..],
            b"\r\n",
            b"no header at all",
            b"\xff\xfe: \xff\r\nSubject: \xc3\x28\r\n\r\n",
            b"From: (((((\r\nTo: <<<>>>,;:\r\nDate: 99 Foo 99999\r\n\r\n",
        ] {
            let entry = entry(text);
            let to = Address::parse("a@mayfly.test").expect("an address");
            let view = detail(&entry, &to, &WallClock::new(Instant::ZERO, 0));
            assert_eq!(view["id"], "7", "{text:?}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "\u{e4}".repeat(TEXT_CHARS_MAX + 1);
        assert_eq!(cut(&text).chars().count(), TEXT_CHARS_MAX);
    }

    #[test]
    fn the_header_ends_at_the_first_empty_line_wherever_segments_end() {
        for pad in 4_060..4_110 {
            let text = format!("X: {}\r\n\r\nSubject: body\r\n", "y".repeat(pad));
            let header = header_of(&entry(text.as_bytes()).message.body);
            assert_eq!(header.len(), pad + 7);
        }
    }
}
