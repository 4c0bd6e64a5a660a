//! Where one HTTP/1 request ends and the next begins, decided strictly and without I/O.
//!
//! hyper follows RFC 9112 where the RFC leaves a choice, and is lenient in places where two
//! programs that read the same bytes may see different requests. mayfly stands behind reverse
//! proxies, so every head passes this gate first: what could be read in two ways is refused, and
//! a refused head is the last thing that its connection says.

use std::ops::Range;

/// What may be asked of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    /// The most bytes of a head, its empty line included.
    pub(super) bytes_max: usize,
    /// The most fields of a head.
    pub(super) fields_max: usize,
}

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// A CR or LF that is not part of a CRLF.
    BareNewline,
    /// A byte that may not stand there: NUL, another control character, a space.
    ForbiddenByte,
    /// A request line of the wrong form.
    RequestLine,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
    /// A field name that is empty or has other characters than a token, such as a space before the colon.
    FieldName,
    /// A field that goes on in the next line (`obs-fold`).
    Folded,
    /// No Host, several, or one that disagrees with the target.
    Host,
    /// A Content-Length that is not one plain number, or several.
    ContentLength,
    /// A Transfer-Encoding other than exactly one `chunked`, or beside a Content-Length.
    TransferEncoding,
    /// More bytes or fields than allowed.
    TooLarge,
}

/// What to do with the bytes that have been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for more of them.
    More,
    /// So many of them, and of those to come, belong to the request: let them through.
    Pass(u64),
    /// They are not a request.
    Refuse(Offence),
}

/// The state between two calls.
#[derive(Debug)]
pub(super) struct Framing {
    limits: HeadLimits,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a head, of which so many bytes were looked at.
    Head { seen: usize },
    /// A head was let through; its body follows.
    Body { length: u64 },
    /// The body is chunked: hyper finds its end, and nothing may follow it.
    Chunked,
    /// Nothing more will be let through.
    Refused,
}

impl Framing {
    pub(super) const fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Head { seen: 0 },
        }
    }

    /// Whether the request let through last is the last of its connection.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.state, State::Chunked | State::Refused)
    }

    /// Looks at what has been received and not been let through.
    pub(super) fn step(&mut self, received: &[u8]) -> Step {
        match self.state {
            State::Head { seen } => self.head(received, seen),
            State::Body { length } => {
                self.state = State::Head { seen: 0 };
                Step::Pass(length)
            }
            State::Chunked => Step::Pass(u64::MAX),
            State::Refused => Step::More,
        }
    }

    fn head(&mut self, received: &[u8], seen: usize) -> Step {
        let searched = match head_end(received, seen) {
            Ok(Some(end)) if end <= self.limits.bytes_max => {
                check(&received[..end], self.limits).map(|body| (end, body))
            }
            Ok(Some(_)) => Err(Offence::TooLarge),
            Ok(None) if received.len() >= self.limits.bytes_max => Err(Offence::TooLarge),
            Ok(None) => {
                self.state = State::Head {
                    seen: received.len(),
                };
                return Step::More;
            }
            Err(offence) => Err(offence),
        };
        match searched {
            Ok((end, body)) => {
                self.state = body;
                Step::Pass(end as u64)
            }
            Err(offence) => {
                self.state = State::Refused;
                Step::Refuse(offence)
            }
        }
    }
}

/// The length of the head, its empty line included, if it is all there. Bytes before `seen` were
/// looked at before.
fn head_end(received: &[u8], seen: usize) -> Result<Option<usize>, Offence> {
    // The last byte seen may have been a CR whose LF has come only now.
    let from = seen.saturating_sub(1);
    for (offset, byte) in received[from..].iter().enumerate() {
        let at = from + offset;
        match byte {
            0 => return Err(Offence::ForbiddenByte),
            b'\r' if received.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Err(Offence::BareNewline);
            }
            b'\n' if at == 0 || received[at - 1] != b'\r' => return Err(Offence::BareNewline),
            // One empty line may stand before a request (RFC 9112 section 2.2).
            b'\n' if at >= 3 && received[..at].ends_with(b"\r\n\r") => return Ok(Some(at + 1)),
            _ => {}
        }
    }
    Ok(None)
}

/// What the fields of a head say about its framing.
#[derive(Default)]
struct Facts<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
}

/// Checks a whole head and says what follows it.
fn check(head: &[u8], limits: HeadLimits) -> Result<State, Offence> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut lines = Lines { rest: head };
    let (target, version) = request_line(lines.next().unwrap_or_default())?;
    let mut facts = Facts::default();
    for (count, line) in lines.enumerate() {
        if line.is_empty() {
            break;
        }
        if count >= limits.fields_max {
            return Err(Offence::TooLarge);
        }
        field(line, &mut facts)?;
    }
    check_host(&facts, &head[target], version)?;
    match (facts.chunked, facts.length) {
        (true, _) if version == Version::Http10 => Err(Offence::TransferEncoding),
        (true, Some(_)) => Err(Offence::TransferEncoding),
        (true, None) => Ok(State::Chunked),
        (false, None | Some(0)) => Ok(State::Head { seen: 0 }),
        (false, Some(length)) => Ok(State::Body { length }),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// `request-line = method SP request-target SP HTTP-version` (RFC 9112 section 3).
fn request_line(line: &[u8]) -> Result<(Range<usize>, Version), Offence> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Offence::RequestLine);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        other if other.starts_with(b"HTTP/") => return Err(Offence::Version),
        _ => return Err(Offence::RequestLine),
    };
    let form = match target.first() {
        Some(b'/') => true,
        Some(b'*') => method == b"OPTIONS" && target.len() == 1,
        _ => absolute_authority(target).is_some(),
    };
    if !is_token(method) || !form || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Offence::RequestLine);
    }
    Ok((method.len() + 1..method.len() + 1 + target.len(), version))
}

/// The authority of `http://authority/path`; `None` for other forms.
fn absolute_authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = target.get(..7)?;
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return None;
    }
    target[7..]
        .split(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .next()
}

/// `field-line = field-name ":" OWS field-value OWS` (RFC 9112 section 5).
fn field<'a>(line: &'a [u8], facts: &mut Facts<'a>) -> Result<(), Offence> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Offence::Folded);
    }
    let colon = memchr::memchr(b':', line).ok_or(Offence::FieldName)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if !is_token(name) {
        return Err(Offence::FieldName);
    }
    if line[colon + 1..]
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(Offence::ForbiddenByte);
    }
    if name.eq_ignore_ascii_case(b"host") {
        if facts.host.replace(value).is_some() {
            return Err(Offence::Host);
        }
    } else if name.eq_ignore_ascii_case(b"content-length") {
        if facts.length.replace(content_length(value)?).is_some() {
            return Err(Offence::ContentLength);
        }
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        if facts.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Offence::TransferEncoding);
        }
        facts.chunked = true;
    }
    Ok(())
}

/// `Content-Length = 1*DIGIT` (RFC 9112 section 6.2), here without superfluous zeros and within 64 bits.
fn content_length(value: &[u8]) -> Result<u64, Offence> {
    let plain = value == b"0" || matches!(value.first(), Some(b'1'..=b'9'));
    let digits = value.iter().all(u8::is_ascii_digit) && value.len() <= 18;
    if !plain || !digits {
        return Err(Offence::ContentLength);
    }
    Ok(value
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn check_host(facts: &Facts<'_>, target: &[u8], version: Version) -> Result<(), Offence> {
    let Some(host) = facts.host else {
        return match version {
            Version::Http10 => Ok(()),
            Version::Http11 => Err(Offence::Host),
        };
    };
    let plain = host
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(byte));
    let agrees = absolute_authority(target).is_none_or(|named| named.eq_ignore_ascii_case(host));
    if plain && agrees {
        Ok(())
    } else {
        Err(Offence::Host)
    }
}

/// `token = 1*tchar` (RFC 9110 section 5.6.2).
fn is_token(word: &[u8]) -> bool {
    !word.is_empty()
        && word
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The lines of a head in which every newline is known to be CRLF.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes_max: 512,
        fields_max: 8,
    };

    /// What becomes of `input`, fed in pieces of every size: the bytes let through and the end.
    fn check(input: &str, passed: usize, end: Result<(), Offence>) {
        for piece in 1..=input.len() {
            let mut framing = Framing::new(LIMITS);
            let (mut received, mut through, mut allowed) = (Vec::new(), 0, 0_u64);
            let mut result = Ok(());
            for bytes in input.as_bytes().chunks(piece) {
                received.extend_from_slice(bytes);
                while !received.is_empty() && result.is_ok() {
                    let taken = received
                        .len()
                        .min(usize::try_from(allowed).unwrap_or(usize::MAX));
                    if taken > 0 {
                        received.drain(..taken);
                        through += taken;
                        allowed -= taken as u64;
                        continue;
                    }
                    match framing.step(&received) {
                        Step::More => break,
                        Step::Pass(more) => allowed = more,
                        Step::Refuse(offence) => result = Err(offence),
                    }
                }
            }
            assert_eq!((through, result), (passed, end), "{input:?} by {piece}");
        }
    }

    fn accepted(input: &str) {
        check(input, input.len(), Ok(()));
    }

    fn refused(input: &str, offence: Offence) {
        check(input, 0, Err(offence));
    }

    #[test]
    fn plain_requests_pass_and_bodies_are_not_heads() {
        accepted("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        accepted("\r\nGET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n");
        accepted("GET / HTTP/1.0\r\n\r\n");
        accepted("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        accepted("GET http://a/x HTTP/1.1\r\nHost: A\r\n\r\n");
        accepted(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\0\n\rxGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        accepted(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let start = "POST / HTTP/1.1\r\nHost: a\r\n";
        for length in ["+5", "5,5", "05", "5 5", "", "-1", "18446744073709551616"] {
            refused(
                &format!("{start}Content-Length: {length}\r\n\r\n"),
                Offence::ContentLength,
            );
        }
        refused(
            &format!("{start}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
            Offence::ContentLength,
        );
        for coding in [
            "chunked, identity",
            "identity",
            "xchunked",
            "chunked,chunked",
        ] {
            refused(
                &format!("{start}Transfer-Encoding: {coding}\r\n\r\n"),
                Offence::TransferEncoding,
            );
        }
        for both in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            refused(&format!("{start}{both}\r\n\r\n"), Offence::TransferEncoding);
        }
        refused(
            &format!("{start}Transfer-Encoding:\x0bchunked\r\n\r\n"),
            Offence::ForbiddenByte,
        );
        refused(
            &format!("{start}Transfer-Encoding : chunked\r\n\r\n"),
            Offence::FieldName,
        );
        refused(
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            Offence::TransferEncoding,
        );
    }

    #[test]
    fn hosts_must_be_one_and_the_same() {
        refused("GET / HTTP/1.1\r\n\r\n", Offence::Host);
        refused(
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            Offence::Host,
        );
        refused("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Offence::Host);
        refused("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Offence::Host);
    }

    #[test]
    fn forms_that_are_not_http_are_refused() {
        refused("GET / HTTP/1.1\nHost: a\r\n\r\n", Offence::BareNewline);
        refused("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Offence::BareNewline);
        refused(
            "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
            Offence::ForbiddenByte,
        );
        refused("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Offence::Folded);
        refused(
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            Offence::FieldName,
        );
        refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Offence::Version);
        refused("PRI * HTTP/2.0\r\n\r\n", Offence::Version);
        refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Offence::RequestLine);
        refused(
            "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            Offence::RequestLine,
        );
        refused("GET /\r\n\r\n", Offence::RequestLine);
    }

    #[test]
    fn what_follows_a_body_that_is_not_announced_is_a_head_of_its_own() {
        let first = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        check(
            &format!("{first}x=1\r\n\r\n"),
            first.len(),
            Err(Offence::RequestLine),
        );
    }

    #[test]
    fn heads_are_bounded() {
        let many = "X: y\r\n".repeat(9);
        refused(&format!("GET / HTTP/1.1\r\n{many}\r\n"), Offence::TooLarge);
        let long = "y".repeat(600);
        let mut framing = Framing::new(LIMITS);
        let head = format!("GET /{long}");
        assert_eq!(
            framing.step(head.as_bytes()),
            Step::Refuse(Offence::TooLarge)
        );
        assert_eq!(framing.step(b"more"), Step::More);
    }
}
