//! The grammar of RFC 5321, and of RFC 6531 section 3.3 beside it, in the plainest way: one function for each rule, with the rule as its text.
//!
//! A function that reads its rule moves on and returns what it read; one that cannot returns `None`, and
//! whoever tries something else instead goes back to where it was. Nothing here is fast.

use crate::leniency::Leniency;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A line and how far it has been read.
pub(crate) struct Reader<'a> {
    pub(crate) input: &'a [u8],
    pub(crate) at: usize,
    /// What is let in beyond the grammar.
    pub(crate) allowed: &'a [Leniency],
}

/// A `Mailbox`, as spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mailbox {
    pub(crate) spelled: String,
    pub(crate) local: LocalPart,
    pub(crate) host: Host,
}

/// What a local part means, and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalPart {
    pub(crate) means: String,
    pub(crate) is_quoted: bool,
}

/// What stands behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// Without a last dot.
    Domain(String),
    /// With its brackets, in its canonical form.
    Literal(String),
}

type Read<T> = Option<T>;

impl<'a> Reader<'a> {
    pub(crate) const fn new(input: &'a [u8], allowed: &'a [Leniency]) -> Self {
        Self {
            input,
            at: 0,
            allowed,
        }
    }

    pub(crate) fn allows(&self, leniency: Leniency) -> bool {
        self.allowed.contains(&leniency)
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.input.len()
    }

    /// One byte that `is_one` knows.
    pub(crate) fn one(&mut self, is_one: impl Fn(u8) -> bool) -> Read<u8> {
        let byte = self.peek().filter(|byte| is_one(*byte))?;
        self.at += 1;
        Some(byte)
    }

    /// This text, in any case, as ABNF has it (RFC 5234 section 2.3).
    pub(crate) fn literal(&mut self, text: &str) -> Read<()> {
        let there = self.input.get(self.at..self.at + text.len())?;
        there.eq_ignore_ascii_case(text.as_bytes()).then_some(())?;
        self.at += text.len();
        Some(())
    }

    /// Runs a rule; goes back if it cannot be read.
    pub(crate) fn attempt<T>(&mut self, rule: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let before = self.at;
        let read = rule(self);
        if read.is_none() {
            self.at = before;
        }
        read
    }

    /// What has been read since `start`.
    pub(crate) fn since(&self, start: usize) -> String {
        String::from_utf8_lossy(&self.input[start..self.at]).into_owned()
    }

    /// `Path = "<" [ A-d-l ":" ] Mailbox ">"`
    pub(crate) fn path(&mut self) -> Read<Mailbox> {
        let start = self.at;
        self.literal("<")?;
        self.attempt(|it| {
            it.a_d_l()?;
            it.literal(":")
        });
        let mailbox = self.mailbox()?;
        self.literal(">")?;
        // RFC 5321 section 4.5.3.1.3.
        (self.at - start <= 256).then_some(mailbox)
    }

    /// `A-d-l = At-domain *( "," At-domain )`
    fn a_d_l(&mut self) -> Read<()> {
        self.at_domain()?;
        while self
            .attempt(|it| {
                it.literal(",")?;
                it.at_domain()
            })
            .is_some()
        {}
        Some(())
    }

    /// `At-domain = "@" Domain`. Routes were obsolete before domains could be anything but ASCII.
    fn at_domain(&mut self) -> Read<()> {
        self.literal("@")?;
        self.domain().filter(|domain| domain.is_ascii()).map(|_| ())
    }

    /// `Mailbox = Local-part "@" ( Domain / address-literal )`
    pub(crate) fn mailbox(&mut self) -> Read<Mailbox> {
        let start = self.at;
        let local = self.local_part()?;
        self.literal("@")?;
        let host = match self.attempt(Self::domain) {
            Some(domain) => Host::Domain(domain),
            None => Host::Literal(self.address_literal()?),
        };
        // Characters were read a byte at a time.
        let spelled = String::from_utf8(self.input[start..self.at].to_vec()).ok()?;
        Some(Mailbox {
            spelled,
            local,
            host,
        })
    }

    /// `Local-part = Dot-string / Quoted-string`
    fn local_part(&mut self) -> Read<LocalPart> {
        if let Some(means) = self.attempt(Self::dot_string) {
            let is_quoted = false;
            return Some(LocalPart { means, is_quoted });
        }
        Some(LocalPart {
            means: self.quoted_string()?,
            is_quoted: true,
        })
    }

    /// `Dot-string = Atom *("." Atom)`
    pub(crate) fn dot_string(&mut self) -> Read<String> {
        let start = self.at;
        self.atom()?;
        while self
            .attempt(|it| {
                it.literal(".")?;
                it.atom()
            })
            .is_some()
        {}
        Some(self.since(start))
    }

    /// `Atom = 1*atext`
    fn atom(&mut self) -> Read<()> {
        self.one(is_atext)?;
        while self.one(is_atext).is_some() {}
        Some(())
    }

    /// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`. Returns what it means.
    fn quoted_string(&mut self) -> Read<String> {
        let mut content = Vec::new();
        self.literal("\"")?;
        while let Some(byte) = self.attempt(Self::qcontent_smtp) {
            content.push(byte);
        }
        self.literal("\"")?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    /// `QcontentSMTP = qtextSMTP / quoted-pairSMTP`
    fn qcontent_smtp(&mut self) -> Read<u8> {
        match self.attempt(Self::qtext_smtp) {
            Some(byte) => Some(byte),
            None => self.quoted_pair_smtp(),
        }
    }

    /// `qtextSMTP = %d32-33 / %d35-91 / %d93-126`, `qtextSMTP =/ UTF8-non-ascii`
    fn qtext_smtp(&mut self) -> Read<u8> {
        self.one(|byte| matches!(byte, 32..=33 | 35..=91 | 93..=126 | 128..))
    }

    /// `quoted-pairSMTP = %d92 %d32-126`
    fn quoted_pair_smtp(&mut self) -> Read<u8> {
        self.one(|byte| byte == 92)?;
        self.one(|byte| matches!(byte, 32..=126))
    }

    /// `String = Atom / Quoted-string`
    pub(crate) fn string(&mut self) -> Read<()> {
        match self.attempt(Self::atom) {
            Some(()) => Some(()),
            None => self.quoted_string().map(|_| ()),
        }
    }

    /// `Domain = sub-domain *("." sub-domain)`
    pub(crate) fn domain(&mut self) -> Read<String> {
        let start = self.at;
        self.sub_domain()?;
        while self
            .attempt(|it| {
                it.literal(".")?;
                it.sub_domain()
            })
            .is_some()
        {}
        let domain = self.since(start);
        // RFC 5321 section 4.5.3.1.2.
        (domain.len() <= 255).then_some(())?;
        if self.allows(Leniency::DotBehindDomain) {
            self.literal(".");
        }
        Some(domain)
    }

    /// `sub-domain = Let-dig [Ldh-str]`, and not longer than a label may be (RFC 1035 section 2.3.4);
    /// `sub-domain =/ U-label`, whose length is that of its A-label. What a U-label is, IDNA says.
    fn sub_domain(&mut self) -> Read<()> {
        let start = self.at;
        self.let_dig()?;
        self.attempt(Self::ldh_str);
        let label = &self.input[start..self.at];
        (label.len() <= 63 || !label.is_ascii()).then_some(())
    }

    /// `Let-dig = ALPHA / DIGIT`
    fn let_dig(&mut self) -> Read<u8> {
        self.one(is_let_dig)
    }

    /// `Ldh-str = *( ALPHA / DIGIT / "-" ) Let-dig`
    fn ldh_str(&mut self) -> Read<()> {
        let start = self.at;
        while self.one(|byte| is_let_dig(byte) || byte == b'-').is_some() {}
        // The last of them must be a Let-dig: what was read too far is given back.
        while self.at > start {
            if is_let_dig(self.input[self.at - 1]) {
                return Some(());
            }
            self.at -= 1;
        }
        None
    }

    /// `address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"`
    pub(crate) fn address_literal(&mut self) -> Read<String> {
        self.literal("[")?;
        let rest = &self.input[self.at..];
        let says_ipv6 = rest.len() >= 5 && rest[..5].eq_ignore_ascii_case(b"IPv6:");
        let inner = if says_ipv6 {
            // The general form would let in anything behind this tag: what names itself so must be one.
            self.ipv6_address_literal()?
        } else if let Some(address) = self.attempt(|it| {
            let address = it.ipv4_address_literal()?;
            (it.peek() == Some(b']')).then_some(address)
        }) {
            address.to_string()
        } else {
            self.general_address_literal()?
        };
        self.literal("]")?;
        Some(format!("[{inner}]"))
    }

    /// `IPv4-address-literal = Snum 3("." Snum)`
    fn ipv4_address_literal(&mut self) -> Read<Ipv4Addr> {
        let mut octets = [self.snum()?, 0, 0, 0];
        for octet in &mut octets[1..] {
            self.literal(".")?;
            *octet = self.snum()?;
        }
        Some(Ipv4Addr::from(octets))
    }

    /// `Snum = 1*3DIGIT`, representing a decimal integer value in the range 0 through 255
    fn snum(&mut self) -> Read<u8> {
        let start = self.at;
        while self.at - start < 3 && self.one(|byte| byte.is_ascii_digit()).is_some() {}
        self.since(start).parse().ok()
    }

    /// `IPv6-address-literal = "IPv6:" IPv6-addr`
    fn ipv6_address_literal(&mut self) -> Read<String> {
        self.literal("IPv6:")?;
        let address = self.ipv6_addr()?;
        Some(format!("IPv6:{address}"))
    }

    /// `IPv6-addr = IPv6-full / IPv6-comp / IPv6v4-full / IPv6v4-comp`
    fn ipv6_addr(&mut self) -> Read<Ipv6Addr> {
        // Six groups, or four before an IPv4 address, may stand beside "::".
        let more = usize::from(self.allows(Leniency::OneGroupOfZeros));
        let full = self.attempt(|it| it.ipv6_full(8, false));
        let full = full.or_else(|| self.attempt(|it| it.ipv6_full(6, true)));
        full.or_else(|| self.attempt(|it| it.ipv6_comp(6 + more, 6 + more, false)))
            .or_else(|| {
                // The groups behind "::" must leave the first number of the IPv4 address alone.
                (0..=4 + more)
                    .rev()
                    .find_map(|behind| self.attempt(|it| it.ipv6_comp(4 + more, behind, true)))
            })
    }

    /// `IPv6-full = IPv6-hex 7(":" IPv6-hex)`,
    /// `IPv6v4-full = IPv6-hex 5(":" IPv6-hex) ":" IPv4-address-literal`
    fn ipv6_full(&mut self, groups: usize, v4: bool) -> Read<Ipv6Addr> {
        let mut all = self.ipv6_groups(groups)?;
        if v4 {
            self.literal(":")?;
            all.extend(self.ipv4_groups()?);
        }
        (self.peek() == Some(b']')).then_some(())?;
        <[u16; 8]>::try_from(all).ok().map(Ipv6Addr::from)
    }

    /// `IPv6-comp = [IPv6-hex *5(":" IPv6-hex)] "::" [IPv6-hex *5(":" IPv6-hex)]`,
    /// `IPv6v4-comp = [IPv6-hex *3(":" IPv6-hex)] "::" [IPv6-hex *3(":" IPv6-hex) ":"] IPv4-address-literal`
    fn ipv6_comp(&mut self, most: usize, behind: usize, v4: bool) -> Read<Ipv6Addr> {
        let before = self.ipv6_groups(most).unwrap_or_default();
        self.literal("::")?;
        let mut after = self.ipv6_groups(behind).unwrap_or_default();
        (before.len() + after.len() <= most).then_some(())?;
        if v4 {
            if !after.is_empty() {
                self.literal(":")?;
            }
            after.extend(self.ipv4_groups()?);
        }
        (self.peek() == Some(b']')).then_some(())?;
        let mut all = [0; 8];
        all[..before.len()].copy_from_slice(&before);
        all[8 - after.len()..].copy_from_slice(&after);
        Some(Ipv6Addr::from(all))
    }

    /// `IPv6-hex *(":" IPv6-hex)`, so many groups at most.
    fn ipv6_groups(&mut self, most: usize) -> Read<Vec<u16>> {
        if most == 0 {
            return None;
        }
        let mut groups = vec![self.attempt(Self::ipv6_hex)?];
        while groups.len() < most {
            let next = self.attempt(|it| {
                it.literal(":")?;
                it.ipv6_hex()
            });
            match next {
                Some(group) => groups.push(group),
                None => break,
            }
        }
        Some(groups)
    }

    /// `IPv6-hex = 1*4HEXDIG`
    fn ipv6_hex(&mut self) -> Read<u16> {
        let start = self.at;
        while self.at - start < 4 && self.one(|byte| byte.is_ascii_hexdigit()).is_some() {}
        u16::from_str_radix(&self.since(start), 16).ok()
    }

    /// The IPv4 address at the end of an IPv6 one. Leading zeros, which some read as octal, are refused there.
    fn ipv4_groups(&mut self) -> Read<[u16; 2]> {
        let start = self.at;
        let [a, b, c, d] = self.ipv4_address_literal()?.octets();
        let spelled_once = Ipv4Addr::new(a, b, c, d).to_string() == self.since(start);
        let groups = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        spelled_once.then_some(groups)
    }

    /// `General-address-literal = Standardized-tag ":" 1*dcontent`
    fn general_address_literal(&mut self) -> Read<String> {
        let start = self.at;
        self.standardized_tag()?;
        self.literal(":")?;
        self.dcontent()?;
        while self.dcontent().is_some() {}
        Some(self.since(start))
    }

    /// `Standardized-tag = Ldh-str`
    fn standardized_tag(&mut self) -> Read<()> {
        let start = self.at;
        self.ldh_str()?;
        self.input[start..self.at].is_ascii().then_some(())
    }

    /// `dcontent = %d33-90 / %d94-126`
    fn dcontent(&mut self) -> Read<u8> {
        self.one(|byte| matches!(byte, 33..=90 | 94..=126))
    }
}

/// A letter or digit of a label, or a byte of one beyond ASCII.
const fn is_let_dig(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// `atext` (RFC 5322 section 3.2.3), `atext =/ UTF8-non-ascii` (RFC 6531 section 3.3)
const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || !byte.is_ascii()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'/'
        )
        || matches!(
            byte,
            b'=' | b'?' | b'^' | b'_' | b'`' | b'{' | b'|' | b'}' | b'~'
        )
}
