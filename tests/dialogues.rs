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
//! ? Pause 5                     or wants nothing to happen for so many seconds, which then pass
//! ! accept                      and is answered
//! | Subject: x                  a line of the message that it hands over with `? Message`
//! + x                           a part of it without CRLF
//! X: Quit                       the session ends
//! @ advance 300                 the clock moves by seconds
//! @ alive                       the deadline is not yet reached
//! @ expire                      the deadline is reached
//! @ shutdown                    the server stops
//! @ message_bytes_max 1000      other limits hold from now on
//! @ held 2                      so many leases are held
//! @ reserved 0                  so many bytes are reserved
//! ```
//!
//! In `C:`, `c:`, `|` and `+` lines `\r`, `\n`, `\0`, `\\` and `\x41` are bytes, and `\{5*ab}` is `ab` five
//! times. Each session is played with its input whole and in chunks of 1, 2 and 7 bytes (only
//! whole if it says `--- whole`); every byte of output is compared. Whether a client waits for replies depends on how its
//! input is cut, so it does not matter here unless an option says `forbid_early_pipelining`.

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
    limits: Limits,
    metrics: CoreMetrics,
    ledger: Ledger,
    leases: Rc<()>,
    now: Instant,
    deadline: Instant,
    closed: bool,
}

impl Stage {
    fn new(options: &str) -> Self {
        let mut limits = Limits {
            forbid_early_pipelining: false,
            ..Limits::default()
        };
        let mut extensions = Extensions::ALL.without(Extension::StartTls);
        let (mut xclient, mut tls, mut normally) = (false, false, None);
        for option in options.split_whitespace() {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let number = || value.parse::<u64>().expect("a number");
            let count = || value.parse::<u32>().expect("a number");
            match key {
                "starttls" => extensions = extensions.with(Extension::StartTls),
                "tls" => tls = true,
                "xclient" => xclient = true,
                "without" => extensions = without(extensions, value),
                "forbid_early_pipelining" => limits.forbid_early_pipelining = true,
                "whole" => {}
                "line_bytes_max" => limits.line_bytes_max = Bytes(number()),
                "recipients_max" => limits.recipients_max = count(),
                "message_bytes_max" => limits.message_bytes_max = Bytes(number()),
                "message_bytes_max_normally" => normally = Some(Bytes(number())),
                "messages_per_session_max" => limits.messages_per_session_max = count(),
                "reserve_step_bytes" => limits.reserve_step_bytes = Bytes(number()),
                "errors_max" => limits.errors_max = count(),
                "junk_commands_max" => limits.junk_commands_max = count(),
                "hops_max" => limits.hops_max = count(),
                "command_timeout" => limits.command_timeout = Span::secs(number()),
                "newlines" if value == "normalize" => limits.newlines = Newlines::Normalize,
                "data_timeout" => limits.data_timeout = Span::secs(number()),
                "transaction_timeout" => limits.transaction_timeout = Span::secs(number()),
                "tarpit" => limits.tarpit = Span::secs(number()),
                "tarpit_after_errors" => limits.tarpit_after_errors = count(),
                _ => panic!("unknown option {key}"),
            }
        }
        let mut profile = profile(Arc::new(limits.clone()));
        (profile.tls, profile.xclient) = (tls, xclient);
        profile.extensions = extensions;
        if let Some(normally) = normally {
            profile.message_bytes_max_normally = normally;
        }
        let now = Instant::from_secs(1);
        Self {
            session: Session::new(profile, now),
            limits,
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
        if self.closed {
            assert!(input.is_empty(), "the session is over");
            return;
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
                    let seconds = until.since(self.now).as_secs();
                    expect(&mut batch, &format!("Pause {seconds}"));
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
            "message_bytes_max" => {
                self.limits.message_bytes_max = Bytes(value);
                self.session.set_limits(Arc::new(self.limits.clone()));
            }
            "command_timeout" => {
                self.limits.command_timeout = Span::secs(value);
                self.session.set_limits(Arc::new(self.limits.clone()));
            }
            "reserved" => assert_eq!(self.ledger.used(), value, "bytes reserved"),
            "shutdown" => self.session.shut_down(&self.metrics),
            "withhold_tls" => self.session.withhold_tls(),
            _ => panic!("no such directive: {directive}"),
        }
    }

    fn verdict(&self, question: Question<Rc<()>>, verdict: &str, body: &[u8]) -> Verdict<Rc<()>> {
        let refusal = match verdict.strip_prefix("reject ") {
            None => {
                assert_eq!(verdict, "accept");
                None
            }
            Some("ClientGuesses") => Some(Reply::ClientGuesses),
            Some("ClientTooManyMessages") => Some(Reply::ClientTooManyMessages),
            Some("MailboxFull") => Some(Reply::MailboxFull),
            Some("NoMemory") => Some(Reply::NoMemory),
            Some("NoSuchMailbox") => Some(Reply::NoSuchMailbox),
            Some("RelayDenied") => Some(Reply::RelayDenied),
            Some("TooManyConnections") => Some(Reply::TooManyConnections),
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

/// These extensions without those that a list with commas names.
fn without(extensions: Extensions, names: &str) -> Extensions {
    names.split(',').fold(extensions, |left, name| {
        left.without(match name {
            "8BITMIME" => Extension::EightBitMime,
            "BINARYMIME" => Extension::BinaryMime,
            "CHUNKING" => Extension::Chunking,
            "LIMITS" => Extension::Limits,
            "PIPELINING" => Extension::Pipelining,
            "REQUIRETLS" => Extension::RequireTls,
            "SIZE" => Extension::Size,
            "SMTPUTF8" => Extension::SmtpUtf8,
            other => panic!("no such extension: {other}"),
        })
    })
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
