//! Plays `tests/transcripts/*.smtp`, which are specification, test and documentation at once.
//!
//! ```text
//! # what the file is about
//! --- errors_max=3 starttls     a new session; what differs from the defaults
//! --- without=CHUNKING          an extension is not offered
//! S: 250 mx.test                the server says this line, CRLF included
//! C: HELO x                     the client says this line; lines in a row come as one batch
//! c: HELO                       the same without CRLF
//! ? Recipient <u@mx.test> size=0    the session asks
//! ! accept                      and is answered
//! | Subject: x                  a line of the message that it hands over with `? Message`
//! + x                           a part of it without CRLF
//! X: Quit                       the session ends
//! @ advance 300                 the clock moves by seconds
//! @ alive                       the deadline is not yet reached
//! @ expire                      the deadline is reached
//! @ shutdown                    the server stops
//! @ held 2                      so many leases are held
//! @ reserved 0                  so many bytes are reserved
//! ```
//!
//! In `C:`, `c:`, `|` and `+` lines `\r`, `\n`, `\0`, `\\` and `\x41` are bytes, and `\{5*ab}` is `ab` five
//! times. Each session is played with its input whole and in chunks of 1, 2 and 7 bytes (only
//! whole if it says `--- whole`); every byte of output is compared.

#![forbid(unsafe_code)]

mod harness;

use harness::{content, describe, profile, receipt};
use mayfly::clock::Instant;
use mayfly::mail::{BodyWriter, Ledger};
use mayfly::metrics::CoreMetrics;
use mayfly::settings::{Bytes, Span};
use mayfly::smtp::{
    Action, Extension, Extensions, Limits, Newlines, Question, Reply, Session, Verdict,
};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What sets a batch off.
#[derive(Clone, Debug)]
enum Cause {
    Connected,
    Input(Vec<u8>),
    Directive(String),
}

/// Something that happens, and what follows from it.
#[derive(Clone, Debug)]
struct Batch {
    line_number: usize,
    cause: Cause,
    output: String,
    exchanges: VecDeque<Exchange>,
}

/// Something that the session wants of its driver.
#[derive(Clone, Debug)]
struct Exchange {
    happens: String,
    /// Its answer; the end has none.
    verdict: String,
    /// What the message handed over must be.
    body: Vec<u8>,
}

impl Exchange {
    fn new(happens: &str) -> Self {
        Self {
            happens: happens.to_owned(),
            verdict: String::new(),
            body: Vec::new(),
        }
    }
}

/// One session of a file.
struct Script {
    options: String,
    batches: Vec<Batch>,
}

fn scripts(text: &str) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    let mut behind_client = false;
    for (line_number, line) in (1..).zip(text.lines()) {
        let (mark, rest) = line.split_at(line.len().min(2));
        let rest = match mark.ends_with(':') {
            true => rest.strip_prefix(' ').unwrap_or(rest),
            false => rest,
        };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(options) = line.strip_prefix("---") {
            let options = options.trim().to_owned();
            let batches = vec![batch(line_number, Cause::Connected)];
            scripts.push(Script { options, batches });
            behind_client = false;
            continue;
        }
        if scripts.is_empty() {
            let batches = vec![batch(line_number, Cause::Connected)];
            let options = String::new();
            scripts.push(Script { options, batches });
        }
        let batches = &mut scripts.last_mut().expect("one was pushed").batches;
        let is_client = mark.eq_ignore_ascii_case("c:");
        if is_client && !behind_client {
            batches.push(batch(line_number, Cause::Input(Vec::new())));
        }
        if mark == "@ " {
            batches.push(batch(line_number, Cause::Directive(line[2..].to_owned())));
        }
        behind_client = is_client;
        let last = batches.last_mut().expect("the first was pushed");
        match (mark, &mut last.cause) {
            ("C:", Cause::Input(bytes)) => {
                bytes.extend([unescaped(rest), b"\r\n".to_vec()].concat())
            }
            ("c:", Cause::Input(bytes)) => bytes.extend(unescaped(rest)),
            ("S:", _) => write!(last.output, "{rest}\r\n").expect("strings take all"),
            ("X:", _) => {
                let end = Exchange::new(&format!("Close {rest}"));
                last.exchanges.push_back(end);
            }
            ("? ", _) => last.exchanges.push_back(Exchange::new(&line[2..])),
            ("! ", _) => last.exchange().verdict = line[2..].to_owned(),
            ("|" | "| ", _) => {
                let body = &mut last.exchange().body;
                body.extend([unescaped(rest), b"\r\n".to_vec()].concat());
            }
            ("+ ", _) => last.exchange().body.extend(unescaped(rest)),
            ("@ ", _) => {}
            _ => panic!("line {line_number}: what is {line:?}?"),
        }
    }
    scripts
}

fn batch(line_number: usize, cause: Cause) -> Batch {
    Batch {
        line_number,
        cause,
        output: String::new(),
        exchanges: VecDeque::new(),
    }
}

impl Batch {
    fn exchange(&mut self) -> &mut Exchange {
        self.exchanges.back_mut().expect("? stands before")
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (escape, mut behind) = behind.split_at(1);
        match escape {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "0" => bytes.push(b'\0'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&behind[..2], 16).expect("two hex digits"));
                behind = &behind[2..];
            }
            "{" => {
                let (repeat, after) = behind.split_once('}').expect("a closing brace");
                let (times, what) = repeat.split_once('*').expect("a star");
                bytes.extend(unescaped(what).repeat(times.parse().expect("a number")));
                behind = after;
            }
            _ => panic!("unknown escape in {text:?}"),
        }
        rest = behind;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// A session on the stage.
struct Stage {
    session: Session<Rc<()>>,
    metrics: CoreMetrics,
    ledger: Ledger,
    leases: Rc<()>,
    now: Instant,
    deadline: Instant,
    closed: bool,
}

impl Stage {
    fn new(options: &str) -> Self {
        let mut limits = Limits::default();
        let (mut tls, mut offered) = (false, Extensions::ALL);
        if !options.split_whitespace().any(|word| word == "starttls") {
            offered = offered.without(Extension::StartTls);
        }
        for option in options.split_whitespace() {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let number = || value.parse::<u64>().expect("a number");
            let count = || value.parse::<u32>().expect("a number");
            match key {
                "starttls" | "whole" => {}
                "tls" => tls = true,
                "line_bytes_max" => limits.line_bytes_max = Bytes(number()),
                "recipients_max" => limits.recipients_max = count(),
                "message_bytes_max" => limits.message_bytes_max = Bytes(number()),
                "reserve_step_bytes" => limits.reserve_step_bytes = Bytes(number()),
                "errors_max" => limits.errors_max = count(),
                "junk_commands_max" => limits.junk_commands_max = count(),
                "hops_max" => limits.hops_max = count(),
                "command_timeout" => limits.command_timeout = Span::secs(number()),
                "newlines" if value == "normalize" => limits.newlines = Newlines::Normalize,
                "without" => offered = offered.without(extension(value)),
                "data_timeout" => limits.data_timeout = Span::secs(number()),
                _ => panic!("unknown option {key}"),
            }
        }
        let mut profile = profile(Arc::new(limits));
        profile.tls = tls;
        profile.extensions = offered;
        let now = Instant::from_secs(1);
        Self {
            session: Session::new(profile, now),
            metrics: CoreMetrics::default(),
            ledger: Ledger::new(1 << 30),
            leases: Rc::new(()),
            now,
            deadline: now,
            closed: false,
        }
    }

    fn play(&mut self, mut batch: Batch, size: usize) {
        if self.closed {
            let Cause::Directive(directive) = &batch.cause else {
                panic!("the session is over");
            };
            return self.direct(directive);
        }
        let mut input = Vec::new();
        match &batch.cause {
            Cause::Connected => {}
            Cause::Input(bytes) => input.clone_from(bytes),
            Cause::Directive(directive) => self.direct(directive),
        }
        let mut output = Vec::new();
        let mut chunks = input.chunks(size);
        let mut chunk: &[u8] = &[];
        loop {
            match self.session.next_action() {
                Action::Send(bytes) => output.extend_from_slice(&bytes),
                Action::Ask(question) => {
                    let expected = expect(&mut batch, &describe(&question));
                    let verdict = self.verdict(question, &expected.verdict, &expected.body);
                    self.session.answer(verdict, self.now, &self.metrics);
                }
                Action::StartTls => match expect(&mut batch, "StartTls").verdict.as_str() {
                    "established" => self.session.tls_established(self.now),
                    "plaintext" => self.session.plaintext_behind_starttls(&self.metrics),
                    other => panic!("no such end of a handshake: {other}"),
                },
                Action::Pause { until } => {
                    self.now = until;
                    self.session.resume(self.now);
                }
                Action::Wait { deadline } => {
                    self.deadline = deadline;
                    if chunk.is_empty() {
                        let Some(next) = chunks.next() else { break };
                        chunk = next;
                    }
                    self.session.receive(&mut chunk, self.now, &self.metrics);
                }
                Action::Close(reason) => {
                    expect(&mut batch, &format!("Close {reason:?}"));
                    self.closed = true;
                    break;
                }
            }
        }
        assert_eq!(String::from_utf8_lossy(&output), batch.output);
        assert!(
            batch.exchanges.is_empty(),
            "did not happen: {:?}",
            batch.exchanges
        );
    }

    fn direct(&mut self, directive: &str) {
        let (verb, value) = directive.split_once(' ').unwrap_or((directive, "0"));
        let value: u64 = value.parse().expect("a number");
        match verb {
            "advance" => self.now = self.now.plus(Duration::from_secs(value)),
            "alive" => assert!(self.now < self.deadline, "the deadline has been reached"),
            "expire" => {
                assert!(self.now >= self.deadline, "the deadline is not reached");
                self.session.expire(self.now, &self.metrics);
            }
            "held" => assert_eq!(Rc::strong_count(&self.leases) as u64 - 1, value, "leases"),
            "reserved" => assert_eq!(self.ledger.used(), value, "bytes reserved"),
            "shutdown" => self.session.shut_down(&self.metrics),
            _ => panic!("no such directive: {directive}"),
        }
    }

    fn verdict(&self, question: Question<Rc<()>>, verdict: &str, body: &[u8]) -> Verdict<Rc<()>> {
        let refusal = match verdict.strip_prefix("reject ") {
            None => {
                assert_eq!(verdict, "accept");
                None
            }
            Some("MailboxFull") => Some(Reply::MailboxFull),
            Some("NoMemory") => Some(Reply::NoMemory),
            Some("NoSuchMailbox") => Some(Reply::NoSuchMailbox),
            Some("RelayDenied") => Some(Reply::RelayDenied),
            Some("TryLater") => Some(Reply::TryLater),
            Some(other) => panic!("no such refusal: {other}"),
        };
        let reserve = |bytes| self.ledger.reserve(bytes).expect("there is enough");
        match question {
            Question::Recipient { .. } => {
                Verdict::Recipient(refusal.map_or_else(|| Ok(Rc::clone(&self.leases)), Err))
            }
            Question::Impersonate(_) => Verdict::Impersonate(refusal.map_or(Ok(()), Err)),
            Question::Begin(beginning) => {
                let open = || Ok(BodyWriter::new(reserve(beginning.bytes)));
                Verdict::Begin(refusal.map_or_else(open, Err))
            }
            Question::Grow { bytes } => {
                Verdict::Grow(refusal.map_or_else(|| Ok(reserve(bytes)), Err))
            }
            Question::Message(complete) => {
                let content = content(&complete);
                assert_eq!(
                    content.escape_ascii().to_string(),
                    body.escape_ascii().to_string()
                );
                Verdict::Message(refusal.map_or_else(|| Ok(receipt()), Err))
            }
        }
    }
}

fn extension(word: &str) -> Extension {
    match word {
        "BINARYMIME" => Extension::BinaryMime,
        "CHUNKING" => Extension::Chunking,
        _ => panic!("no such extension: {word}"),
    }
}

/// Checks that `happens` is what the batch expects next.
fn expect(batch: &mut Batch, happens: &str) -> Exchange {
    let expected = batch
        .exchanges
        .pop_front()
        .unwrap_or_else(|| panic!("not expected: {happens}"));
    assert_eq!(happens, expected.happens);
    expected
}

/// Says where a transcript failed.
struct Place<'a>(&'a str, usize, usize);

impl Drop for Place<'_> {
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(file, line, size) = self;
            eprintln!("in {file}, at line {line}, in chunks of {size} bytes");
        }
    }
}

#[test]
fn every_transcript_is_followed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(&file).expect("it is text");
        assert!(
            text.starts_with("# "),
            "{name}: the first line says what it is about"
        );
        for script in scripts(&text) {
            let whole_only = script
                .options
                .split_whitespace()
                .any(|word| word == "whole");
            let sizes: &[usize] = if whole_only {
                &[usize::MAX]
            } else {
                &[1, 2, 7, usize::MAX]
            };
            for &size in sizes {
                let mut stage = Stage::new(&script.options);
                for batch in &script.batches {
                    let place = Place(&name, batch.line_number, size);
                    stage.play(batch.clone(), size);
                    std::mem::forget(place);
                }
            }
        }
    }
}
