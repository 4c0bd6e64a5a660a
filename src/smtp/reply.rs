//! Every reply, in one table.
//!
//! A reply says nothing that the client sent: what is echoed could be made to look like something
//! else. Enhanced codes are those of RFC 3463 and RFC 5248; where the standard has none (greeting,
//! EHLO, HELO, 354) the column is empty. Braces name what is filled in.

#![forbid(unsafe_code)]

use super::Receipt;
use super::extension::Offer;
use crate::metrics::{Label, ReplyCode};

/// Declares the replies and their table at once.
macro_rules! replies {
    ($( $(#[doc = $doc:literal])+ $name:ident $(($payload:ty))? = $code:ident $enhanced:literal $text:literal, )*) => {
        /// What the server says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reply { $( $(#[doc = $doc])+ $name $(($payload))? ),* }

        impl Reply {
            const fn row(&self) -> Row {
                match self { $( Self::$name { .. } => Row {
                    code: ReplyCode::$code,
                    enhanced: $enhanced,
                    text: $text,
                } ),* }
            }

            /// All of it as it goes over the wire, if nothing has to be filled in.
            #[must_use]
            pub const fn constant(&self) -> Option<&'static [u8]> {
                match self { $( Self::$name { .. } => {
                    const ROW: Row = Row {
                        code: ReplyCode::$code,
                        enhanced: $enhanced,
                        text: $text,
                    };
                    const LINE: [u8; ROW.constant_len()] = ROW.constant_line();
                    if LINE.is_empty() { None } else { Some(&LINE) }
                } ),* }
            }

            /// Every row, for those who check the table.
            #[cfg(test)]
            const ROWS: &'static [Row] = &[
                $( Row { code: ReplyCode::$code, enhanced: $enhanced, text: $text } ),*
            ];
        }
    };
}

/// A row of the table. Several lines of text make a reply of several lines.
#[derive(Clone, Copy, Debug)]
struct Row {
    code: ReplyCode,
    enhanced: &'static str,
    text: &'static str,
}

impl Row {
    /// How long its line is; 0 if it has several, or braces to fill in.
    const fn constant_len(self) -> usize {
        let text = self.text.as_bytes();
        let mut place = 0;
        while place < text.len() {
            if matches!(text[place], b'{' | b'\n') {
                return 0;
            }
            place += 1;
        }
        let enhanced = match self.enhanced.len() {
            0 => 0,
            len => len + " ".len(),
        };
        "250 ".len() + enhanced + text.len() + "\r\n".len()
    }

    /// Its line, made by the compiler.
    const fn constant_line<const LEN: usize>(self) -> [u8; LEN] {
        let mut line = [b' '; LEN];
        if LEN == 0 {
            return line;
        }
        put(&mut line, 0, code_text(self.code));
        let enhanced_at = "250 ".len();
        put(&mut line, enhanced_at, self.enhanced);
        put(&mut line, LEN - "\r\n".len() - self.text.len(), self.text);
        put(&mut line, LEN - "\r\n".len(), "\r\n");
        line
    }
}

/// Copies `text` into `line`.
const fn put(line: &mut [u8], at: usize, text: &str) {
    let text = text.as_bytes();
    let (_, behind) = line.split_at_mut(at);
    let (place, _) = behind.split_at_mut(text.len());
    place.copy_from_slice(text);
}

replies! {
    /// The answer to HELP (RFC 5321 section 4.1.1.8).
    Help = R214 "2.0.0" "Commands: BDAT DATA EHLO HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY",
    /// The first line of a session (RFC 5321 section 4.3.1).
    Greeting = R220 "" "{host} ESMTP mayfly",
    /// What a client gets that waits for its greeting, which is then the last line of the same reply (RFC 5321 section 4.2).
    Teaser = R220 "" "{host} Please wait\n",
    /// The handshake may begin (RFC 3207 section 4).
    ReadyForTls = R220 "2.0.0" "Ready to start TLS",
    /// The answer to QUIT (RFC 5321 section 4.1.1.10).
    Bye = R221 "2.0.0" "Bye",
    /// The answer to HELO (RFC 5321 section 4.1.1.1).
    Hello = R250 "" "{host}",
    /// The answer to EHLO (RFC 5321 section 4.1.1.1). A line whose first word names an extension is left out unless that is
    /// offered. The last line stands in any case.
    Capabilities(Offer) = R250 "" "{host}\nPIPELINING\nSIZE {size}\n8BITMIME\nBINARYMIME\nCHUNKING\nSMTPUTF8\nLIMITS RCPTMAX={recipients}{mailmax}\nSTARTTLS\nREQUIRETLS\nXCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\nENHANCEDSTATUSCODES",
    /// The answer to NOOP and RSET (RFC 5321 sections 4.1.1.5 and 4.1.1.9), and to a chunk that is not the last
    /// (RFC 3030 section 2).
    Ok = R250 "2.0.0" "Ok",
    /// The answer to MAIL (RFC 5321 section 4.1.1.2, RFC 3463 section 3.2).
    SenderOk = R250 "2.1.0" "Ok",
    /// The answer to RCPT (RFC 5321 section 4.1.1.3, RFC 3463 section 3.2).
    RecipientOk = R250 "2.1.5" "Ok",
    /// The message is stored for every recipient (RFC 5321 sections 4.1.1.4 and 6.1).
    Held(Receipt) = R250 "2.0.0" "Ok: held in memory until {until} id={id}",
    /// The answer to VRFY (RFC 5321 sections 3.5.3 and 7.3): nothing is disclosed.
    CannotVerify = R252 "2.0.0" "Will not say, but send mail and see",
    /// The data may come (RFC 5321 section 4.1.1.4).
    StartData = R354 "" "End data with <CR><LF>.<CR><LF>",
    /// One client names too many recipients that do not exist (RFC 5321 section 7.8).
    ClientGuesses = R421 "4.7.0" "Too many unknown recipients from your address, closing connection",
    /// Too much of an over-long line, or of the data of a refused message, had to be thrown away
    /// (RFC 5321 section 7.8).
    Endless = R421 "4.7.0" "Too much data to discard, closing connection",
    /// Something in the server went wrong that is not the client's fault (RFC 5321 section 3.8).
    InternalError = R421 "4.3.0" "Internal error, closing connection",
    /// The server stops (RFC 5321 section 3.8).
    ShuttingDown = R421 "4.3.2" "Shutting down, closing connection",
    /// The client was too slow (RFC 5321 section 4.5.3.2).
    TimedOut = R421 "4.4.2" "Timeout, closing connection",
    /// The server has too much to do: for a connection that is turned away (RFC 5321 section 3.1).
    TooBusy = R421 "4.3.2" "Too busy, try again later",
    /// One client has too many connections or makes them too fast (RFC 5321 section 7.8).
    TooManyConnections = R421 "4.7.0" "Too many connections from your address, try again later",
    /// The session has sent as many messages as it may (RFC 9422 section 4); another session may send more.
    TooManyMessages = R421 "4.7.0" "Too many messages in one session, closing connection",
    /// Too many commands were refused (RFC 5321 section 7.8).
    TooManyErrors = R421 "4.7.0" "Too many errors, closing connection",
    /// Too many commands moved no mail (RFC 5321 section 7.8).
    TooManyJunkCommands = R421 "4.7.0" "Too many commands without mail, closing connection",
    /// One client began too many messages and finished none of them (RFC 5321 section 7.8).
    ClientTooManyAborted = R450 "4.7.1" "Too many unfinished messages from your address, try again later",
    /// One client sent too much (RFC 5321 section 7.8).
    ClientTooManyBytes = R450 "4.7.1" "Too much mail from your address, try again later",
    /// One client sent too many messages (RFC 5321 section 7.8).
    ClientTooManyMessages = R450 "4.7.1" "Too many messages from your address, try again later",
    /// One client's messages had too many recipients (RFC 5321 section 7.8).
    ClientTooManyRecipients = R450 "4.7.1" "Too many recipients from your address, try again later",
    /// The answer to a question could not be had in time (RFC 5321 section 4.2.2).
    TryLater = R451 "4.3.2" "Try again later",
    /// The mailbox has no room (RFC 3463 section 3.3).
    MailboxFull = R452 "4.2.2" "Mailbox full, try again later",
    /// There is no memory for the message now (RFC 3463 section 3.4, RFC 1870 section 6).
    NoMemory = R452 "4.3.1" "Mail system full, try again later",
    /// There is no memory for so large a message now, but there will be (RFC 3463 section 3.4, RFC 1870 section 6).
    SizeNotNow = R452 "4.3.1" "Too busy for a message of this size, try again later",
    /// The transaction has as many recipients as it may (RFC 5321 section 4.5.3.1.10).
    TooManyRecipients = R452 "4.5.3" "Too many recipients, send another copy",
    /// One client has failed too many handshakes (RFC 3207 section 4).
    ClientTlsFailures = R454 "4.7.0" "Too many failed handshakes from your address, try again later",
    /// A CR or LF that is not part of a CRLF in a command (RFC 5321 section 2.3.8).
    BareNewlineInCommand = R500 "5.5.2" "Lines end with <CR><LF> only",
    /// A line longer than the limit (RFC 5321 section 4.5.3.1.4).
    LineTooLong = R500 "5.5.2" "Line too long",
    /// A NUL in a command (RFC 5321 section 4.1.1).
    NulInCommand = R500 "5.5.2" "NUL in command",
    /// No such command (RFC 5321 section 4.2.4).
    UnknownCommand = R500 "5.5.1" "Command not recognized",
    /// An argument is missing, malformed or one too many (RFC 5321 section 4.2.4).
    BadArguments = R501 "5.5.4" "Wrong or missing arguments",
    /// A parameter is malformed or given twice (RFC 5321 section 4.1.1.11).
    BadParameter = R501 "5.5.4" "Malformed or repeated parameter",
    /// The path of RCPT is malformed (RFC 3463 section 3.2).
    BadRecipient = R501 "5.1.3" "Malformed recipient address",
    /// The path of MAIL is malformed (RFC 3463 section 3.2).
    BadSender = R501 "5.1.7" "Malformed sender address",
    /// The command is known, and not carried out here (RFC 5321 section 4.2.4).
    NotImplemented = R502 "5.5.1" "Command not implemented",
    /// The command is not for now (RFC 5321 section 4.1.4).
    BadSequence = R503 "5.5.1" "Bad sequence of commands",
    /// A BDAT whose count is malformed: what is content and what is not cannot be known (RFC 3030 section 2).
    BadChunk = R521 "5.5.4" "Malformed BDAT, closing connection",
    /// The client does not speak SMTP (RFC 7504 section 3).
    NotSmtp = R521 "5.5.1" "This is a mail server",
    /// A CR or LF that is not part of a CRLF in a message (RFC 5321 sections 2.3.8 and 4.1.1.4).
    BareNewlineInMessage = R550 "5.5.2" "Message has a bare CR or LF",
    /// No such mailbox (RFC 3463 section 3.2).
    NoSuchMailbox = R550 "5.1.1" "No such mailbox here",
    /// The mailbox has taken as many messages as it was made for, and will take no more (RFC 3463 section 3.3).
    MailboxUsedUp = R550 "5.2.1" "Mailbox has taken its last message",
    /// A NUL in a message (RFC 5322 section 4).
    NulInMessage = R550 "5.5.2" "Message has a NUL",
    /// Mail for elsewhere is not taken (RFC 3463 section 3.8).
    RelayDenied = R550 "5.7.1" "Relay access denied",
    /// A chunk without content that is not the last: nobody who sends mail has a reason for it (RFC 3463 section 3.8).
    EmptyChunk = R551 "5.7.1" "Empty chunk",
    /// The message is, or was said to be, larger than the limit (RFC 1870 section 6).
    TooBig = R552 "5.3.4" "Message too big",
    /// The address has characters beyond ASCII, and SMTPUTF8 is not offered (RFC 6531 section 3.5).
    NonAsciiAddress = R553 "5.6.7" "Address with characters beyond ASCII not supported",
    /// The client spoke before it was greeted (RFC 5321 sections 3.1 and 4.3.1).
    EarlyTalker = R554 "5.5.0" "You spoke before the greeting",
    /// DATA without a recipient that was accepted (RFC 5321 section 3.3).
    NoRecipients = R554 "5.5.1" "No valid recipients",
    /// Something came behind STARTTLS before the handshake (RFC 3207 section 6).
    PipelinedBehindStartTls = R554 "5.5.1" "Nothing may follow STARTTLS before the handshake",
    /// Something came behind EHLO, HELO or DATA before their reply (RFC 2920 section 3.1).
    NotSynchronized = R554 "5.5.0" "SMTP protocol synchronization, wait for the reply",
    /// The policy of a recipient's domain does not let an attachment pass (RFC 3463 section 3.8).
    AttachmentRefused = R554 "5.7.1" "Message has an attachment that is not accepted here",
    /// What is in the message cannot be found out within bounds, and must be (RFC 3463 section 3.7).
    TooComplex = R554 "5.6.0" "Message has too many parts, or too deep ones",
    /// The message is in a loop (RFC 5321 section 6.3).
    TooManyHops = R554 "5.4.6" "Too many hops, mail is looping",
    /// A parameter of an extension that is not offered (RFC 5321 section 4.1.1.11).
    UnsupportedParameter = R555 "5.5.4" "Parameter not supported",
}

/// What is filled into the texts that name the server.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    /// Our name, 255 bytes at most.
    pub hostname: &'a str,
}

impl Reply {
    /// Its code, as the metrics name it.
    #[must_use]
    pub const fn code(&self) -> ReplyCode {
        self.row().code
    }

    /// Whether the client should not try the same again (RFC 5321 section 4.2.1).
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        code_text(self.code()).starts_with('5')
    }

    /// Whether the connection is closed behind it: it says that the service is not available (RFC 5321 section 4.2.1).
    #[must_use]
    pub const fn closes(&self) -> bool {
        matches!(self.code(), ReplyCode::R421)
    }

    /// Appends it to `out` as it goes over the wire.
    pub fn write(&self, speaker: Speaker<'_>, out: &mut Vec<u8>) {
        if let Some(line) = self.constant() {
            return out.extend_from_slice(line);
        }
        let row = self.row();
        let mut lines = row
            .text
            .split('\n')
            .filter(|line| self.has(line))
            .peekable();
        while let Some(line) = lines.next() {
            if line.is_empty() && lines.peek().is_none() {
                // A text that ends with a line break is the beginning of a reply.
                return;
            }
            let separator = if lines.peek().is_some() { b'-' } else { b' ' };
            out.extend_from_slice(code_text(row.code).as_bytes());
            out.push(separator);
            if !row.enhanced.is_empty() {
                out.extend_from_slice(row.enhanced.as_bytes());
                out.push(b' ');
            }
            self.write_filled(line, speaker, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Whether a line of its row is said.
    fn has(&self, line: &str) -> bool {
        match (self, line.split(' ').next()) {
            (Self::Capabilities(offer), Some(keyword)) => offer.has(keyword),
            _ => true,
        }
    }

    /// Appends a line of text with what its braces name.
    fn write_filled(&self, line: &str, speaker: Speaker<'_>, out: &mut Vec<u8>) {
        let mut rest = line;
        while let Some((before, (name, behind))) = rest
            .split_once('{')
            .and_then(|(before, behind)| Some((before, behind.split_once('}')?)))
        {
            out.extend_from_slice(before.as_bytes());
            match (name, self) {
                ("host", _) => out.extend_from_slice(speaker.hostname.as_bytes()),
                ("size", Self::Capabilities(offer)) => write_number(offer.message_bytes_max, out),
                ("recipients", Self::Capabilities(offer)) => {
                    write_number(limit(offer.recipients_max), out);
                }
                ("mailmax", Self::Capabilities(offer)) if offer.messages_max > 0 => {
                    out.extend_from_slice(b" MAILMAX=");
                    write_number(limit(offer.messages_max), out);
                }
                ("mailmax", Self::Capabilities(_)) => {}
                ("until", Self::Held(receipt)) => {
                    out.extend_from_slice(receipt.kept_until.as_bytes());
                }
                ("id", Self::Held(receipt)) => {
                    out.extend_from_slice(receipt.queue_id.as_str().as_bytes());
                }
                _ => debug_assert!(false, "the table names something unknown: {name}"),
            }
            rest = behind;
        }
        out.extend_from_slice(rest.as_bytes());
    }
}

/// A limit as it can be told: six digits at most (RFC 9422 section 4).
fn limit(limit: u32) -> u64 {
    limit.min(999_999).into()
}

/// Appends a number in decimal digits.
fn write_number(number: u64, out: &mut Vec<u8>) {
    let at = out.len();
    let mut rest = number;
    loop {
        out.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out[at..].reverse();
}

/// The three digits.
const fn code_text(code: ReplyCode) -> &'static str {
    ReplyCode::VALUES[code as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Instant, Stamps, WallClock};
    use crate::mail::message::QueueId;
    use crate::smtp::{Extension, Extensions};

    const NOW: Instant = Instant::ZERO;

    const SPEAKER: Speaker<'static> = Speaker {
        hostname: "mx.test",
    };

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(SPEAKER, &mut out);
        String::from_utf8(out).expect("replies are ASCII")
    }

    #[test]
    fn every_row_is_sound() {
        for row in Reply::ROWS {
            let code = code_text(row.code);
            assert!(
                row.enhanced.is_empty() || row.enhanced[..1] == code[..1],
                "{row:?}"
            );
            for line in row.text.split('\n') {
                let filled = line.len() + 255;
                assert!(filled < 500, "{row:?}: RFC 5321 section 4.5.3.1.5");
                assert!(
                    line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                    "{row:?}"
                );
            }
        }
    }

    #[test]
    fn replies_are_written_as_the_standard_says() {
        assert_eq!(written(&Reply::Greeting), "220 mx.test ESMTP mayfly\r\n");
        assert_eq!(written(&Reply::Teaser), "220-mx.test Please wait\r\n");
        assert_eq!(written(&Reply::SenderOk), "250 2.1.0 Ok\r\n");
        let receipt = Receipt {
            kept_until: Stamps::default().rfc3339(WallClock::new(NOW, 1_795_341_600_000_000), NOW),
            queue_id: QueueId::from_random(0),
        };
        assert_eq!(
            written(&Reply::Held(receipt)),
            "250 2.0.0 Ok: held in memory until 2026-11-22T10:00:00Z id=aaaaaaaaaaaaaaaa\r\n"
        );
        assert_eq!(
            written(&Reply::StartData),
            "354 End data with <CR><LF>.<CR><LF>\r\n"
        );
        assert!(Reply::NoSuchMailbox.is_permanent() && !Reply::MailboxFull.is_permanent());
        assert!(Reply::ClientGuesses.closes() && !Reply::ClientTooManyMessages.closes());
    }

    #[test]
    fn ehlo_says_what_is_offered_and_nothing_else() {
        let all = Offer {
            extensions: Extensions::ALL,
            xclient: true,
            message_bytes_max: 1000,
            recipients_max: 2_000_000,
            messages_max: 7,
        };
        assert_eq!(
            written(&Reply::Capabilities(all)),
            "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n\
             250-SMTPUTF8\r\n250-LIMITS RCPTMAX=999999 MAILMAX=7\r\n250-STARTTLS\r\n250-REQUIRETLS\r\n\
             250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n250 ENHANCEDSTATUSCODES\r\n"
        );
        let little = Offer {
            extensions: Extensions::NONE,
            xclient: false,
            message_bytes_max: 0,
            ..all
        };
        assert_eq!(
            written(&Reply::Capabilities(little)),
            "250-mx.test\r\n250 ENHANCEDSTATUSCODES\r\n"
        );
        let sized = Offer {
            extensions: little
                .extensions
                .with(Extension::Size)
                .with(Extension::Limits),
            messages_max: 0,
            ..little
        };
        assert_eq!(
            written(&Reply::Capabilities(sized)),
            "250-mx.test\r\n250-SIZE 0\r\n250-LIMITS RCPTMAX=999999\r\n250 ENHANCEDSTATUSCODES\r\n"
        );
    }
}
