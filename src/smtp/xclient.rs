//! XCLIENT: a trusted client says for whom it speaks (Postfix's XCLIENT_README).
//!
//! Values are `xtext` (RFC 3461 section 4). Of what can be said, the address and the name behind HELO
//! are used; the rest is checked for its form and forgotten.

#![forbid(unsafe_code)]

use super::command::{CommandError, HELLO_BYTES_MAX, space};
use super::{Impersonation, Protocol};
use nom::branch::alt;
use nom::bytes::complete::{take_while_m_n, take_while1};
use nom::character::complete::{char, satisfy};
use nom::combinator::{all_consuming, map};
use nom::multi::fold_many1;
use nom::sequence::{preceded, separated_pair};
use nom::{IResult, Parser};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What can be said of a client.
const NAMES: [&str; 8] = [
    "NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT",
];

/// What an XCLIENT command says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Whom the client speaks for.
    pub client: Impersonation,
    /// What that one called itself.
    pub helo: Option<Arc<str>>,
    /// Whether that one said HELO ([`Protocol::Smtp`]) or EHLO ([`Protocol::Esmtp`]).
    pub protocol: Option<Protocol>,
}

/// `xclient = "XCLIENT" 1*( SP attribute-name "=" attribute-value ) CRLF`, spaces at the end tolerated.
pub(super) fn attributes(mut rest: &[u8]) -> Result<Attributes, CommandError> {
    let mut said = Attributes {
        client: Impersonation { address: None },
        helo: None,
        protocol: None,
    };
    let mut seen = [false; NAMES.len()];
    while !rest.iter().all(|byte| *byte == b' ') {
        let (behind, (name, value)) = preceded(space, attribute)
            .parse(rest)
            .map_err(|_| CommandError::BadParameter)?;
        let place = NAMES
            .iter()
            .position(|known| known.as_bytes().eq_ignore_ascii_case(name));
        let place = place.ok_or(CommandError::BadParameter)?;
        if std::mem::replace(&mut seen[place], true) {
            return Err(CommandError::BadParameter);
        }
        said.take(NAMES[place], &value)
            .ok_or(CommandError::BadParameter)?;
        rest = behind;
    }
    match seen.contains(&true) {
        true => Ok(said),
        false => Err(CommandError::BadArguments),
    }
}

impl Attributes {
    /// Takes over a value, decoded; `None` when it is malformed.
    fn take(&mut self, name: &str, value: &[u8]) -> Option<()> {
        // No control character gets further, NUL least of all.
        let text = std::str::from_utf8(value).ok()?;
        if text.chars().any(char::is_control) {
            return None;
        }
        if ["[UNAVAILABLE]", "[TEMPUNAVAIL]"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
        {
            return Some(());
        }
        match name {
            "ADDR" => self.client.address = Some(address(text)?),
            "DESTADDR" => drop(address(text)?),
            "PORT" | "DESTPORT" => port(text)?,
            "PROTO" if text.eq_ignore_ascii_case("SMTP") => self.protocol = Some(Protocol::Smtp),
            "PROTO" if text.eq_ignore_ascii_case("ESMTP") => self.protocol = Some(Protocol::Esmtp),
            "PROTO" => return None,
            "HELO" => self.helo = Some(host(text)?.into()),
            "NAME" => drop(host(text)?),
            _ => {}
        }
        Some(())
    }
}

/// `attribute-name "=" attribute-value`
fn attribute(input: &[u8]) -> IResult<&[u8], (&[u8], Vec<u8>), CommandError> {
    separated_pair(
        take_while1(|byte: u8| byte.is_ascii_alphabetic()),
        char('='),
        xtext,
    )
    .parse(input)
}

/// `xtext = *( xchar / hexchar )`, `xchar = %d33-42 / %d44-60 / %d62-126`, `hexchar = "+" 2HEXDIG`
/// (RFC 3461 section 4), and not empty.
fn xtext(input: &[u8]) -> IResult<&[u8], Vec<u8>, CommandError> {
    let xchar = map(
        satisfy(|it| matches!(it, '!'..='*' | ','..='<' | '>'..='~')),
        |it| it as u8,
    );
    let hex = take_while_m_n(2, 2, |byte: u8| byte.is_ascii_hexdigit());
    let hexchar = map(preceded(char('+'), hex), |digits: &[u8]| {
        digits.iter().fold(0, |byte, digit| {
            byte << 4 | (*digit as char).to_digit(16).unwrap_or_default() as u8
        })
    });
    fold_many1(alt((xchar, hexchar)), Vec::new, |mut text, byte| {
        text.push(byte);
        text
    })
    .parse(input)
}

/// An IPv4 address, or an IPv6 address behind `IPV6:`.
fn address(text: &str) -> Option<IpAddr> {
    match text.split_at_checked("IPV6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPV6:") => {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// A port: digits, 1 to 65535.
fn port(text: &str) -> Option<()> {
    let digits: IResult<_, _, CommandError> =
        all_consuming(take_while_m_n(1, 5, |byte: u8| byte.is_ascii_digit()))
            .parse(text.as_bytes());
    digits.ok()?;
    text.parse::<u16>()
        .ok()
        .filter(|port| *port > 0)
        .map(|_| ())
}

/// A name as HELO takes it.
fn host(text: &str) -> Option<&str> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    (visible && !text.is_empty() && text.len() <= HELLO_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Attributes, CommandError> {
        attributes(text.as_bytes())
    }

    fn of(address: &str, helo: &str, protocol: Option<Protocol>) -> Attributes {
        Attributes {
            client: Impersonation {
                address: address.parse().ok(),
            },
            helo: (!helo.is_empty()).then(|| helo.into()),
            protocol,
        }
    }

    #[test]
    fn what_is_said_is_read() {
        let (smtp, esmtp) = (Some(Protocol::Smtp), Some(Protocol::Esmtp));
        for (text, expected) in [
            (" ADDR=192.0.2.1", of("192.0.2.1", "", None)),
            (" addr=ipv6:2001:DB8::1 ", of("2001:db8::1", "", None)),
            (" HELO=a.test  PROTO=esmtp", of("", "a.test", esmtp)),
            (" HELO=a+2Etest PROTO=SMTP", of("", "a.test", smtp)),
            (" ADDR=[UNAVAILABLE] HELO=[tempunavail]", of("", "", None)),
            (
                " NAME=h.test PORT=1 LOGIN=a+20b DESTADDR=IPV6:::1 DESTPORT=65535",
                of("", "", None),
            ),
        ] {
            assert_eq!(said(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        use CommandError::*;
        for (text, why) in [
            ("", BadArguments),
            ("  ", BadArguments),
            ("ADDR=192.0.2.1", BadParameter),
            (" ADDR", BadParameter),
            (" ADDR=", BadParameter),
            (" ADDR=192.0.2.1 ADDR=192.0.2.2", BadParameter),
            (" ADDR=192.0.2.01", BadParameter),
            (" ADDR=192.0.2.256", BadParameter),
            (" ADDR=::1", BadParameter),
            (" ADDR=IPV6:192.0.2.1", BadParameter),
            (" ADDR=a.test", BadParameter),
            (" ADDR=1.2.3.4x", BadParameter),
            (" DESTADDR=x", BadParameter),
            (" PORT=0", BadParameter),
            (" PORT=65536", BadParameter),
            (" PORT=+2B5", BadParameter),
            (" DESTPORT=1e3", BadParameter),
            (" PROTO=LMTP", BadParameter),
            (" HELO=a+00b", BadParameter),
            (" HELO=a+0D+0Ab", BadParameter),
            (" HELO=a+20b", BadParameter),
            (" HELO=a+C3+BC", BadParameter),
            (" HELO=a+F", BadParameter),
            (" HELO=a+GG", BadParameter),
            (" HELO=a=b", BadParameter),
            (" LOGIN=a+00b", BadParameter),
            (" LOGIN=a+FF", BadParameter),
            (" NAME=a+09b", BadParameter),
            (" SHOE=42", BadParameter),
        ] {
            assert_eq!(said(text), Err(why), "{text}");
        }
        let name = "a".repeat(HELLO_BYTES_MAX);
        assert!(said(&format!(" HELO={name}")).is_ok());
        assert_eq!(said(&format!(" HELO={name}a")), Err(BadParameter));
    }
}
