//! The trace headers that mayfly adds (RFC 5321 section 4.4).
//!
//! Nothing that a client sent can begin a line of its own here: every byte that is not visible
//! ASCII or a space is replaced, and lines are broken only where this file breaks them. Characters
//! beyond ASCII stay in a message that came with SMTPUTF8 (RFC 6531 section 3.7.3), and in no other.

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

    const fn is_utf8(self) -> bool {
        matches!(self, Self::Utf8Smtp | Self::Utf8Smtps)
    }
}

/// How a connection was protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The version of TLS, as `1.3`.
    pub version: &'static str,
    /// The cipher suite, by its name in the registry of TLS less the `TLS_` that each begins with.
    pub cipher: &'static str,
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
    /// What the handshake agreed on, if there was one.
    pub tls: Option<Protection>,
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
        let mut text = FoldedText::with_capacity(self.bytes_estimate(), self.with.is_utf8());
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
        match self.client.to_canonical() {
            IpAddr::V4(client) => text.written(format_args!("([{client}])")),
            IpAddr::V6(client) => text.written(format_args!("([IPv6:{client}])")),
        }
        if let Some(Protection { version, cipher }) = self.tls {
            text.word(&["(TLS", version]);
            text.word(&["TLS_", cipher, ")"]);
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
        const FIXED: usize = 240;
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

/// Header text that is broken into lines between words.
struct FoldedText {
    bytes: Vec<u8>,
    line_start: usize,
    /// Whether characters beyond ASCII stay.
    utf8: bool,
}

impl FoldedText {
    fn with_capacity(bytes: usize, utf8: bool) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            line_start: 0,
            utf8,
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
                0x80.. if self.utf8 => *byte,
                _ => b'?',
            };
        }
    }

    /// Appends a space and a word that is not text yet, on a new line if this one is full. It is written nowhere else
    /// before: what lies on a stack is not overwritten when it is no longer needed.
    fn written(&mut self, word: fmt::Arguments<'_>) {
        let start = self.bytes.len();
        let written = self.write_char(' ').and_then(|()| self.write_fmt(word));
        debug_assert!(written.is_ok());
        if self.bytes.len() - self.line_start > LINE_BYTES_AIM {
            self.bytes.splice(start..start, *b"\r\n");
            self.line_start = start + "\r\n".len();
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

impl Write for FoldedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::*;
    use proptest::prelude::*;

    const TLS: Protection = Protection {
        version: "1.3",
        cipher: "AES_256_GCM_SHA384",
    };

    fn written(helo: &str, path: &ReversePath, only: Option<&Recipient>, client: &str) -> String {
        written_with(With::Esmtps, None, helo, path, only, client)
    }

    fn written_with(
        with: With,
        tls: Option<Protection>,
        helo: &str,
        path: &ReversePath,
        only: Option<&Recipient>,
        client: &str,
    ) -> String {
        let trace = Trace {
            reverse_path: path,
            helo,
            client: client.parse().expect("an IP address"),
            hostname: "mx.test",
            with,
            tls,
            queue_id: QueueId::from_random(0),
            only_recipient: only,
            date: "Sun, 22 Nov 2026 10:00:00 +0000",
        };
        String::from_utf8(trace.headers()).expect("headers are UTF-8")
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
    fn what_tls_agreed_on_stands_in_a_comment() {
        let tls = Some(TLS);
        let null = ReversePath::Null;
        assert_eq!(
            written_with(With::Esmtps, tls, "a.test", &null, None, "192.0.2.1"),
            "Return-Path: <>\r\n\
             Received: from a.test ([192.0.2.1]) (TLS1.3 TLS_AES_256_GCM_SHA384)\r\n \
             by mx.test with ESMTPS id aaaaaaaaaaaaaaaa; \
             Sun, 22 Nov 2026 10:00:00 +0000\r\n"
        );
        let text = written_with(
            With::Esmtps,
            tls,
            "a.test",
            &null,
            None,
            "2001:db8:1111:2222:3333:4444:5555:6666",
        );
        assert!(
            text.contains("6666]) (TLS1.3\r\n TLS_AES_256_GCM_SHA384)\r\n by "),
            "{text}"
        );
    }

    #[test]
    fn characters_beyond_ascii_stay_only_in_a_message_with_smtputf8() {
        let to = Recipient::Address(Address::parse("Jürgen@bücher.test").expect("an address"));
        let from = path("grün@blüte.test");
        let write = |with| written_with(with, None, "a.test", &from, Some(&to), "192.0.2.1");
        for (with, word) in [(With::Utf8Smtp, "UTF8SMTP"), (With::Utf8Smtps, "UTF8SMTPS")] {
            assert_eq!(
                write(with),
                format!(
                    "Return-Path: <grün@blüte.test>\r\n\
                     Received: from a.test ([192.0.2.1])\r\n \
                     by mx.test with {word} id aaaaaaaaaaaaaaaa\r\n \
                     for <jürgen@xn--bcher-kva.test>; Sun, 22 Nov 2026 10:00:00 +0000\r\n"
                )
            );
        }
        assert!(write(With::Esmtps).is_ascii(), "not without it");
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
        fn whatever_comes_there_are_two_headers_of_short_lines(
            helo in ".{0,255}",
            sender in ".{0,254}",
            with in prop::sample::select(&[With::Smtp, With::Utf8Smtps][..]),
        ) {
            let text = written_with(with, Some(TLS), &helo, &path(&sender), None, "192.0.2.1");
            prop_assert!(text.ends_with("\r\n"));
            let starts = text.split_terminator("\r\n").filter(|line| !line.starts_with(' ')).count();
            prop_assert_eq!(starts, 2);
            for line in text.split_terminator("\r\n") {
                prop_assert!(line.chars().count() <= 998 && !line.contains(['\r', '\n']));
            }
        }
    }
}
