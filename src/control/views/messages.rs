//! Messages as JSON. What a stranger wrote is decoded, cut to a sane length and escaped by the JSON
//! writer; nothing of it is ever executed, fetched or trusted.

use crate::clock::WallClock;
use crate::mail::{self, Address, ReversePath};
use crate::reading::codes::{Code, Findings, Link, Place};
use crate::reading::fields::Field;
use crate::reading::message::{Attachment, Reading};
use crate::store::{Entry, Sequence};
use mail_parser::{Addr, Message, MessageParser};
use serde::Serialize;
use utoipa::ToSchema;

/// Only so much of a message is searched for its header.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// The longest text of a header field that is shown, in characters.
const TEXT_CHARS_MAX: usize = 1_000;

/// The most addresses that are shown of one header field.
const ADDRESSES_MAX: usize = 100;

/// A page of messages, oldest first.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Page {
    messages: Vec<MessageSummary>,
    /// Hand it back to get what comes after this page.
    #[schema(pattern = "^[0-9]{1,20}$", example = "1")]
    cursor: String,
}

/// What is known of a message without taking it apart.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct MessageBasics {
    /// Its number in its mailbox.
    #[schema(pattern = "^[0-9]{1,20}$", example = "1")]
    id: String,
    /// Who the header says it is from. Anyone can write anything there.
    #[schema(required)]
    from: Option<Person>,
    /// Its subject, decoded.
    #[schema(required, example = "Hello")]
    subject: Option<String>,
    /// Whether it is encrypted to the key of its mailbox. Then nobody here can say who it is from or what is in it, and only its source
    /// can be had: an age file.
    #[schema(example = false)]
    encrypted: bool,
    /// Its bytes, as it came, or as they are encrypted.
    #[schema(example = 1_734)]
    size: usize,
    /// When it came.
    #[schema(format = DateTime, example = "2026-11-22T10:00:07Z")]
    received_at: String,
    /// When it goes.
    #[schema(format = DateTime, example = "2026-11-22T10:30:00Z")]
    expires_at: String,
    /// Whether it came inside TLS.
    #[schema(example = true)]
    tls: bool,
    /// Whether its sender asked that it travel in no other way (REQUIRETLS, RFC 8689).
    #[schema(example = false)]
    require_tls: bool,
}

/// A message, as a list and the event stream show it.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct MessageSummary {
    #[serde(flatten)]
    basics: MessageBasics,
    /// The surest one-time code, or none. `null`: nobody looked.
    #[schema(required, max_items = 1)]
    codes: Option<Vec<FoundCode>>,
    /// The surest verification link, or none. `null`: nobody looked.
    #[schema(required, max_items = 1)]
    links: Option<Vec<FoundLink>>,
}

/// A message, as people read it.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct MessageDetail {
    #[serde(flatten)]
    basics: MessageBasics,
    /// What the reply to its sender and the log call it.
    #[schema(example = "k7wq2m5t9xh3pz4b")]
    queue_id: String,
    envelope: Envelope,
    headers: Headers,
    /// What there is to read. Of a message that has only HTML it is made of that.
    #[schema(example = "Your verification code: 482913")]
    text: String,
    /// `null`: there is no HTML.
    #[schema(required)]
    html: Option<HtmlFacts>,
    /// All that is not shown, in the order of the message.
    attachments: Vec<AttachmentFacts>,
    /// One-time codes, the surest first.
    #[schema(max_items = 5)]
    codes: Vec<FoundCode>,
    /// Verification links, the surest first.
    #[schema(max_items = 5)]
    links: Vec<FoundLink>,
    /// A limit left something out; the source has it.
    #[schema(example = false)]
    truncated: bool,
    /// The message breaks the rules of MIME. What could be found is shown all the same.
    #[schema(example = false)]
    malformed: bool,
}

/// A name and an address of a header field. Either may be missing.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Person {
    #[schema(required, example = "J\u{f6}rg")]
    pub(in crate::control) name: Option<String>,
    #[schema(required, example = "joerg@a.test")]
    pub(in crate::control) address: Option<String>,
}

/// What was said in the SMTP session.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Envelope {
    /// `null` for a bounce.
    #[schema(required, example = "joerg@a.test")]
    from: Option<String>,
    #[schema(example = "damuki-renuza-hitepa@mayfly.test")]
    to: String,
}

/// The header fields that people look at, decoded. At most 100 addresses of a field, 1,000 characters of a text.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Headers {
    #[schema(max_items = 100)]
    pub(in crate::control) from: Vec<Person>,
    #[schema(max_items = 100)]
    pub(in crate::control) to: Vec<Person>,
    #[schema(max_items = 100)]
    pub(in crate::control) cc: Vec<Person>,
    #[schema(max_items = 100)]
    pub(in crate::control) reply_to: Vec<Person>,
    #[schema(required, example = "Hello")]
    pub(in crate::control) subject: Option<String>,
    /// RFC 3339, with the offset that the sender wrote. Nothing says that it is a date that there is.
    #[schema(required, example = "2026-11-22T10:00:00Z")]
    pub(in crate::control) date: Option<String>,
    #[schema(required, example = "1@a.test")]
    pub(in crate::control) message_id: Option<String>,
}

/// What there is to know of the HTML before it is opened.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct HtmlFacts {
    /// Its bytes when it is harmless.
    #[schema(example = 431)]
    bytes: usize,
    /// Images of the message itself that are shown.
    #[schema(example = 1)]
    images: u32,
    /// Addresses from which images would have been loaded. Nothing is.
    #[schema(example = json!(["https://t.test/p.gif"]))]
    remote: Vec<String>,
}

/// Something that is not shown but handed out.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct AttachmentFacts {
    /// Its number among the attachments, from 0.
    #[schema(example = 0)]
    index: usize,
    /// A name that is safe to save it under.
    #[schema(example = "invoice.pdf")]
    name: String,
    /// The media type that the sender says it has: do not trust it.
    #[schema(example = "application/pdf")]
    r#type: String,
    /// Its bytes, decoded.
    #[schema(example = 48_211)]
    size: usize,
    /// By what the HTML may refer to it.
    #[schema(required, example = json!(null))]
    content_id: Option<String>,
    /// Whether it belongs into the text and not beside it.
    #[schema(example = false)]
    inline: bool,
}

/// Where something was found. `html`: the HTML says something else than the text.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::control) enum FoundIn {
    Subject,
    Text,
    Html,
}

/// A one-time code.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct FoundCode {
    /// As it should be typed: no blanks, ASCII digits.
    #[schema(example = "482913")]
    code: String,
    /// How sure it is.
    #[schema(minimum = 0.5, maximum = 0.99, example = 0.99)]
    confidence: f64,
    place: FoundIn,
    /// Where it begins there, in Unicode code points.
    #[schema(example = 26)]
    offset: usize,
}

/// A link that verifies an address or lets its holder in.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct FoundLink {
    #[schema(example = "https://harbour.test/verify?token=Zk39fQx81LmN02pQ")]
    url: String,
    /// What it is shown as.
    #[schema(example = "Verify my address")]
    text: String,
    /// How sure it is.
    #[schema(minimum = 0.5, maximum = 0.99, example = 0.99)]
    confidence: f64,
    place: FoundIn,
    /// Where it begins there, in Unicode code points.
    #[schema(example = 32)]
    offset: usize,
}

/// All fields of a message's header, in order; 1,000 at most.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct HeaderFields {
    #[schema(max_items = 1_000)]
    headers: Vec<HeaderField>,
}

/// A header field.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct HeaderField {
    #[schema(example = "Subject")]
    name: String,
    /// Decoded.
    #[schema(example = "Hello")]
    value: String,
    /// As it came.
    #[schema(example = "Hello")]
    raw: String,
}

impl Page {
    /// A page, and where the next begins.
    pub(in crate::control) fn new(messages: Vec<MessageSummary>, cursor: Sequence) -> Self {
        let cursor = cursor.0.to_string();
        Self { messages, cursor }
    }
}

/// A message as a list shows it, with the best that was found in it if anybody looked.
pub(in crate::control) fn summary(
    entry: &Entry,
    findings: Option<&Findings>,
    wall: &WallClock,
) -> MessageSummary {
    let header = header_of(&entry.message);
    let parsed = MessageParser::new().parse_headers(&header);
    MessageSummary {
        basics: basics(entry, parsed.as_ref(), wall),
        codes: findings.map(|found| found.codes.iter().take(1).map(code).collect()),
        links: findings.map(|found| found.links.iter().take(1).map(link).collect()),
    }
}

/// A message with its envelope, the header fields that people look at, and what there is to read.
pub(in crate::control) fn detail(
    entry: &Entry,
    mailbox: &Address,
    reading: Reading,
    wall: &WallClock,
) -> MessageDetail {
    let header = header_of(&entry.message);
    let parsed = MessageParser::new().parse_headers(&header);
    let parsed = parsed.as_ref();
    let from = match &entry.message.reverse_path {
        ReversePath::Null => None,
        ReversePath::Address(address) => Some(address.to_string()),
    };
    MessageDetail {
        basics: basics(entry, parsed, wall),
        queue_id: entry.message.queue_id.as_str().to_owned(),
        envelope: Envelope {
            from,
            to: mailbox.as_str().to_owned(),
        },
        headers: headers(parsed),
        text: reading.text,
        html: reading.html.map(|html| HtmlFacts {
            bytes: html.clean.len(),
            images: html.images,
            remote: html.remote,
        }),
        attachments: reading.attachments.into_iter().map(attached).collect(),
        codes: reading.findings.codes.iter().map(code).collect(),
        links: reading.findings.links.iter().map(link).collect(),
        truncated: reading.is_truncated,
        malformed: reading.is_malformed,
    }
}

/// All fields of a header.
pub(in crate::control) fn header_fields(fields: Vec<Field>) -> HeaderFields {
    let headers = fields.into_iter().map(|field| HeaderField {
        name: field.name,
        value: field.value,
        raw: field.raw,
    });
    HeaderFields {
        headers: headers.collect(),
    }
}

fn basics(entry: &Entry, parsed: Option<&Message<'_>>, wall: &WallClock) -> MessageBasics {
    let from = parsed.and_then(Message::from);
    MessageBasics {
        id: entry.sequence.0.to_string(),
        from: from.and_then(|from| from.iter().next()).map(person),
        subject: parsed.and_then(Message::subject).map(cut),
        encrypted: entry.message.encrypted,
        size: entry.message.body.len(),
        received_at: wall.rfc3339(entry.message.received_at),
        expires_at: wall.rfc3339(entry.expires_at),
        tls: entry.message.tls,
        require_tls: entry.message.require_tls,
    }
}

/// The header fields of a message that people look at. Of an encrypted one, none.
pub(in crate::control) fn headers_of(message: &mail::Message) -> Headers {
    let header = header_of(message);
    headers(MessageParser::new().parse_headers(&header).as_ref())
}

fn headers(parsed: Option<&Message<'_>>) -> Headers {
    Headers {
        from: people(parsed.and_then(Message::from)),
        to: people(parsed.and_then(Message::to)),
        cc: people(parsed.and_then(Message::cc)),
        reply_to: people(parsed.and_then(Message::reply_to)),
        subject: parsed.and_then(Message::subject).map(cut),
        date: parsed
            .and_then(Message::date)
            .map(mail_parser::DateTime::to_rfc3339),
        message_id: parsed.and_then(Message::message_id).map(cut),
    }
}

const fn place(place: Place) -> FoundIn {
    match place {
        Place::Subject => FoundIn::Subject,
        Place::Text => FoundIn::Text,
        Place::Html => FoundIn::Html,
    }
}

/// As a number with two digits: what a float of single precision would print is longer than it is true.
fn confidence(confidence: f32) -> f64 {
    (f64::from(confidence) * 100.0).round() / 100.0
}

fn code(code: &Code) -> FoundCode {
    FoundCode {
        code: code.code.clone(),
        confidence: confidence(code.confidence),
        place: place(code.place),
        offset: code.offset,
    }
}

fn link(link: &Link) -> FoundLink {
    FoundLink {
        url: link.url.clone(),
        text: link.text.clone(),
        confidence: confidence(link.confidence),
        place: place(link.place),
        offset: link.offset,
    }
}

fn attached(attachment: Attachment) -> AttachmentFacts {
    AttachmentFacts {
        index: attachment.index,
        name: attachment.name,
        r#type: attachment.kind,
        size: attachment.size,
        content_id: attachment.content_id,
        inline: attachment.is_inline,
    }
}

/// The header of a message: what stands before the first empty line. Nobody can say what an encrypted one has.
fn header_of(message: &mail::Message) -> Vec<u8> {
    let mut header = Vec::new();
    if message.encrypted {
        return header;
    }
    for segment in message.body.segments() {
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

fn people(field: Option<&mail_parser::Address<'_>>) -> Vec<Person> {
    field
        .into_iter()
        .flat_map(mail_parser::Address::iter)
        .take(ADDRESSES_MAX)
        .map(person)
        .collect()
}

fn person(address: &Addr<'_>) -> Person {
    Person {
        name: address.name.as_deref().map(cut),
        address: address.address.as_deref().map(cut),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::mail::message::QueueId;
    use crate::mail::{BodyWriter, Ledger};
    use crate::reading::{Limits, message};
    use crate::store::Sequence;
    use serde_json::Value;
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
            seen: false,
            message: Arc::new(mail::Message {
                queue_id: QueueId::from_random(0),
                reverse_path: ReversePath::Null,
                body: writer.finish(),
                received_at: Instant::from_secs(5),
                encrypted: false,
                tls: true,
                require_tls: false,
            }),
        }
    }

    fn summarised(text: &[u8]) -> Value {
        let view = summary(&entry(text), None, &WallClock::new(Instant::ZERO, 0));
        serde_json::to_value(view).expect("JSON")
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
            let reading = message::read(text, &Limits::default());
            let view = detail(&entry, &to, reading, &WallClock::new(Instant::ZERO, 0));
            let view = serde_json::to_value(view).expect("JSON");
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
            let header = header_of(&entry(text.as_bytes()).message);
            assert_eq!(header.len(), pad + 7);
        }
    }
}
