//! A driver without sockets, and what must hold for arbitrary input.
//!
//! The bodies of the fuzz targets live here, so that ordinary tests replay their corpus.

#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)] // Each test that includes this file uses a part of it.

mod conversation;

pub(crate) use conversation::Conversation;

use mayfly::clock::{Instant, Stamps, WallClock};
use mayfly::config::manual::effective_toml;
use mayfly::config::{Config, Source};
use mayfly::mail::address::{LOCAL_PART_BYTES_MAX, forward_path, reverse_path};
use mayfly::mail::message::QueueId;
use mayfly::mail::{Address, BodyWriter, Ledger, Recipient, ReversePath};
use mayfly::policy::self_authenticating::{self, Key, Keys, Standing};
use mayfly::settings::Bytes;
use mayfly::smtp::chunk::{Chunk, ChunkReader};
use mayfly::smtp::command::{Command, HELLO_BYTES_MAX, parse, parse_offered};
use mayfly::smtp::data::{DataReader, HopCounter, Piece};
use mayfly::smtp::line::{Line, LineReader};
use mayfly::smtp::proxy::{self, HEADER_BYTES_MAX, HeaderReader, Reading};
use mayfly::smtp::reply::Speaker;
use mayfly::smtp::session::Profile;
use mayfly::smtp::{
    Complete, Extension, Extensions, Limits, Newlines, Question, Receipt, Reply, Verdict,
};
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

/// The memory that all messages of a conversation have.
const LEDGER_BYTES: u64 = 200;

/// Limits small enough for arbitrary input to reach them.
pub(crate) fn tight_limits() -> Arc<Limits> {
    Arc::new(Limits {
        line_bytes_max: Bytes(64),
        recipients_max: 3,
        message_bytes_max: Bytes(300),
        reserve_step_bytes: Bytes(16),
        errors_max: 12,
        junk_commands_max: 12,
        hops_max: 3,
        // What is noticed of it depends on the segmentation.
        forbid_early_pipelining: false,
        ..Limits::default()
    })
}

/// A session's profile on the host `mx.test`.
pub(crate) fn profile(limits: Arc<Limits>) -> Profile {
    Profile {
        hostname: "mx.test".into(),
        extensions: Extensions::ALL.without(Extension::StartTls),
        xclient: false,
        tls: false,
        message_bytes_max_normally: limits.message_bytes_max,
        limits,
    }
}

/// All that can be seen of a conversation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// What the client got.
    pub(crate) output: Vec<u8>,
    /// Questions, bodies, and how it ended.
    pub(crate) events: Vec<String>,
}

/// Has `input` come in pieces of the sizes that `next_size` says, and answers every question by a
/// simple rule.
pub(crate) fn converse(
    input: &[u8],
    next_size: impl FnMut() -> usize,
    limits: Arc<Limits>,
) -> Record {
    converse_in_groups(&[input], next_size, profile(limits))
}

/// The same with several groups, each of which comes when all that there was to say to the one before has
/// been said.
pub(crate) fn converse_in_groups(
    groups: &[&[u8]],
    mut next_size: impl FnMut() -> usize,
    profile: Profile,
) -> Record {
    let ledger = Ledger::new(LEDGER_BYTES);
    let mut conversation = Conversation::new(profile, Instant::from_secs(1));
    let mut events = Vec::new();
    for group in groups {
        conversation.hear(group, &mut next_size, |question| {
            events.push(describe(&question));
            decide(question, &ledger)
        });
    }
    check_replies(&conversation);
    let Conversation {
        session,
        output,
        ended,
        ..
    } = conversation;
    events.extend(ended.map(|reason| format!("{reason:?}")));
    drop(session);
    assert_eq!(ledger.used(), 0, "all memory is given back");
    Record { output, events }
}

/// Each command has one reply, and so has each message behind its 354; a session that ends may say so, or be
/// amid something.
fn check_replies<L>(conversation: &Conversation<L>) {
    let text = std::str::from_utf8(&conversation.output).expect("replies are text");
    assert!(text.is_empty() || text.ends_with("\r\n"), "half a reply");
    let is_last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
    let replies = text.lines().filter(is_last).count() as u64;
    let starts = text.lines().filter(|line| line.starts_with("354")).count() as u64;
    let metrics = &conversation.metrics;
    let commands = metrics.smtp_commands.total();
    // The greeting answers nothing.
    let (said, due) = (replies - 1, commands + starts);
    assert!(said.abs_diff(due) <= 1, "{said} replies to {due}: {text}");
}

/// Cuts input where a client has to wait: behind each line that may be one of the commands that must come last
/// in a group (RFC 2920 section 3.1), wherever in it their names stand.
pub(crate) fn polite_groups(input: &[u8]) -> Vec<&[u8]> {
    let waits = |line: &[u8]| {
        let line = line.to_ascii_uppercase();
        let names: [&[u8]; 5] = [b"EHLO", b"HELO", b"DATA", b"STARTTLS", b"XCLIENT"];
        names
            .iter()
            .any(|name| line.windows(name.len()).any(|word| word == *name))
    };
    let mut groups = Vec::new();
    let (mut start, mut line_start) = (0, 0);
    for (at, _) in input.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if waits(&input[line_start..=at]) {
            groups.push(&input[start..=at]);
            start = at + 1;
        }
        line_start = at + 1;
    }
    groups.push(&input[start..]);
    groups
}

/// A question as a transcript writes it.
pub(crate) fn describe<L>(question: &Question<L>) -> String {
    match question {
        Question::Recipient {
            recipient,
            declared_bytes,
            ..
        } => format!("Recipient {} size={declared_bytes}", shown(Some(recipient))),
        Question::Impersonate(whom) => format!("Impersonate {:?}", whom.address),
        Question::Begin(beginning) => format!(
            "Begin {} from={} helo={} with={:?} for={}",
            beginning.bytes,
            path(&beginning.reverse_path),
            beginning.helo,
            beginning.protocol,
            shown(beginning.only_recipient.as_ref()),
        ),
        Question::Grow { bytes } => format!("Grow {bytes}"),
        Question::Message(complete) => format!(
            "Message from={} leases={}{}",
            path(&complete.reverse_path),
            complete.leases.len(),
            if complete.require_tls {
                " require_tls"
            } else {
                ""
            },
        ),
    }
}

/// The bytes of a message.
pub(crate) fn content<L>(complete: &Complete<L>) -> Vec<u8> {
    complete.body.segments().collect::<Vec<_>>().concat()
}

fn path(path: &ReversePath) -> String {
    match path {
        ReversePath::Null => "<>".to_owned(),
        ReversePath::Address(text) => format!("<{text}>"),
    }
}

fn shown(recipient: Option<&Recipient>) -> String {
    match recipient {
        None => "-".to_owned(),
        Some(Recipient::Postmaster) => "<postmaster>".to_owned(),
        Some(Recipient::Address(address)) => format!("<{}>", address.as_str()),
    }
}

/// The receipt that all messages get.
pub(crate) fn receipt() -> Receipt {
    Receipt {
        kept_until: Stamps::default().rfc3339(
            WallClock::new(Instant::ZERO, 1_795_341_600_000_000),
            Instant::ZERO,
        ),
        queue_id: QueueId::from_random(0),
    }
}

/// The simple rule: names tell what becomes of them, and memory is short.
fn decide(question: Question<Vec<u8>>, ledger: &Ledger) -> Verdict<Vec<u8>> {
    let reserve = |bytes| ledger.reserve(bytes).ok_or(Reply::NoMemory);
    match question {
        Question::Recipient { recipient, .. } => {
            Verdict::Recipient(match shown(Some(&recipient)).get(..3) {
                Some("<no") => Err(Reply::NoSuchMailbox),
                Some("<fu") => Err(Reply::MailboxFull),
                _ => Ok(Vec::new()),
            })
        }
        Question::Impersonate(_) => Verdict::Impersonate(Ok(())),
        Question::Begin(beginning) => Verdict::Begin(reserve(beginning.bytes).map(BodyWriter::new)),
        Question::Grow { bytes } => Verdict::Grow(reserve(bytes)),
        Question::Message(complete) => {
            let refused = content(&complete).starts_with(b"later");
            Verdict::Message(if refused {
                Err(Reply::TryLater)
            } else {
                Ok(receipt())
            })
        }
    }
}

/// Two bytes of a fuzz input choose the sizes of the chunks in which the rest comes.
fn split(data: &[u8]) -> (impl FnMut() -> usize, &[u8]) {
    let (sizes, input) = data.split_at(data.len().min(2));
    let sizes = [0, 1].map(|place| sizes.get(place).map_or(1, |size| usize::from(*size)));
    let mut turn = 0;
    let next_size = move || {
        turn += 1;
        (sizes[turn % 2] % 40).max(1)
    };
    (next_size, input)
}

/// Fuzz body: lines do not depend on the segmentation.
pub(crate) fn fuzz_line(data: &[u8]) {
    let (mut next_size, input) = split(data);
    let lines = |next_size: &mut dyn FnMut() -> usize| {
        let mut reader = LineReader::default();
        let mut lines = Vec::new();
        let mut left = input;
        while !left.is_empty() {
            let mut chunk;
            (chunk, left) = left.split_at(next_size().min(left.len()));
            while !chunk.is_empty() {
                match reader.read(&mut chunk, 64) {
                    Some(Line::Complete(line)) => {
                        assert!(!line.iter().any(|byte| b"\r\n\0".contains(byte)));
                        assert!(line.len() <= 62);
                        lines.push(Ok(line.into_owned()));
                    }
                    Some(Line::Refused(why)) => lines.push(Err(why)),
                    None => assert!(chunk.is_empty()),
                }
            }
        }
        lines
    };
    assert_eq!(lines(&mut || input.len()), lines(&mut next_size));
}

/// Fuzz body: no line upsets the grammar, and canonical forms are stable.
pub(crate) fn fuzz_command(data: &[u8]) {
    let nothing = parse_offered(data, Extensions::NONE);
    assert!(nothing.0 == parse(data).0, "a verb is what it is");
    assert!(
        nothing.1.is_err() || nothing.1 == parse(data).1,
        "less is known, not otherwise"
    );
    match parse(data).1 {
        Ok(Command::Rcpt(Recipient::Address(address))) => {
            let again = Address::parse(address.as_str()).expect("a canonical form is legal");
            assert!(again == address, "a canonical form is stable");
        }
        Ok(Command::Mail {
            reverse_path: ReversePath::Address(text),
            ..
        }) => {
            assert!(!text.contains(char::is_control));
            let (local, domain) = text.rsplit_once('@').expect("an address has an @");
            assert!(!local.is_empty() && !domain.is_empty());
        }
        Ok(Command::Ehlo(name) | Command::Helo(name)) => {
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Ok(Command::Xclient(said)) => {
            let name = said.helo.unwrap_or_default();
            assert!(name.len() <= HELLO_BYTES_MAX);
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Ok(_) => {}
        Err(why) => {
            let speaker = Speaker {
                hostname: "mx.test",
            };
            let mut line = Vec::new();
            why.reply().write(speaker, &mut line);
            assert!(line.starts_with(b"5") && line.len() <= 512);
        }
    }
}

/// Fuzz body: whatever is an address has one canonical form, which is an address too, in SMTP and beside it.
pub(crate) fn fuzz_address(data: &[u8]) {
    let path = [b"<", data, b">"].concat();
    let is_sender = matches!(reverse_path(&path), Ok(([], _)));
    let recipient = match forward_path(&path) {
        Ok(([], recipient)) => Some(recipient),
        // There is more behind a bracket that stands too early.
        Ok(_) | Err(_) => None,
    };
    if let Some(Recipient::Address(address)) = &recipient {
        assert!(is_sender, "who can be written to can write");
        let again = Address::parse(address.as_str());
        assert!(
            again.is_ok_and(|again| again == *address),
            "a canonical form is stable"
        );
    }
    let Ok(address) = Address::parse(data) else {
        return;
    };
    assert!(recipient.is_some_and(|it| it == Recipient::Address(address.clone())));
    // Nobody knows this key.
    let keys = Keys::new(Key([17; 16]), Vec::new());
    let standing = self_authenticating::standing(&address, &keys);
    assert!(!matches!(standing, Standing::Genuine { .. }));
    let text = std::str::from_utf8(data).expect("an address is text");
    let (local, domain) = (address.local(), address.domain());
    assert!(local.chars().count() <= 2 + 2 * LOCAL_PART_BYTES_MAX && domain.is_ascii());
    assert!(!address.as_str().contains(char::is_control));
    let shown = Address::parse(address.to_unicode().as_ref());
    assert!(
        shown.is_ok_and(|shown| shown == address),
        "what is shown is a spelling of it"
    );
    // What Unicode calls the same is the same address, if it is short enough to be one.
    for spelled in [text.nfc().collect::<String>(), text.nfd().collect()] {
        if let Ok(other) = Address::parse(&spelled) {
            assert!(other == address, "one address in two forms");
        }
    }
}

/// Fuzz body: content, offences and the end do not depend on the segmentation.
pub(crate) fn fuzz_data(data: &[u8]) {
    let (mut next_size, input) = split(data);
    let read = |next_size: &mut dyn FnMut() -> usize, room: usize| {
        let mut reader = DataReader::new();
        let mut hops = HopCounter::new();
        let mut content = Vec::new();
        let mut left = input;
        let mut rest = None;
        while rest.is_none() && !left.is_empty() {
            let mut chunk;
            (chunk, left) = left.split_at(next_size().min(left.len()));
            loop {
                match reader.read(&mut chunk, room) {
                    Piece::Content(piece) => {
                        hops.observe(piece);
                        content.extend_from_slice(piece);
                    }
                    Piece::Full => unreachable!("there is room"),
                    Piece::End => {
                        rest = Some(chunk.len() + left.len());
                        break;
                    }
                    Piece::Starved => break,
                }
            }
        }
        (content, reader.offence(), hops.hops(), rest)
    };
    let room = next_size();
    assert_eq!(
        read(&mut || input.len(), usize::MAX),
        read(&mut next_size, room)
    );
}

/// Fuzz body: content, offences and what follows the chunks depend neither on the segmentation nor
/// on the chunks. The first byte says what the content is, the second how large chunks are.
pub(crate) fn fuzz_chunk(data: &[u8]) {
    let (setup, data) = data.split_at(data.len().min(2));
    let [kind, bytes] = [0, 1].map(|place| setup.get(place).copied().unwrap_or_default());
    let (mut next_size, input) = split(data);
    let content_bytes = input.len() - usize::from(kind / 3).min(input.len());
    let read = |next_size: &mut dyn FnMut() -> usize, room: usize, bytes: usize| {
        let chunk = |begun: usize| {
            let bytes = bytes.min(content_bytes - begun);
            let is_last = begun + bytes == content_bytes;
            Chunk::new(bytes as u64, is_last, Instant::ZERO)
        };
        let mut reader = match kind % 3 {
            0 => ChunkReader::of_lines(Newlines::Strict, chunk(0)),
            1 => ChunkReader::of_lines(Newlines::Normalize, chunk(0)),
            _ => ChunkReader::of_binary(chunk(0)),
        };
        let mut content = Vec::new();
        let (mut piece, mut left): (&[u8], _) = (&[], input);
        let mut begun = reader.chunk().bytes() as usize;
        loop {
            match reader.read(&mut piece, room) {
                Piece::Content(part) => content.extend_from_slice(part),
                Piece::Full => unreachable!("there is room"),
                Piece::Starved => {
                    assert!(
                        piece.is_empty() && !left.is_empty(),
                        "no chunk is left alone"
                    );
                    (piece, left) = left.split_at(next_size().min(left.len()));
                }
                Piece::End if reader.chunk().is_last() => break,
                Piece::End => {
                    reader.begin(chunk(begun));
                    begun += reader.chunk().bytes() as usize;
                }
            }
        }
        assert_eq!(content.len(), content_bytes, "a byte stays a byte");
        (content, reader.offence(), piece.len() + left.len())
    };
    let room = next_size();
    assert_eq!(
        read(&mut || input.len(), usize::MAX, usize::MAX),
        read(&mut next_size, room, usize::from(bytes).max(1))
    );
}

/// Fuzz body: what a proxy says does not depend on the segmentation, and nothing behind it is touched.
pub(crate) fn fuzz_proxy(data: &[u8]) {
    let (mut next_size, input) = split(data);
    let read = |next_size: &mut dyn FnMut() -> usize| {
        let mut reader = HeaderReader::default();
        let mut left = input;
        while !left.is_empty() {
            let mut chunk;
            (chunk, left) = left.split_at(next_size().min(left.len()));
            if let Some(result) = reader.read(&mut chunk) {
                return Some(result.map(|source| (source, chunk.len() + left.len())));
            }
            assert!(chunk.is_empty());
        }
        None
    };
    let whole = read(&mut || input.len());
    assert_eq!(whole, read(&mut next_size));
    assert_eq!(whole, read(&mut || 1));
    if let Some(Ok((source, left))) = whole {
        let used = input.len() - left;
        assert!((16..=HEADER_BYTES_MAX).contains(&used));
        assert_eq!(proxy::read(&input[..used - 1]), Reading::NeedMore);
        assert_eq!(
            proxy::read(&input[..used]),
            Reading::Header { source, used }
        );
    }
}

/// Fuzz body: a file of settings is taken or explained line by line, and what is taken can be printed and read again. What
/// stands in a variable is too.
pub(crate) fn fuzz_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let load = |text: &str| {
        let file = Source {
            name: "mayfly.toml",
            text,
        };
        Config::load(Some(file), [])
    };
    match load(&text) {
        Ok(effective) => {
            let printed = effective_toml(&effective);
            let again = load(&printed).expect("what is printed can be read");
            assert!(again.config == effective.config, "and says the same");
        }
        Err(mistakes) => {
            let told = mistakes.to_string();
            assert!(told.starts_with("error: "));
            let is_plain = |it: char| it == '\n' || !it.is_control();
            assert!(told.chars().all(is_plain), "nothing that a terminal obeys");
        }
    }
    let (name, value) = text.split_once('=').unwrap_or(("SMTP__NEWLINES", &text));
    let variable = (format!("MAYFLY__{name}"), value.to_owned());
    if let Err(mistakes) = Config::load(None, [variable]) {
        assert!(mistakes.to_string().starts_with("error: "));
    }
}

/// Fuzz body: nothing that can be seen of a session depends on the segmentation, as long as the client waits
/// where it must. The first byte chooses what is offered and how much is allowed.
pub(crate) fn fuzz_session(data: &[u8]) {
    let (choice, data) = data.split_at(data.len().min(1));
    let choice = choice.first().copied().unwrap_or_default();
    let (next_size, input) = split(data);
    let groups = polite_groups(input);
    let whole = converse_in_groups(&groups, || usize::MAX, chosen_profile(choice));
    let pieces = converse_in_groups(&groups, next_size, chosen_profile(choice));
    assert_eq!(whole, pieces);
    // Who does not wait may be told so or not; nothing is left behind in any case.
    converse_in_groups(&[input], || usize::MAX, chosen_profile(choice));
}

/// A profile for each number.
fn chosen_profile(choice: u8) -> Profile {
    let chosen = |bit: u32| choice >> bit & 1 == 1;
    let mut limits = Limits::clone(&tight_limits());
    if chosen(0) {
        limits.recipients_max = 1;
        limits.message_bytes_max = Bytes(20);
        limits.reserve_step_bytes = Bytes(1);
    }
    if chosen(1) {
        limits.errors_max = 2;
        limits.junk_commands_max = 3;
        limits.newlines = Newlines::Normalize;
    }
    let mut profile = profile(Arc::new(limits));
    let switches = [
        Extension::Chunking,
        Extension::SmtpUtf8,
        Extension::BinaryMime,
        Extension::Size,
    ];
    for (bit, extension) in (2..).zip(switches) {
        if chosen(bit) {
            profile.extensions = profile.extensions.without(extension);
        }
    }
    profile.tls = chosen(6);
    profile.xclient = chosen(7);
    profile
}
