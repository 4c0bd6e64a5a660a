//! From a whole line to a typed command (RFC 5321 section 4.1).
//!
//! The line is complete and free of CR, LF and NUL when it comes here. What real clients do beyond
//! the letter of the standard is let in where it is harmless: spaces at the end, several spaces
//! before a parameter, one space behind `FROM:` and `TO:`, odd names in EHLO.

#![forbid(unsafe_code)]

use super::extension::{Extension, Extensions};
use super::reply::Reply;
use super::xclient::{self, Attributes};
use crate::mail::address::{AddressError, forward_path, offence, reverse_path};
use crate::mail::{Recipient, ReversePath};
use crate::metrics::Command as Verb;
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, eof, not, opt, peek, recognize, value, verify};
use nom::error::{ErrorKind, ParseError};
use nom::sequence::{delimited, pair, preceded, terminated};
use nom::{IResult, Parser};

/// The longest name of EHLO or HELO that is remembered, in bytes: as long as a domain may be
/// (RFC 5321 section 4.5.3.1.2). A longer one is no name of a host; it is taken, and forgotten.
pub const HELLO_BYTES_MAX: usize = 255;

/// A command that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] CRLF` (RFC 3030 section 2).
    Bdat {
        /// How many bytes behind the line are no commands.
        bytes: u64,
        /// Whether the message ends with them.
        is_last: bool,
    },
    /// `data = "DATA" CRLF` (RFC 5321 section 4.1.1.4).
    Data,
    /// `ehlo = "EHLO" SP ( Domain / address-literal ) CRLF` (RFC 5321 section 4.1.1.1).
    Ehlo(&'a str),
    /// `expn = "EXPN" SP String CRLF` (RFC 5321 section 4.1.1.7).
    Expn,
    /// `helo = "HELO" SP Domain CRLF` (RFC 5321 section 4.1.1.1).
    Helo(&'a str),
    /// `help = "HELP" [ SP String ] CRLF` (RFC 5321 section 4.1.1.8).
    Help,
    /// `mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF` (RFC 5321 section 4.1.1.2).
    Mail {
        /// Who sends.
        reverse_path: ReversePath,
        /// What it says about the message.
        parameters: MailParameters,
    },
    /// `noop = "NOOP" [ SP String ] CRLF` (RFC 5321 section 4.1.1.9).
    Noop,
    /// `quit = "QUIT" CRLF` (RFC 5321 section 4.1.1.10).
    Quit,
    /// `rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path )
    /// [SP Rcpt-parameters] CRLF` (RFC 5321 section 4.1.1.3).
    Rcpt(Recipient),
    /// `rset = "RSET" CRLF` (RFC 5321 section 4.1.1.5).
    Rset,
    /// `STARTTLS`, without parameters (RFC 3207 section 4).
    StartTls,
    /// `vrfy = "VRFY" SP String CRLF` (RFC 5321 section 4.1.1.6), also with SMTPUTF8 (RFC 6531 section 3.7.4.2).
    Vrfy,
    /// `XCLIENT` of Postfix.
    Xclient(Attributes),
}

/// What `MAIL` may say beside the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=` in bytes (RFC 1870). A number beyond 64 bits is held as the largest.
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152).
    pub body: Option<BodyType>,
    /// `SMTPUTF8` (RFC 6531 section 3.4): addresses and headers may be beyond ASCII.
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689 section 2): the message may only travel inside TLS.
    pub require_tls: bool,
}

/// What kind of content `BODY=` announces (RFC 6152 section 3, RFC 3030 section 3). Eight bits come
/// through in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    /// `BINARYMIME`
    BinaryMime,
    /// `8BITMIME`
    EightBitMime,
    /// `7BIT`
    SevenBit,
}

/// Why a line is no command that can be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// An argument is missing, malformed or one too many.
    BadArguments,
    /// The argument of `BDAT` is malformed: where the next command is cannot be known.
    BadChunk,
    /// A parameter is malformed or given twice.
    BadParameter,
    /// The path of `RCPT` is wrong.
    BadRecipient(AddressError),
    /// The path of `MAIL` is wrong.
    BadSender(AddressError),
    /// A command of some extension or of old that is not offered.
    NotImplemented,
    /// A line of HTTP or of a message's header: whoever sends it does not speak SMTP, or speaks for somebody who made
    /// it speak to us.
    NotSmtp,
    /// No command at all.
    Unknown,
    /// A parameter of an extension that is not offered.
    UnsupportedParameter,
}

impl CommandError {
    /// What to say to it (RFC 5321 section 4.2.4, RFC 3463 sections 3.2 and 3.6).
    #[must_use]
    pub const fn reply(self) -> Reply {
        match self {
            Self::BadArguments => Reply::BadArguments,
            Self::BadChunk => Reply::BadChunk,
            Self::BadParameter => Reply::BadParameter,
            Self::BadRecipient(_) => Reply::BadRecipient,
            Self::BadSender(_) => Reply::BadSender,
            Self::NotImplemented => Reply::NotImplemented,
            Self::NotSmtp => Reply::NotSmtp,
            Self::Unknown => Reply::UnknownCommand,
            Self::UnsupportedParameter => Reply::UnsupportedParameter,
        }
    }
}

/// A rule that fails without a name is a matter of arguments.
impl ParseError<&[u8]> for CommandError {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self::BadArguments
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Reads one line, without its CRLF, for a server that offers every extension. The verb is known even when its arguments
/// are wrong.
pub fn parse(line: &[u8]) -> (Verb, Result<Command<'_>, CommandError>) {
    parse_offered(line, Extensions::ALL)
}

/// Reads one line, without its CRLF. What belongs to an extension that is not `offered` is not known here.
pub fn parse_offered(
    line: &[u8],
    offered: Extensions,
) -> (Verb, Result<Command<'_>, CommandError>) {
    let Ok((arguments, verb)) = verb(line) else {
        let why = if not_implemented(line).is_ok() {
            CommandError::NotImplemented
        } else if not_smtp(line).is_ok() {
            CommandError::NotSmtp
        } else {
            CommandError::Unknown
        };
        return (Verb::Unknown, Err(why));
    };
    let command = match verb {
        Verb::Mail => mail(arguments, offered),
        Verb::Rcpt => rcpt(arguments),
        Verb::Ehlo => hello(arguments).map(Command::Ehlo),
        Verb::Helo => hello(arguments).map(Command::Helo),
        Verb::Bdat => bdat(arguments),
        Verb::Data => nothing(arguments, Command::Data),
        Verb::Quit => nothing(arguments, Command::Quit),
        Verb::Rset => nothing(arguments, Command::Rset),
        Verb::StartTls => nothing(arguments, Command::StartTls),
        Verb::Vrfy => vrfy(arguments, offered, Command::Vrfy),
        Verb::Expn => vrfy(arguments, offered, Command::Expn),
        Verb::Help => Ok(Command::Help),
        Verb::Noop => Ok(Command::Noop),
        Verb::Xclient => xclient::attributes(arguments).map(Command::Xclient),
        Verb::Unknown => Err(CommandError::Unknown),
    };
    (verb, command)
}

/// The first word of a command that is carried out, in any case. BDAT ends where its letters do: no
/// line that another server takes for one may pass as an unknown command.
fn verb(line: &[u8]) -> IResult<&[u8], Verb, CommandError> {
    let letter = take_while_m_n(1, 1, |byte: u8| byte.is_ascii_alphanumeric());
    let bdat = terminated(tag_no_case("BDAT"), not(letter));
    let word = terminated(
        alt((
            value(Verb::Rcpt, tag_no_case("RCPT")),
            value(Verb::Mail, tag_no_case("MAIL")),
            value(Verb::Data, tag_no_case("DATA")),
            value(Verb::Ehlo, tag_no_case("EHLO")),
            value(Verb::Quit, tag_no_case("QUIT")),
            value(Verb::Rset, tag_no_case("RSET")),
            value(Verb::Noop, tag_no_case("NOOP")),
            value(Verb::StartTls, tag_no_case("STARTTLS")),
            value(Verb::Helo, tag_no_case("HELO")),
            value(Verb::Vrfy, tag_no_case("VRFY")),
            value(Verb::Expn, tag_no_case("EXPN")),
            value(Verb::Help, tag_no_case("HELP")),
            value(Verb::Xclient, tag_no_case("XCLIENT")),
        )),
        end_of_word,
    );
    alt((word, value(Verb::Bdat, bdat))).parse(line)
}

/// The first word of a command that a client may know and that is not carried out here: of RFC 821
/// (`SAML`, `SEND`, `SOML`, `TURN`), of extensions, and that by which a proxy would tell of others (`XFORWARD`), which is
/// never honoured.
fn not_implemented(line: &[u8]) -> IResult<&[u8], &[u8], CommandError> {
    terminated(
        alt((
            tag_no_case("ATRN"),
            tag_no_case("AUTH"),
            tag_no_case("BURL"),
            tag_no_case("ETRN"),
            tag_no_case("SAML"),
            tag_no_case("SEND"),
            tag_no_case("SOML"),
            tag_no_case("TURN"),
            tag_no_case("XFORWARD"),
        )),
        end_of_word,
    )
    .parse(line)
}

/// The first word of an HTTP request, of SSH (RFC 4253 section 4.2) or of a proxy's header, or a field of a message's header
/// (RFC 5322 section 2.2).
fn not_smtp(line: &[u8]) -> IResult<&[u8], &[u8], CommandError> {
    let method = alt((
        tag("CONNECT"),
        tag("DELETE"),
        tag("GET"),
        tag("HEAD"),
        tag("OPTIONS"),
        tag("PATCH"),
        tag("POST"),
        tag("PUT"),
        tag("TRACE"),
    ));
    let name = take_while1(|byte| matches!(byte, b'!'..=b'9' | b';'..=b'~'));
    alt((
        terminated(method, tag(" ")),
        tag("SSH-"),
        tag("PROXY "),
        terminated(name, tag(": ")),
    ))
    .parse(line)
}

/// A space or the end of the line.
fn end_of_word(input: &[u8]) -> IResult<&[u8], &[u8], CommandError> {
    peek(alt((eof, tag(" ")))).parse(input)
}

/// `SP`, several of which are let in where one is asked for. A tab is none.
pub(super) fn space(input: &[u8]) -> IResult<&[u8], &[u8], CommandError> {
    take_while1(|byte| byte == b' ').parse(input)
}

/// Spaces, or nothing.
fn spaces(input: &[u8]) -> IResult<&[u8], &[u8], CommandError> {
    take_while(|byte| byte == b' ').parse(input)
}

/// Spaces at most.
fn nothing<'a>(arguments: &[u8], command: Command<'a>) -> Result<Command<'a>, CommandError> {
    finish(all_consuming(spaces).parse(arguments)).map(|_| command)
}

/// `SP String`, which nobody looks into (RFC 5321 section 4.1.1.6): no form of it is refused, so it
/// may be beyond ASCII.
fn string<'a>(arguments: &[u8], command: Command<'a>) -> Result<Command<'a>, CommandError> {
    let text = verify(take_while(|_| true), |text: &[u8]| !text.is_empty());
    finish(preceded(space, text).parse(arguments)).map(|_| command)
}

/// `SP chunk-size [ SP end-marker ]`, `chunk-size = 1*DIGIT`, `end-marker = "LAST"` (RFC 3030 section 2).
/// Only spaces at the end are let in beyond that. What some server may hold for a negative number
/// is no count.
fn bdat(arguments: &[u8]) -> Result<Command<'_>, CommandError> {
    let marker = opt(pair(char(' '), tag_no_case("LAST")));
    let spaces = take_while(|byte| byte == b' ');
    let rule: IResult<_, _, CommandError> =
        all_consuming((preceded(char(' '), digit1), terminated(marker, spaces))).parse(arguments);
    let (_, (digits, marker)) = rule.map_err(|_| CommandError::BadChunk)?;
    let bytes = number(digits);
    if i64::try_from(bytes).is_err() {
        return Err(CommandError::BadChunk);
    }
    Ok(Command::Bdat {
        bytes,
        is_last: marker.is_some(),
    })
}

/// `SP ( Domain / address-literal )`, or whatever visible ASCII a client takes for its name:
/// names with underscores and worse are common, and nothing is decided on them.
fn hello(arguments: &[u8]) -> Result<&str, CommandError> {
    let name = take_while1(|byte: u8| byte.is_ascii_graphic());
    let name = finish(all_consuming(delimited(space, name, spaces)).parse(arguments))?;
    std::str::from_utf8(name).map_err(|_| CommandError::BadArguments)
}

/// `SP String [SP "SMTPUTF8"]` (RFC 5321 section 4.1.1.6, RFC 6531 section 3.7.4.2). The parameter changes nothing, since no
/// reply says more than ASCII.
fn vrfy<'a>(
    arguments: &[u8],
    offered: Extensions,
    command: Command<'a>,
) -> Result<Command<'a>, CommandError> {
    let mut words = arguments
        .rsplit(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let last = words.next().unwrap_or_default();
    let is_parameter = words.next().is_some() && last.eq_ignore_ascii_case(b"SMTPUTF8");
    match is_parameter && !offered.offers(Extension::SmtpUtf8) {
        true => Err(CommandError::UnsupportedParameter),
        false => string(arguments, command),
    }
}

/// `SP "FROM:" Reverse-path [SP Mail-parameters]` (RFC 5321 section 4.1.1.2).
fn mail(arguments: &[u8], offered: Extensions) -> Result<Command<'_>, CommandError> {
    let path = finish(before_path("FROM:", arguments))?;
    let (rest, reverse_path) =
        reverse_path(path).map_err(|why| CommandError::BadSender(offence(why)))?;
    let mut parameters = MailParameters::default();
    each_parameter(rest, |parameter| parameters.set(parameter, offered))?;
    Ok(Command::Mail {
        reverse_path,
        parameters,
    })
}

/// `SP "TO:" Forward-path [SP Rcpt-parameters]` (RFC 5321 section 4.1.1.3). No extension with
/// parameters here is offered.
fn rcpt(arguments: &[u8]) -> Result<Command<'_>, CommandError> {
    let path = finish(before_path("TO:", arguments))?;
    let (rest, recipient) =
        forward_path(path).map_err(|why| CommandError::BadRecipient(offence(why)))?;
    each_parameter(rest, |_| Err(CommandError::UnsupportedParameter))?;
    Ok(Command::Rcpt(recipient))
}

/// Reads what stands before a path; returns the path and what follows it.
fn before_path<'a>(word: &str, arguments: &'a [u8]) -> IResult<&'a [u8], &'a [u8], CommandError> {
    preceded(
        (space, tag_no_case(word), opt(char(' '))),
        take_while(|_| true),
    )
    .parse(arguments)
}

/// `Mail-parameters = esmtp-param *(SP esmtp-param)` (RFC 5321 section 4.1.2), spaces at the end
/// tolerated. The first offence counts.
fn each_parameter(
    mut rest: &[u8],
    mut take: impl FnMut(Parameter<'_>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    while !rest.iter().all(|byte| *byte == b' ') {
        let (behind, parameter) = preceded(space, esmtp_param)
            .parse(rest)
            .map_err(|_| CommandError::BadParameter)?;
        take(parameter)?;
        rest = behind;
    }
    Ok(())
}

/// `esmtp-param = esmtp-keyword ["=" esmtp-value]`, `esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")`,
/// `esmtp-value = 1*(%d33-60 / %d62-126)` (RFC 5321 section 4.1.2), up to a space or the end.
fn esmtp_param(input: &[u8]) -> IResult<&[u8], Parameter<'_>, CommandError> {
    let keyword = recognize(pair(
        take_while1(|byte: u8| byte.is_ascii_alphanumeric()),
        take_while(|byte: u8| byte.is_ascii_alphanumeric() || byte == b'-'),
    ));
    let value = take_while1(|byte| matches!(byte, 33..=60 | 62..=126));
    terminated(pair(keyword, opt(preceded(char('='), value))), end_of_word)
        .map(|(keyword, value)| Parameter { keyword, value })
        .parse(input)
}

/// An `esmtp-param`, as spelled.
#[derive(Clone, Copy, Debug)]
struct Parameter<'a> {
    keyword: &'a [u8],
    value: Option<&'a [u8]>,
}

impl MailParameters {
    /// Takes over one parameter.
    fn set(&mut self, parameter: Parameter<'_>, offered: Extensions) -> Result<(), CommandError> {
        let Parameter { keyword, value } = parameter;
        let is = |name: &[u8], extension| {
            keyword.eq_ignore_ascii_case(name) && offered.offers(extension)
        };
        if is(b"SIZE", Extension::Size) {
            set_once(&mut self.size, size(value))
        } else if is(b"BODY", Extension::EightBitMime) || is(b"BODY", Extension::BinaryMime) {
            set_once(&mut self.body, body_type(value, offered))
        } else if is(b"SMTPUTF8", Extension::SmtpUtf8) {
            set_flag(&mut self.smtputf8, value)
        } else if is(b"REQUIRETLS", Extension::RequireTls) {
            set_flag(&mut self.require_tls, value)
        } else {
            Err(CommandError::UnsupportedParameter)
        }
    }
}

/// Sets what has no value.
fn set_flag(place: &mut bool, value: Option<&[u8]>) -> Result<(), CommandError> {
    match value.is_some() || std::mem::replace(place, true) {
        true => Err(CommandError::BadParameter),
        false => Ok(()),
    }
}

fn set_once<T>(place: &mut Option<T>, value: Result<T, CommandError>) -> Result<(), CommandError> {
    let value = value?;
    if place.is_some() {
        return Err(CommandError::BadParameter);
    }
    *place = Some(value);
    Ok(())
}

/// `size-value = 1*20DIGIT` (RFC 1870 section 4). More digits are too many bytes, not an error of form.
fn size(value: Option<&[u8]>) -> Result<u64, CommandError> {
    let rule: IResult<_, _, CommandError> =
        all_consuming(digit1).parse(value.ok_or(CommandError::BadParameter)?);
    let (_, digits) = rule.map_err(|_| CommandError::BadParameter)?;
    Ok(number(digits))
}

/// The number that decimal digits write; the largest if it is beyond that.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum: u64, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    })
}

/// `body-value = "7BIT" / "8BITMIME" / "BINARYMIME"` (RFC 6152 section 3, RFC 3030 section 3). Each of the last two belongs to
/// an extension of its own.
fn body_type(value: Option<&[u8]>, offered: Extensions) -> Result<BodyType, CommandError> {
    let word = value.ok_or(CommandError::BadParameter)?;
    let (kind, needs) = if word.eq_ignore_ascii_case(b"8BITMIME") {
        (BodyType::EightBitMime, Some(Extension::EightBitMime))
    } else if word.eq_ignore_ascii_case(b"7BIT") {
        (BodyType::SevenBit, None)
    } else if word.eq_ignore_ascii_case(b"BINARYMIME") {
        (BodyType::BinaryMime, Some(Extension::BinaryMime))
    } else {
        return Err(CommandError::BadParameter);
    };
    match needs.is_none_or(|extension| offered.offers(extension)) {
        true => Ok(kind),
        false => Err(CommandError::UnsupportedParameter),
    }
}

/// What a rule has read, or the name of what stopped it.
fn finish<T>(result: IResult<&[u8], T, CommandError>) -> Result<T, CommandError> {
    match result {
        Ok((_, read)) => Ok(read),
        Err(nom::Err::Error(why) | nom::Err::Failure(why)) => Err(why),
        Err(nom::Err::Incomplete(_)) => Err(CommandError::BadArguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CommandError::*;

    fn refused(line: &str) -> Option<CommandError> {
        parse(line.as_bytes()).1.err()
    }

    #[test]
    fn verbs_are_read_in_any_case_and_with_spaces_behind() {
        let chunk = |bytes, is_last| Command::Bdat { bytes, is_last };
        for (line, expected) in [
            ("BDAT 0", chunk(0, false)),
            ("bdat 007 ", chunk(7, false)),
            ("BDAT 5 last  ", chunk(5, true)),
            ("BDAT 9223372036854775807", chunk(i64::MAX as u64, false)),
            ("DATA", Command::Data),
            ("data  ", Command::Data),
            ("rSeT", Command::Rset),
            ("QUIT ", Command::Quit),
            ("NOOP", Command::Noop),
            ("NOOP any thing", Command::Noop),
            ("HELP", Command::Help),
            ("HELP MAIL", Command::Help),
            ("VRFY ü@ours.test", Command::Vrfy),
            ("EXPN list", Command::Expn),
            ("STARTTLS", Command::StartTls),
            ("ehlo a.test ", Command::Ehlo("a.test")),
            ("EHLO [IPv6:::1]", Command::Ehlo("[IPv6:::1]")),
            ("HELO my_pc(1)", Command::Helo("my_pc(1)")),
        ] {
            assert_eq!(parse(line.as_bytes()).1, Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused_by_name() {
        for (line, why) in [
            ("", Unknown),
            (" NOOP", Unknown),
            ("NOOPX", Unknown),
            ("GET", Unknown),
            ("GET / HTTP/1.1", NotSmtp),
            ("POST / HTTP/1.1", NotSmtp),
            ("CONNECT mx.test:25 HTTP/1.1", NotSmtp),
            ("Subject: hi", NotSmtp),
            ("RCPT:", Unknown),
            ("ETRN d", NotImplemented),
            ("TURN", NotImplemented),
            ("AUTH PLAIN AAAA", NotImplemented),
            ("BDAT", BadChunk),
            ("BDAT ", BadChunk),
            ("BDAT  5", BadChunk),
            ("BDAT\t5", BadChunk),
            ("BDAT:5", BadChunk),
            ("BDAT -1", BadChunk),
            ("BDAT +5", BadChunk),
            ("BDAT 0x10", BadChunk),
            ("BDAT 1e3", BadChunk),
            ("BDAT 5,5", BadChunk),
            ("BDAT 5\t", BadChunk),
            ("BDAT \u{665}", BadChunk),
            ("BDAT \x7f", BadChunk),
            ("BDAT LAST", BadChunk),
            ("BDAT 5LAST", BadChunk),
            ("BDAT 5  LAST", BadChunk),
            ("BDAT 5 LASTX", BadChunk),
            ("BDAT 5 LAST LAST", BadChunk),
            ("BDAT 9223372036854775808", BadChunk),
            ("BDAT 18446744073709551616", BadChunk),
            ("BDATX 5", Unknown),
            ("XCLIENT", BadArguments),
            ("XCLIENT A=b", BadParameter),
            ("XFORWARD ADDR=1.2.3.4", NotImplemented),
            ("EHLO", BadArguments),
            ("EHLO  ", BadArguments),
            ("EHLO a b", BadArguments),
            ("EHLO ü", BadArguments),
            ("DATA now", BadArguments),
            ("STARTTLS foo", BadArguments),
            ("VRFY", BadArguments),
            ("MAIL", BadArguments),
            ("MAIL <a@b>", BadArguments),
            ("MAILFROM:<a@b>", Unknown),
            ("RCPT FROM:<a@b>", BadArguments),
            ("MAIL FROM:", BadSender(AddressError::BadPath)),
            ("MAIL FROM:  <a@b>", BadSender(AddressError::BadPath)),
            ("MAIL FROM:a@b", BadSender(AddressError::BadPath)),
            (
                "MAIL FROM:<\u{7f}@b>",
                BadSender(AddressError::BadLocalPart),
            ),
            ("RCPT TO:<>", BadRecipient(AddressError::BadLocalPart)),
            ("RCPT TO:<u@d>x", BadParameter),
            ("RCPT TO:<u@d> ORCPT=rfc822;a+00b", UnsupportedParameter),
        ] {
            assert_eq!(refused(line), Some(why), "{line}");
        }
        let name = "a".repeat(2 * HELLO_BYTES_MAX);
        assert_eq!(refused(&format!("EHLO {name}")), None);
    }

    #[test]
    fn parameters_are_read_or_refused() {
        let parameters = |text: &str| match parse(format!("MAIL FROM:<a@b>{text}").as_bytes()).1 {
            Ok(Command::Mail { parameters, .. }) => Ok(parameters),
            Ok(_) => unreachable!("it is MAIL"),
            Err(why) => Err(why),
        };
        let of = |size, body| {
            Ok(MailParameters {
                size,
                body,
                ..MailParameters::default()
            })
        };
        let flags = |smtputf8, require_tls| {
            Ok(MailParameters {
                smtputf8,
                require_tls,
                ..MailParameters::default()
            })
        };
        let eight = Some(BodyType::EightBitMime);
        for (text, expected) in [
            ("", of(None, None)),
            ("  ", of(None, None)),
            (" SIZE=0", of(Some(0), None)),
            ("  size=12  body=8bitmime ", of(Some(12), eight)),
            (" BODY=7BIT", of(None, Some(BodyType::SevenBit))),
            (" SIZE=99999999999999999999999", of(Some(u64::MAX), None)),
            (" SIZE=-1", Err(BadParameter)),
            (" SIZE=1e3", Err(BadParameter)),
            (" SIZE=+5", Err(BadParameter)),
            (" SIZE=", Err(BadParameter)),
            (" SIZE", Err(BadParameter)),
            (" SIZE=5 SIZE=6", Err(BadParameter)),
            (" SIZE=5=6", Err(BadParameter)),
            (" =5", Err(BadParameter)),
            (" -A=5", Err(BadParameter)),
            (" SIZE=5\t", Err(BadParameter)),
            (" BODY", Err(BadParameter)),
            (" BODY=9BIT", Err(BadParameter)),
            (" BODY=BinaryMIME", of(None, Some(BodyType::BinaryMime))),
            (" SMTPUTF8", flags(true, false)),
            (" requiretls smtputf8", flags(true, true)),
            (" SMTPUTF8=1", Err(BadParameter)),
            (" SMTPUTF8 SMTPUTF8", Err(BadParameter)),
            (" REQUIRETLS=", Err(BadParameter)),
            (" REQUIRETLS REQUIRETLS", Err(BadParameter)),
            (" MT-PRIORITY=3", Err(UnsupportedParameter)),
            (" AUTH=<>", Err(UnsupportedParameter)),
            (" RET=HDRS", Err(UnsupportedParameter)),
            (" ENVID=a+00b", Err(UnsupportedParameter)),
            (" FOO=ü", Err(BadParameter)),
            ("SIZE=5", Err(BadParameter)),
        ] {
            assert_eq!(parameters(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_offered_is_not_known() {
        let nothing = Extensions::NONE;
        for (line, offered, why) in [
            ("MAIL FROM:<a@b> SIZE=5", nothing, UnsupportedParameter),
            ("MAIL FROM:<a@b> SIZE=x", nothing, UnsupportedParameter),
            ("MAIL FROM:<a@b> BODY=7BIT", nothing, UnsupportedParameter),
            ("MAIL FROM:<a@b> SMTPUTF8", nothing, UnsupportedParameter),
            ("MAIL FROM:<a@b> REQUIRETLS", nothing, UnsupportedParameter),
            ("MAIL FROM:<ü@b> SMTPUTF8", nothing, UnsupportedParameter),
            ("VRFY u SMTPUTF8", nothing, UnsupportedParameter),
            ("EXPN u smtputf8 ", nothing, UnsupportedParameter),
        ] {
            assert_eq!(
                parse_offered(line.as_bytes(), offered).1.err(),
                Some(why),
                "{line}"
            );
        }
        for line in ["VRFY u SMTPUTF8", "VRFY SMTPUTF8", "EXPN u SMTPUTF8"] {
            assert_eq!(refused(line), None, "{line}");
        }
        assert!(parse_offered(b"VRFY SMTPUTF8", nothing).1.is_ok());
    }

    #[test]
    fn a_path_must_be_utf_8() {
        let why = |line: &[u8]| parse(line).1.err();
        let (sender, recipient) = (
            why(b"MAIL FROM:<\xff@b> SMTPUTF8"),
            why(b"RCPT TO:<\xc3@b>"),
        );
        assert_eq!(sender, Some(BadSender(AddressError::BadLocalPart)));
        assert_eq!(recipient, Some(BadRecipient(AddressError::BadLocalPart)));
    }

    #[test]
    fn one_space_behind_the_colon_is_let_in() {
        assert_eq!(refused("MAIL FROM: <a@b>"), None);
        assert_eq!(refused("rcpt to: <a@b>"), None);
        assert_eq!(refused("RCPT TO:<Postmaster>"), None);
    }
}
