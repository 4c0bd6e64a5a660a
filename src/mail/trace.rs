//! The trace headers that mayfly adds (RFC 5321 section 4.4).
//!
//! Nothing that a client sent can begin a line of its own here: every byte that is not visible
//! ASCII or a space is replaced, and lines are broken only where this file breaks them.

#![forbid(unsafe_code)]

use super::address::{Recipient, ReversePath, is_host};
use super::message::QueueId;
use std::fmt::{self, Write};
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
    /// After EHLO, with SMTPUTF8 (RFC 6531 section 4.3).
    Utf8Smtp,
    /// After EHLO, with SMTPUTF8, inside TLS.
    Utf8Smtps,
}

impl With {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Esmtp => "ESMTP",
            Self::Esmtps => "ESMTPS",
            Self::Smtp => "SMTP",
            Self::Utf8Smtp => "UTF8SMTP",
            Self::Utf8Smtps => "UTF8SMTPS",
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
    /// When it came, as RFC 5322 section 3.3 writes it.
    pub date: &'a str,
}

impl Trace<'_> {
    /// `Return-Path` and `Received`, each line with its CRLF, ready to stand before the message.
    #[must_use]
    pub fn headers(&self) -> Vec<u8> {
        let mut text = FoldedText::with_capacity(self.bytes_estimate());
        text.start("Return-Path:");
        match self.reverse_path {
            ReversePath::Null => text.word(&["<>"]),
            ReversePath::Address(address) => text.word(&["<", address, ">"]),
        }
        text.end();

        text.start("Received:");
        text.word(&["from"]);
        text.word(&[if is_host(self.helo.as_bytes()) {
            self.helo
        } else {
            "unknown"
        }]);
        let client = IpText::of(self.client);
        match self.client.to_canonical() {
            IpAddr::V4(_) => text.word(&["([", client.as_str(), "])"]),
            IpAddr::V6(_) => text.word(&["([IPv6:", client.as_str(), "])"]),
        }
        text.fold();
        let queue_id = self.queue_id.as_str();
        for word in ["by", self.hostname, "with", self.with.as_str(), "id"] {
            text.word(&[word]);
        }
        if let Some(recipient) = self.only_recipient {
            text.word(&[queue_id]);
            text.fold();
            text.word(&["for"]);
            match recipient {
                Recipient::Postmaster => text.word(&["<postmaster>;"]),
                Recipient::Address(address) => text.word(&["<", address.as_str(), ">;"]),
            }
        } else {
            text.word(&[queue_id, ";"]);
        }
        text.word(&[self.date]);
        text.end();
        text.bytes
    }

    /// Enough for all of it, and little more.
    fn bytes_estimate(&self) -> usize {
        const FIXED: usize = 190;
        let reverse_path = match self.reverse_path {
            ReversePath::Null => 0,
            ReversePath::Address(address) => address.len(),
        };
        let recipient = match self.only_recipient {
            Some(Recipient::Address(address)) => address.as_str().len(),
            Some(Recipient::Postmaster) | None => 0,
        };
        FIXED + reverse_path + self.helo.len() + self.hostname.len() + recipient
    }
}

impl fmt::Debug for Trace<'_> {
    /// Nothing that says who sent what to whom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({:?})", self.queue_id)
    }
}

/// An IP address as text, without an allocation.
struct IpText {
    bytes: [u8; Self::BYTES_MAX],
    len: usize,
}

impl IpText {
    /// The longest: eight groups of four digits.
    const BYTES_MAX: usize = 39;

    /// An IPv4 address in the clothes of an IPv6 one is shown as what it is.
    fn of(address: IpAddr) -> Self {
        let mut text = Self {
            bytes: [0; Self::BYTES_MAX],
            len: 0,
        };
        let written = write!(text, "{}", address.to_canonical());
        debug_assert!(written.is_ok());
        text
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl Drop for IpText {
    /// The allocator overwrites what is freed, but this lies on the stack, where it could stay until a call goes as deep again.
    fn drop(&mut self) {
        self.bytes.fill(0);
        std::hint::black_box(&self.bytes);
    }
}

impl Write for IpText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let place = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Header text that is broken into lines between words.
struct FoldedText {
    bytes: Vec<u8>,
    line_start: usize,
}

impl FoldedText {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            line_start: 0,
        }
    }

    fn start(&mut self, name: &str) {
        self.line_start = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
    }

    /// Appends a space and a word, given in parts, on a new line if this one is full.
    fn word(&mut self, parts: &[&str]) {
        let line_len = self.bytes.len() - self.line_start;
        let word_len: usize = parts.iter().map(|part| part.len()).sum();
        let is_fresh = line_len == 0;
        if !is_fresh && line_len + 1 + word_len > LINE_BYTES_AIM {
            self.fold();
        }
        self.bytes.push(b' ');
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        for byte in &mut self.bytes[start..] {
            *byte = match *byte {
                b' '..=b'~' => *byte,
                _ => b'?',
            };
        }
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
            date: "Sun, 22 Nov 2026 10:00:00 +0000",
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
