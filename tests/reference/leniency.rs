//! What is let in beyond the grammar, each with its reason and a line that needs it.

/// Something that real clients send and that harms nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leniency {
    /// RFC 5321 section 4.1.1: "receiving SMTP servers SHOULD tolerate trailing white space".
    SpacesAtEnd,
    /// Clients that fill their commands in from a form leave several spaces between words.
    MoreThanOneSpace,
    /// `MAIL FROM: <a@b>`, the commonest fault of all.
    SpaceBehindColon,
    /// Names with underscores and worse are common, and nothing is decided on them.
    AnyNameInHello,
    /// Taken over from the DNS, where it says that the name is whole; it is one domain with and without.
    DotBehindDomain,
    /// Nobody looks into the text of NOOP, HELP, VRFY and EXPN.
    AnyString,
    /// `1*20DIGIT`: more digits are a message that is too big, which is the better answer.
    MoreDigitsInSize,
    /// RFC 4291 lets `::` stand for a single group; RFC 5321 asks for two.
    OneGroupOfZeros,
}

impl Leniency {
    pub(crate) const ALL: &'static [Self] = &[
        Self::SpacesAtEnd,
        Self::MoreThanOneSpace,
        Self::SpaceBehindColon,
        Self::AnyNameInHello,
        Self::DotBehindDomain,
        Self::AnyString,
        Self::MoreDigitsInSize,
        Self::OneGroupOfZeros,
    ];

    /// A line that is refused without it.
    pub(crate) const fn example(self) -> &'static str {
        match self {
            Self::SpacesAtEnd => "QUIT  ",
            Self::MoreThanOneSpace => "MAIL  FROM:<a@b>   SIZE=1",
            Self::SpaceBehindColon => "MAIL FROM: <a@b>",
            Self::AnyNameInHello => "EHLO my_pc(1)",
            Self::DotBehindDomain => "RCPT TO:<a@b.>",
            Self::AnyString => "VRFY <a@b>",
            Self::MoreDigitsInSize => "MAIL FROM:<a@b> SIZE=000000000000000000001",
            Self::OneGroupOfZeros => "RCPT TO:<a@[IPv6:1:2:3:4:5:6:7::]>",
        }
    }
}
