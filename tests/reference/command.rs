//! Commands, read from the rules of RFC 5321 section 4.1.1 and of the extensions.

use crate::canonical::ADDRESS_BYTES_MAX;
use crate::grammar::Reader;
use crate::leniency::Leniency;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Bdat {
        bytes: u64,
        is_last: bool,
    },
    Data,
    Ehlo(String),
    Expn,
    Helo(String),
    Help,
    /// The null path is `None`.
    Mail {
        from: Option<String>,
        size: Option<u64>,
        body: Option<&'static str>,
        smtputf8: bool,
        require_tls: bool,
    },
    Noop,
    Quit,
    /// `<Postmaster>` is `None`; others in canonical form.
    Rcpt(Option<String>),
    Rset,
    StartTls,
    Vrfy,
}

/// Reads a whole line; `None` if it is no command, or one that is malformed or asks for what is not offered.
pub(crate) fn request(line: &[u8], allowed: &[Leniency]) -> Option<Request> {
    let rules: &[fn(&mut Reader<'_>) -> Option<Request>] = &[
        bdat, data, ehlo, expn, helo, help, mail, noop, quit, rcpt, rset, starttls, vrfy,
    ];
    rules.iter().find_map(|rule| {
        let mut reader = Reader::new(line, allowed);
        let request = rule(&mut reader)?;
        spaces_at_end(&mut reader);
        reader.is_at_end().then_some(request)
    })
}

/// Reads `local@domain`, without brackets; its canonical form.
pub(crate) fn mailbox(text: &[u8], allowed: &[Leniency]) -> Option<String> {
    let mut reader = Reader::new(text, allowed);
    let mailbox = reader.mailbox()?;
    let is_whole = reader.is_at_end() && text.len() <= ADDRESS_BYTES_MAX;
    is_whole.then(|| mailbox.canonical()).flatten()
}

fn spaces_at_end(it: &mut Reader<'_>) {
    if it.allows(Leniency::SpacesAtEnd) {
        while it.literal(" ").is_some() {}
    }
}

/// `SP`
fn sp(it: &mut Reader<'_>) -> Option<()> {
    it.literal(" ")?;
    if it.allows(Leniency::MoreThanOneSpace) {
        while it.literal(" ").is_some() {}
    }
    Some(())
}

/// `bdat-cmd ::= "BDAT" SP chunk-size [ SP end-marker ] CR LF`, `chunk-size ::= 1*DIGIT`, `end-marker ::= "LAST"`
/// (RFC 3030 section 2)
fn bdat(it: &mut Reader<'_>) -> Option<Request> {
    it.literal("BDAT ")?;
    let start = it.at;
    while it.one(|byte| byte.is_ascii_digit()).is_some() {}
    // What a program could take for a negative number is none.
    let bytes = it.since(start).parse::<i64>().ok()?.unsigned_abs();
    let is_last = it.attempt(|it| it.literal(" LAST")).is_some();
    Some(Request::Bdat { bytes, is_last })
}

/// `data = "DATA" CRLF`
fn data(it: &mut Reader<'_>) -> Option<Request> {
    it.literal("DATA")?;
    Some(Request::Data)
}

/// `ehlo = "EHLO" SP ( Domain / address-literal ) CRLF`
fn ehlo(it: &mut Reader<'_>) -> Option<Request> {
    verb(it, "EHLO")?;
    hello(it, true).map(Request::Ehlo)
}

/// `helo = "HELO" SP Domain CRLF`
fn helo(it: &mut Reader<'_>) -> Option<Request> {
    verb(it, "HELO")?;
    hello(it, false).map(Request::Helo)
}

/// `SP ( Domain / address-literal )`
fn hello(it: &mut Reader<'_>, literal: bool) -> Option<String> {
    sp(it)?;
    let start = it.at;
    if it.allows(Leniency::AnyNameInHello) {
        while it.one(|byte| byte.is_ascii_graphic()).is_some() {}
        return (it.at > start).then(|| it.since(start));
    }
    if it.attempt(Reader::domain).is_none() {
        literal.then_some(())?;
        it.address_literal()?;
    }
    Some(it.since(start))
}

/// `expn = "EXPN" SP String CRLF`
fn expn(it: &mut Reader<'_>) -> Option<Request> {
    verb(it, "EXPN")?;
    sp(it)?;
    string(it)?;
    Some(Request::Expn)
}

/// `help = "HELP" [ SP String ] CRLF`
fn help(it: &mut Reader<'_>) -> Option<Request> {
    it.literal("HELP")?;
    optional_string(it);
    Some(Request::Help)
}

/// `noop = "NOOP" [ SP String ] CRLF`
fn noop(it: &mut Reader<'_>) -> Option<Request> {
    it.literal("NOOP")?;
    optional_string(it);
    Some(Request::Noop)
}

/// `vrfy = "VRFY" SP String CRLF`
fn vrfy(it: &mut Reader<'_>) -> Option<Request> {
    verb(it, "VRFY")?;
    sp(it)?;
    string(it)?;
    Some(Request::Vrfy)
}

/// `quit = "QUIT" CRLF`
fn quit(it: &mut Reader<'_>) -> Option<Request> {
    it.literal("QUIT")?;
    Some(Request::Quit)
}

/// `rset = "RSET" CRLF`
fn rset(it: &mut Reader<'_>) -> Option<Request> {
    it.literal("RSET")?;
    Some(Request::Rset)
}

/// `STARTTLS`, with no parameters (RFC 3207 section 4)
fn starttls(it: &mut Reader<'_>) -> Option<Request> {
    it.literal("STARTTLS")?;
    Some(Request::StartTls)
}

/// The word that a line begins with, and the space behind it.
fn verb(it: &mut Reader<'_>, word: &str) -> Option<()> {
    it.literal(word)?;
    (it.peek() == Some(b' ')).then_some(())
}

/// `String = Atom / Quoted-string`
fn string(it: &mut Reader<'_>) -> Option<()> {
    if it.allows(Leniency::AnyString) {
        let rest = &it.input[it.at..];
        it.at = it.input.len();
        return (!rest.is_empty()).then_some(());
    }
    it.string()
}

/// `[ SP String ]`
fn optional_string(it: &mut Reader<'_>) {
    if it.allows(Leniency::AnyString) && it.peek() == Some(b' ') {
        it.at = it.input.len();
    }
    it.attempt(|it| {
        it.literal(" ")?;
        string(it)
    });
}

/// `mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF`
fn mail(it: &mut Reader<'_>) -> Option<Request> {
    verb(it, "MAIL")?;
    sp(it)?;
    it.literal("FROM:")?;
    space_behind_colon(it);
    let from = reverse_path(it)?;
    let (mut size, mut body, mut smtputf8, mut require_tls) = (None, None, false, false);
    for (keyword, value) in parameters(it)? {
        // The same keyword twice would not say which counts.
        match keyword.as_str() {
            "SIZE" if size.is_none() => size = Some(size_value(&value?, it.allowed)?),
            "BODY" if body.is_none() => body = Some(body_value(&value?)?),
            // RFC 6531 section 3.4 and RFC 8689 section 2: without a value.
            "SMTPUTF8" if !smtputf8 && value.is_none() => smtputf8 = true,
            "REQUIRETLS" if !require_tls && value.is_none() => require_tls = true,
            _ => return None,
        }
    }
    Some(Request::Mail {
        from,
        size,
        body,
        smtputf8,
        require_tls,
    })
}

/// `Reverse-path = Path / "<>"`
fn reverse_path(it: &mut Reader<'_>) -> Option<Option<String>> {
    if it.literal("<>").is_some() {
        return Some(None);
    }
    it.path()?.sender().map(Some)
}

/// `rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF`
fn rcpt(it: &mut Reader<'_>) -> Option<Request> {
    verb(it, "RCPT")?;
    sp(it)?;
    it.literal("TO:")?;
    space_behind_colon(it);
    let to = match it.literal("<Postmaster>") {
        Some(()) => None,
        None => Some(it.path()?.canonical()?),
    };
    // No extension with parameters of this command is offered.
    parameters(it)?.is_empty().then_some(Request::Rcpt(to))
}

fn space_behind_colon(it: &mut Reader<'_>) {
    if it.allows(Leniency::SpaceBehindColon) {
        it.literal(" ");
    }
}

/// `Mail-parameters = esmtp-param *(SP esmtp-param)`; the keywords in upper case.
fn parameters(it: &mut Reader<'_>) -> Option<Vec<(String, Option<String>)>> {
    let mut all = Vec::new();
    while let Some(parameter) = it.attempt(|it| {
        sp(it)?;
        let parameter = esmtp_param(it)?;
        matches!(it.peek(), None | Some(b' ')).then_some(parameter)
    }) {
        all.push(parameter);
    }
    Some(all)
}

/// `esmtp-param = esmtp-keyword ["=" esmtp-value]`
fn esmtp_param(it: &mut Reader<'_>) -> Option<(String, Option<String>)> {
    let keyword = esmtp_keyword(it)?;
    let value = it.attempt(|it| {
        it.literal("=")?;
        esmtp_value(it)
    });
    Some((keyword, value))
}

/// `esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")`
fn esmtp_keyword(it: &mut Reader<'_>) -> Option<String> {
    let start = it.at;
    it.one(|byte| byte.is_ascii_alphanumeric())?;
    while it
        .one(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        .is_some()
    {}
    Some(it.since(start).to_ascii_uppercase())
}

/// `esmtp-value = 1*(%d33-60 / %d62-126)`
fn esmtp_value(it: &mut Reader<'_>) -> Option<String> {
    let start = it.at;
    let is_one = |byte: u8| matches!(byte, 33..=60 | 62..=126);
    it.one(is_one)?;
    while it.one(is_one).is_some() {}
    Some(it.since(start))
}

/// `size-value ::= 1*20DIGIT` (RFC 1870 section 4)
fn size_value(value: &str, allowed: &[Leniency]) -> Option<u64> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let few = value.len() <= 20 || allowed.contains(&Leniency::MoreDigitsInSize);
    if !(digits && few) {
        return None;
    }
    let zeros_gone = value.trim_start_matches('0');
    // What does not fit is larger than anything.
    Some(match zeros_gone {
        "" => 0,
        digits => digits.parse().unwrap_or(u64::MAX),
    })
}

/// `body-value = "7BIT" / "8BITMIME" / "BINARYMIME"` (RFC 6152 section 3, RFC 3030 section 3)
fn body_value(value: &str) -> Option<&'static str> {
    ["7BIT", "8BITMIME", "BINARYMIME"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(value))
}
