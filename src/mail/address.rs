//! Addresses as RFC 5321 section 4.1.2 writes them.
//!
//! Each grammar rule is a parser of its own, with the rule as its text. The parsers work on a
//! complete line, so there is no "incomplete": what does not match is wrong. UTF-8 is let in where
//! RFC 6531 section 3.3 lets it in; whether the client may use it is for the session to say, which
//! is why a path remembers how it was spelled ([`ReversePath::is_ascii`], [`Recipient::is_ascii`]).

#![forbid(unsafe_code)]

use canonical::ascii;
use nom::branch::alt;
use nom::bytes::complete::{is_a, tag, tag_no_case, take_while, take_while1};
use nom::character::complete::{char, digit1, satisfy};
use nom::combinator::{all_consuming, opt, peek, recognize, verify};
use nom::error::{ErrorKind, ParseError};
use nom::multi::{many0_count, separated_list1};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

mod beyond_ascii;
mod canonical;

/// The longest local part in octets, its quotes not counted (RFC 5321 section 4.5.3.1.1).
pub const LOCAL_PART_BYTES_MAX: usize = 64;

/// The longest domain in octets (RFC 5321 section 4.5.3.1.2), as spelled and in A-labels.
pub const DOMAIN_BYTES_MAX: usize = 255;

/// The longest path in octets, brackets and source route included (RFC 5321 section 4.5.3.1.3).
pub const PATH_BYTES_MAX: usize = 256;

/// The longest label of a domain in octets (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// A mailbox address in its canonical form: equal addresses are equal mailboxes, for SMTP, for the
/// API and for whoever hashes them. Clones share the text.
///
/// - The local part without quotes if it needs none, else with only `"` and `\` escaped; full-width and half-width
///   characters as what they are forms of; lower case; Unicode's normalization form C. After that it must still be a
///   local part: no character beyond ASCII becomes one that needs quotes.
/// - The domain in A-labels (RFC 5890) and lower case, without a dot at the end. A label that begins with `xn--` and is
///   no A-label is compared as it is, as the DNS does.
/// - An address literal in the one spelling of the address that it names.
#[derive(Clone)]
pub struct Address {
    text: Arc<str>,
    local_len: u8,
    /// Not part of what it is: two spellings of one address are equal.
    spelled_in_ascii: bool,
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Where a message says it came from (RFC 5321 section 4.1.2, `Reverse-path`).
#[derive(Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a bounce or another message that must not be answered.
    Null,
    /// An address, spelled as the client did (its source route, if any, left out).
    Address(Arc<str>),
}

/// Whom `RCPT TO` names.
#[derive(Clone, PartialEq, Eq)]
pub enum Recipient {
    /// `<Postmaster>` without a domain (RFC 5321 section 4.5.1).
    Postmaster,
    /// An address.
    Address(Address),
}

/// What is wrong with an address or a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// The part behind the `@` is neither a domain nor an address literal.
    BadDomain,
    /// The part before the `@` is neither a dot-string nor a quoted string.
    BadLocalPart,
    /// The angle brackets or the source route are wrong.
    BadPath,
    /// The domain is longer than [`DOMAIN_BYTES_MAX`].
    DomainTooLong,
    /// The local part is longer than [`LOCAL_PART_BYTES_MAX`].
    LocalPartTooLong,
    /// There is no `@`, or nothing behind it.
    NoDomain,
    /// The whole is longer than [`PATH_BYTES_MAX`] allows.
    PathTooLong,
    /// Something follows where the address should end.
    TrailingText,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadDomain => "the domain is malformed",
            Self::BadLocalPart => "the local part is malformed",
            Self::BadPath => "the path is malformed",
            Self::DomainTooLong => "the domain is longer than 255 octets",
            Self::LocalPartTooLong => "the local part is longer than 64 octets",
            Self::NoDomain => "the domain is missing",
            Self::PathTooLong => "it is longer than 254 octets",
            Self::TrailingText => "something follows the address",
        })
    }
}

impl std::error::Error for AddressError {}

/// A rule that fails without saying why is a matter of the path around it; rules that know better
/// say so with `or_say`.
impl ParseError<&[u8]> for AddressError {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self::BadPath
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl Address {
    /// Reads `local@domain`, without angle brackets.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, AddressError> {
        let text = text.as_ref();
        let (rest, parts) = mailbox(text).map_err(offence)?;
        if !rest.is_empty() {
            return Err(AddressError::TrailingText);
        }
        if text.len() > PATH_BYTES_MAX - "<>".len() {
            return Err(AddressError::PathTooLong);
        }
        Self::canonical(&parts)
    }

    /// Everything before the last `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..usize::from(self.local_len)]
    }

    /// Everything after the last `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.local_len) + 1..]
    }

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole address as people write it: its domain in U-labels.
    #[must_use]
    pub fn to_unicode(&self) -> Cow<'_, str> {
        match beyond_ascii::domain_to_unicode(self.domain()) {
            Cow::Borrowed(_) => Cow::Borrowed(&self.text),
            Cow::Owned(domain) => Cow::Owned(format!("{}@{domain}", self.local())),
        }
    }

    /// The one spelling that stands for all spellings of the same address.
    fn canonical(parts: &Mailbox<'_>) -> Result<Self, AddressError> {
        let (mut text, local_len): (Arc<str>, usize) = match (parts.local, parts.host) {
            // As almost all are: what was spelled, less a dot at the end.
            (LocalPart::Dotted(local), Host::Domain(domain)) if parts.spelled.is_ascii() => {
                parts.local.check()?;
                let len = local.len() + "@".len() + domain.len();
                (ascii(&parts.spelled[..len]).into(), local.len())
            }
            (local, host) => {
                let mut text = String::with_capacity(parts.spelled.len());
                local.write_canonical(&mut text)?;
                let local_len = text.len();
                text.push('@');
                host.write_canonical(&mut text)?;
                if text.len() > PATH_BYTES_MAX - "<>".len() {
                    return Err(AddressError::PathTooLong);
                }
                (text.into(), local_len)
            }
        };
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Arc::make_mut(&mut text).make_ascii_lowercase();
        }
        let local_len = u8::try_from(local_len)
            .unwrap_or_else(|_| unreachable!("a local part has 66 octets at most"));
        Ok(Self {
            text,
            local_len,
            spelled_in_ascii: parts.spelled.is_ascii(),
        })
    }
}

impl ReversePath {
    /// Whether the client spelled it without what needs SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Address(address) => address.is_ascii(),
        }
    }
}

impl Recipient {
    /// Whether the client spelled it without what needs SMTPUTF8 (RFC 6531). The canonical form may be in ASCII when the
    /// spelling was not.
    #[must_use]
    pub const fn is_ascii(&self) -> bool {
        match self {
            Self::Postmaster => true,
            Self::Address(address) => address.spelled_in_ascii,
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(..)")
    }
}

impl fmt::Debug for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReversePath(..)")
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient(..)")
    }
}

impl Address {
    /// The address of these parts, which must be in canonical form already; for names that this program
    /// makes itself, never for what a stranger sent.
    ///
    /// # Panics
    /// When the local part is longer than 255 bytes.
    #[must_use]
    pub fn from_parts(local: &str, domain: &str) -> Self {
        let local_len = u8::try_from(local.len()).expect("a local part has 255 bytes at most");
        Self {
            text: format!("{local}@{domain}").into(),
            local_len,
            spelled_in_ascii: local.is_ascii(),
        }
    }
}

/// The canonical form of a domain (see [`Address`]).
///
/// # Errors
/// Names what is wrong with it.
pub fn canonical_domain(text: &str) -> Result<String, AddressError> {
    let (_, labels) = all_consuming(domain)
        .parse(text.as_bytes())
        .map_err(|why| match why {
            nom::Err::Failure(named) => named,
            nom::Err::Error(_) | nom::Err::Incomplete(_) => AddressError::BadDomain,
        })?;
    let mut canonical = String::with_capacity(labels.len());
    Host::Domain(labels).write_canonical(&mut canonical)?;
    canonical.make_ascii_lowercase();
    Ok(canonical)
}

/// The canonical form of a local part (see [`Address`]).
///
/// # Errors
/// Names what is wrong with it.
pub fn canonical_local_part(text: &str) -> Result<String, AddressError> {
    Address::parse(format!("{text}@local")).map(|address| address.local().to_owned())
}

/// `Reverse-path = Path / "<>"` (RFC 5321 section 4.1.2). Reads to the closing bracket.
///
/// # Errors
/// Names what is wrong with it.
pub fn reverse_path(input: &[u8]) -> IResult<&[u8], ReversePath, AddressError> {
    if let Some(rest) = input.strip_prefix(b"<>") {
        return Ok((rest, ReversePath::Null));
    }
    let (rest, parts) = path(input)?;
    let spelled = parts.check_sender().map_err(nom::Err::Failure)?;
    Ok((rest, ReversePath::Address(spelled.into())))
}

/// `Forward-path = Path`, or `"<Postmaster>"` in any case (RFC 5321 sections 4.1.1.3 and 4.1.2).
/// Reads to the closing bracket.
///
/// # Errors
/// Names what is wrong with it.
pub fn forward_path(input: &[u8]) -> IResult<&[u8], Recipient, AddressError> {
    let postmaster: IResult<_, _, AddressError> = tag_no_case("<Postmaster>").parse(input);
    if let Ok((rest, _)) = postmaster {
        return Ok((rest, Recipient::Postmaster));
    }
    let (rest, parts) = path(input)?;
    let address = Address::canonical(&parts).map_err(nom::Err::Failure)?;
    Ok((rest, Recipient::Address(address)))
}

/// Whether `text` is a `Domain` or an `address-literal`, as EHLO and trace headers want one: in ASCII (RFC 6531 section
/// 3.7.1 asks for A-labels there).
#[must_use]
pub fn is_host(text: &[u8]) -> bool {
    text.is_ascii() && all_consuming(host).parse(text).is_ok()
}

/// `Path = "<" [ A-d-l ":" ] Mailbox ">"` (RFC 5321 section 4.1.2); the source route is read and
/// dropped, as section 4.1.1.3 and appendix C ask.
fn path(input: &[u8]) -> IResult<&[u8], Mailbox<'_>, AddressError> {
    let (rest, parts) = delimited(
        char('<'),
        preceded(opt(source_route), mailbox),
        or_say(
            |rest| {
                if rest.is_empty() {
                    AddressError::BadPath
                } else {
                    AddressError::TrailingText
                }
            },
            char('>'),
        ),
    )
    .parse(input)
    .map_err(|why| nom::Err::Failure(offence(why)))?;
    if input.len() - rest.len() > PATH_BYTES_MAX {
        return Err(nom::Err::Failure(AddressError::PathTooLong));
    }
    Ok((rest, parts))
}

/// `A-d-l = At-domain *( "," At-domain )`, `At-domain = "@" Domain`, and the colon behind them. In ASCII only: routes were
/// obsolete before addresses could be anything else, and what is dropped could not tell how it was spelled.
fn source_route(input: &[u8]) -> IResult<&[u8], (), AddressError> {
    let (rest, _) = peek(char('@')).parse(input)?;
    or_say(
        |_| AddressError::BadPath,
        terminated(
            separated_list1(
                char(','),
                preceded(char('@'), verify(domain, |labels: &[u8]| labels.is_ascii())),
            ),
            char(':'),
        ),
    )
    .parse(rest)
    .map(|(rest, _)| (rest, ()))
}

/// The parts of a `Mailbox`, as spelled.
#[derive(Debug)]
struct Mailbox<'a> {
    spelled: &'a [u8],
    local: LocalPart<'a>,
    host: Host<'a>,
}

/// `Local-part = Dot-string / Quoted-string`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LocalPart<'a> {
    Dotted(&'a [u8]),
    /// What stands between the quotes, with its backslashes.
    Quoted(&'a [u8]),
}

/// `Domain / address-literal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host<'a> {
    /// Without a trailing dot.
    Domain(&'a [u8]),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    /// What stands between the brackets: a tag, a colon, anything.
    General(&'a [u8]),
}

/// `Mailbox = Local-part "@" ( Domain / address-literal )` (RFC 5321 section 4.1.2).
fn mailbox(input: &[u8]) -> IResult<&[u8], Mailbox<'_>, AddressError> {
    let (rest, local) =
        or_say(|_| AddressError::BadLocalPart, alt((dotted, quoted))).parse(input)?;
    let (rest, _) = or_say(
        |rest| match rest.first() {
            None | Some(b'>') => AddressError::NoDomain,
            Some(_) => AddressError::BadLocalPart,
        },
        char('@'),
    )
    .parse(rest)?;
    if matches!(rest.first(), None | Some(b'>')) {
        return Err(nom::Err::Failure(AddressError::NoDomain));
    }
    let (rest, host) = or_say(|_| AddressError::BadDomain, host).parse(rest)?;
    let spelled = &input[..input.len() - rest.len()];
    Ok((
        rest,
        Mailbox {
            spelled,
            local,
            host,
        },
    ))
}

/// `Dot-string = Atom *("." Atom)`, `Atom = 1*atext` (RFC 5321 section 4.1.2, RFC 5322 section 3.2.3),
/// `atext =/ UTF8-non-ascii` (RFC 6531 section 3.3).
fn dotted(input: &[u8]) -> IResult<&[u8], LocalPart<'_>, AddressError> {
    let (rest, atoms) = take_while1(|byte| is_atext(byte) || byte == b'.').parse(input)?;
    let dots_stand_between = atoms.first() != Some(&b'.')
        && atoms.last() != Some(&b'.')
        && !atoms.windows(2).any(|pair| pair == b"..");
    if !dots_stand_between {
        return Err(nom::Err::Error(AddressError::BadLocalPart));
    }
    Ok((rest, LocalPart::Dotted(atoms)))
}

/// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`, `QcontentSMTP = qtextSMTP / quoted-pairSMTP`
/// (RFC 5321 section 4.1.2), `qtextSMTP =/ UTF8-non-ascii` (RFC 6531 section 3.3).
fn quoted(input: &[u8]) -> IResult<&[u8], LocalPart<'_>, AddressError> {
    delimited(
        char('"'),
        recognize(many0_count(alt((
            take_while1(is_qtext),
            recognize((char('\\'), satisfy(|pair| matches!(pair, ' '..='~')))),
        )))),
        char('"'),
    )
    .map(LocalPart::Quoted)
    .parse(input)
}

/// `Domain / address-literal`.
fn host(input: &[u8]) -> IResult<&[u8], Host<'_>, AddressError> {
    alt((address_literal, domain.map(Host::Domain))).parse(input)
}

/// `Domain = sub-domain *("." sub-domain)` (RFC 5321 section 4.1.2). A dot at the end, which
/// some clients take over from the DNS, is tolerated and not part of what is returned.
fn domain(input: &[u8]) -> IResult<&[u8], &[u8], AddressError> {
    let (rest, labels) = recognize(separated_list1(char('.'), sub_domain)).parse(input)?;
    if labels.len() > DOMAIN_BYTES_MAX {
        return Err(nom::Err::Failure(AddressError::DomainTooLong));
    }
    Ok((rest.strip_prefix(b".").unwrap_or(rest), labels))
}

/// `sub-domain = Let-dig [Ldh-str]` (RFC 5321 section 4.1.2), 63 octets at most; `sub-domain =/ U-label`
/// (RFC 6531 section 3.3), which is held to as much as an A-label.
fn sub_domain(input: &[u8]) -> IResult<&[u8], &[u8], AddressError> {
    verify(
        take_while1(|byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || !byte.is_ascii()),
        |label: &[u8]| {
            (label.len() <= LABEL_BYTES_MAX || !label.is_ascii())
                && !label.starts_with(b"-")
                && !label.ends_with(b"-")
        },
    )
    .parse(input)
}

/// `address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"`
/// (RFC 5321 section 4.1.3).
fn address_literal(input: &[u8]) -> IResult<&[u8], Host<'_>, AddressError> {
    delimited(char('['), alt((ipv4, ipv6, general)), char(']')).parse(input)
}

/// `IPv4-address-literal = Snum 3("." Snum)` (RFC 5321 section 4.1.3).
fn ipv4(input: &[u8]) -> IResult<&[u8], Host<'_>, AddressError> {
    let (rest, (a, _, b, _, c, _, d)) = (
        snum,
        char('.'),
        snum,
        char('.'),
        snum,
        char('.'),
        terminated(snum, peek(char(']'))),
    )
        .parse(input)?;
    Ok((rest, Host::Ipv4(Ipv4Addr::new(a, b, c, d))))
}

/// `Snum = 1*3DIGIT`, 0 to 255 (RFC 5321 section 4.1.3).
fn snum(input: &[u8]) -> IResult<&[u8], u8, AddressError> {
    let (rest, digits) = verify(digit1, |digits: &[u8]| digits.len() <= 3).parse(input)?;
    ascii(digits)
        .parse()
        .map(|number| (rest, number))
        .map_err(|_| nom::Err::Error(AddressError::BadDomain))
}

/// `IPv6-address-literal = "IPv6:" IPv6-addr` (RFC 5321 section 4.1.3). What begins so must be one:
/// it is not taken for a general literal.
fn ipv6(input: &[u8]) -> IResult<&[u8], Host<'_>, AddressError> {
    let (rest, _) = tag_no_case("IPv6:").parse(input)?;
    let (rest, text) = or_say(
        |_| AddressError::BadDomain,
        is_a("0123456789abcdefABCDEF:.".as_bytes()),
    )
    .parse(rest)?;
    ascii(text)
        .parse()
        .map(|address| (rest, Host::Ipv6(address)))
        .map_err(|_| nom::Err::Failure(AddressError::BadDomain))
}

/// `General-address-literal = Standardized-tag ":" 1*dcontent`, `Standardized-tag = Ldh-str`,
/// `dcontent = %d33-90 / %d94-126` (RFC 5321 section 4.1.3).
fn general(input: &[u8]) -> IResult<&[u8], Host<'_>, AddressError> {
    recognize((
        verify(
            take_while(|byte: u8| byte.is_ascii_alphanumeric() || byte == b'-'),
            |ldh: &[u8]| ldh.last().is_some_and(u8::is_ascii_alphanumeric),
        ),
        tag(":"),
        take_while1(|byte| matches!(byte, 33..=90 | 94..=126)),
    ))
    .map(Host::General)
    .parse(input)
}

/// `atext` (RFC 5322 section 3.2.3), or a byte of a character beyond ASCII.
pub(crate) const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || !byte.is_ascii()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

/// `qtextSMTP = %d32-33 / %d35-91 / %d93-126` (RFC 5321 section 4.1.2), or a byte of a character beyond ASCII.
const fn is_qtext(byte: u8) -> bool {
    matches!(byte, 32..=33 | 35..=91 | 93..=126 | 128..)
}

/// Runs `rule`; when it fails without a name for the offence, `name` gives one.
fn or_say<'a, T>(
    name: impl Fn(&[u8]) -> AddressError,
    mut rule: impl Parser<&'a [u8], Output = T, Error = AddressError>,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], T, AddressError> {
    move |input| {
        rule.parse(input).map_err(|why| match why {
            nom::Err::Failure(named) => nom::Err::Failure(named),
            nom::Err::Error(_) | nom::Err::Incomplete(_) => nom::Err::Failure(name(input)),
        })
    }
}

/// The name of what stopped a rule.
pub(crate) fn offence(why: nom::Err<AddressError>) -> AddressError {
    match why {
        nom::Err::Error(named) | nom::Err::Failure(named) => named,
        nom::Err::Incomplete(_) => AddressError::BadPath,
    }
}

#[cfg(test)]
mod tests;
