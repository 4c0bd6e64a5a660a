//! The trace headers that mayfly adds (RFC 5321 section 4.4).
//!
//! Nothing that a client sent can begin a line of its own here: every byte that is not visible
//! ASCII or a space is replaced, and lines are broken only where this file breaks them.

#![forbid(unsafe_code)]

use super::address::{Recipient, ReversePath, is_host};
use super::message::QueueId;
use crate::clock::{Instant, WallClock};
use std::fmt;
use std::net::IpAddr;

/// Lines are broken before they get longer than this, where there is a space to break at
/// (RFC 5322 section 2.1.1).
const LINE_BYTES_AIM: usize = 78;

/// The protocol that a message came with (RFC 3848).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// After EHLO.
    Esmtp,
    /// After EHLO, inside TLS.
    Esmtps,
    /// After HELO.
    Smtp,
}

impl With {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Esmtp => "ESMTP",
            Self::Esmtps => "ESMTPS",
            Self::Smtp => "SMTP",
        }
    }
}

/// What the trace headers of one message say.
#[derive(Clone, Copy)]
pub struct Trace<'a> {
    /// Where the message says it came from.
    pub reverse_path: &'a ReversePath,
    /// What the client called itself; it may be anything.
    pub helo: &'a str,
    /// Where the client is.
    pub client: IpAddr,
    /// Our name.
    pub hostname: &'a str,
    /// What it came with.
    pub with: With,
    /// The message's name.
    pub queue_id: QueueId,
    /// The recipient, if there is exactly one; several are not disclosed to one another
    /// (RFC 5321 section 7.2).
    pub only_recipient: Option<&'a Recipient>,
    /// When it came.
    pub received_at: Instant,
    /// What the calendar says.
    pub wall: WallClock,
}

impl Trace<'_> {
    /// `Return-Path` and `Received`, each line with its CRLF, ready to stand before the message.
    #[must_use]
    pub fn headers(&self) -> Vec<u8> {
        let mut text = FoldedText::default();
        text.start("Return-Path:");
        match self.reverse_path {
            ReversePath::Null => text.word("<>"),
            ReversePath::Address(address) => text.word(&format!("<{address}>")),
        }
        text.end();

        text.start("Received:");
        text.word("from");
        text.word(if is_host(self.helo.as_bytes()) {
            self.helo
        } else {
            "unknown"
        });
        text.word(&match self.client.to_canonical() {
            IpAddr::V4(address) => format!("([{address}])"),
            IpAddr::V6(address) => format!("([IPv6:{address}])"),
        });
        text.fold();
        let with = self.with.as_str();
        let queue_id = self.queue_id.as_str();
        for word in ["by", self.hostname, "with", with, "id"] {
            text.word(word);
        }
        let date = self.wall.rfc5322(self.received_at);
        if let Some(recipient) = self.only_recipient {
            text.word(queue_id);
            text.fold();
            text.word("for");
            match recipient {
                Recipient::Postmaster => text.word("<postmaster>;"),
                Recipient::Address(address) => text.word(&format!("<{}>;", address.as_str())),
            }
        } else {
            text.word(&format!("{queue_id};"));
        }
        text.word(&date);
        text.end();
        text.bytes
    }
}

impl fmt::Debug for Trace<'_> {
    /// Nothing that says who sent what to whom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({:?})", self.queue_id)
    }
}

/// Header text that is broken into lines between words.
#[derive(Default)]
struct FoldedText {
    bytes: Vec<u8>,
    line_start: usize,
}

impl FoldedText {
    fn start(&mut self, name: &str) {
        self.line_start = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
    }

    /// Appends a space and a word, on a new line if this one is full.
    fn word(&mut self, word: &str) {
        let line_len = self.bytes.len() - self.line_start;
        let is_fresh = line_len == 0;
        if !is_fresh && line_len + 1 + word.len() > LINE_BYTES_AIM {
            self.fold();
        }
        self.bytes.push(b' ');
        self.bytes.extend(word.bytes().map(|byte| match byte {
            b' '..=b'~' => byte,
            _ => b'?',
        }));
    }

    /// Begins a new line of the same header: the next word's space makes it a continuation.
    fn fold(&mut self) {
        self.end();
        self.line_start = self.bytes.len();
    }

    fn end(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::*;
    use proptest::prelude::*;

    fn written(helo: &str, path: &ReversePath, only: Option<&Recipient>, client: &str) -> String {
        let trace = Trace {
            reverse_path: path,
            helo,
            client: client.parse().expect("an IP address"),
            hostname: "mx.test",
            with: With::Esmtps,
            queue_id: QueueId::from_random(0),
            only_recipient: only,
            received_at: Instant::ZERO,
            wall: WallClock::new(Instant::ZERO, 1_795_341_600_000_000),
        };
        String::from_utf8(trace.headers()).expect("headers are ASCII")
    }

    fn path(text: &str) -> ReversePath {
        ReversePath::Address(text.into())
    }

    #[test]
    fn headers_read_as_the_standard_writes_them() {
        let to = Recipient::Address(Address::parse("u@mx.test").expect("an address"));
        assert_eq!(
            written("a.test", &path("S@a.test"), Some(&to), "192.0.2.1"),
            "Return-Path: <S@a.test>\r\n\
             Received: from a.test ([192.0.2.1])\r\n \
             by mx.test with ESMTPS id aaaaaaaaaaaaaaaa\r\n \
             for <u@mx.test>; Sun, 22 Nov 2026 10:00:00 +0000\r\n"
        );
        assert_eq!(
            written("[IPv6:::1]", &ReversePath::Null, None, "2001:db8::1"),
            "Return-Path: <>\r\n\
             Received: from [IPv6:::1] ([IPv6:2001:db8::1])\r\n \
             by mx.test with ESMTPS id aaaaaaaaaaaaaaaa; \
             Sun, 22 Nov 2026 10:00:00 +0000\r\n"
        );
    }

    #[test]
    fn a_client_cannot_forge_a_part_of_the_header() {
        for helo in ["x) by evil (", "a;b", "my_pc", "", "a\r\nX: y", "ü"] {
            let text = written(helo, &ReversePath::Null, None, "::ffff:192.0.2.1");
            assert!(text.contains("from unknown ([192.0.2.1])\r\n"), "{helo}");
        }
        let text = written("a", &path("a\r\nX: y\u{fc}@d"), None, "::1");
        assert!(text.starts_with("Return-Path: <a??X: y??@d>\r\nReceived: "));
    }

    proptest! {
        #[test]
        fn whatever_comes_there_are_two_headers_of_short_lines(helo in ".{0,255}", sender in ".{0,254}") {
            let text = written(&helo, &path(&sender), None, "192.0.2.1");
            prop_assert!(text.ends_with("\r\n"));
            let starts = text.split_terminator("\r\n").filter(|line| !line.starts_with(' ')).count();
            prop_assert_eq!(starts, 2);
            for line in text.split_terminator("\r\n") {
                prop_assert!(line.len() <= 998 && !line.contains(['\r', '\n']));
            }
        }
    }
}
