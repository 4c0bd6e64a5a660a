//! What a proxy says before the client's first byte: the PROXY protocol, versions 1 and 2
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//!
//! Whoever may say it decides whose address every limit uses, so this is read strictly: the frame is checked here
//! byte by byte, and only what passes is handed to the parser. The header ends where its own length says, and what
//! follows it in the same segment belongs to the client: it is neither taken for a part of the header nor lost.

#![forbid(unsafe_code)]

use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The longest header of either version. A client address cannot make one longer, TLVs can: HAProxy sends a few dozen
/// bytes of them at most.
pub const HEADER_BYTES_MAX: usize = 536;

/// The longest line of version 1 (section 2.1), CRLF included.
const LINE_BYTES_MAX: usize = 107;

/// What a line of version 1 begins with.
const LINE_START: &[u8] = b"PROXY ";

/// What a header of version 2 begins with (section 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, the command, the family and the length.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;

/// Type and length of a TLV.
const TLV_HEAD_BYTES: usize = 3;

/// What has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The beginning of a header.
    NeedMore,
    /// A whole header.
    Header {
        /// Whose connection it is.
        source: Source,
        /// How long the header is. What follows is the client's.
        used: usize,
    },
    /// No header, and no more bytes will make it one.
    Malformed,
}

/// Whose connection the proxy has opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client's, with this address.
    Client(IpAddr),
    /// The proxy's own: it looks whether we live.
    Local,
}

impl fmt::Debug for Source {
    /// Never the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "Client(..)",
            Self::Local => "Local",
        })
    }
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHeader;

/// Reads a header that comes in pieces.
#[derive(Debug, Default)]
pub struct HeaderReader {
    /// The pieces so far. Stays empty, without memory, when the header comes in one.
    kept: Vec<u8>,
}

impl HeaderReader {
    /// Takes the header from `input`, or the next piece of it, and nothing that follows it. `None` while more is needed.
    pub fn read(&mut self, input: &mut &[u8]) -> Option<Result<Source, NoHeader>> {
        let before = self.kept.len();
        let reading = if before == 0 {
            read(input)
        } else {
            let (piece, _) = input.split_at(input.len().min(HEADER_BYTES_MAX - before));
            self.kept.extend_from_slice(piece);
            read(&self.kept)
        };
        match reading {
            Reading::NeedMore => {
                if before == 0 {
                    self.kept = input.to_vec();
                }
                *input = &[];
                None
            }
            Reading::Header { source, used } => {
                *input = &input[used - before..];
                Some(Ok(source))
            }
            Reading::Malformed => Some(Err(NoHeader)),
        }
    }
}

/// Reads the header that `bytes`, everything that has come so far, begin with.
#[must_use]
pub fn read(bytes: &[u8]) -> Reading {
    if is_begun(bytes, LINE_START) {
        version_1(bytes)
    } else if is_begun(bytes, SIGNATURE) {
        version_2(bytes)
    } else {
        Reading::Malformed
    }
}

/// Whether `bytes` can be, or go on to be, something that begins with `start`.
fn is_begun(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

/// `"PROXY" SP ("TCP4" / "TCP6") SP address SP address SP port SP port CRLF` (section 2.1)
///
/// `UNKNOWN` is refused: it names nobody whom a limit could be held against.
fn version_1(bytes: &[u8]) -> Reading {
    let longest = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = longest
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))
    else {
        return match longest.len() < LINE_BYTES_MAX {
            true => Reading::NeedMore,
            false => Reading::Malformed,
        };
    };
    match &longest[end..] {
        [b'\r', b'\n', ..] if is_strict(&longest[..end]) => parse(bytes, end + 2),
        [b'\r'] if end + 2 <= LINE_BYTES_MAX => Reading::NeedMore,
        _ => Reading::Malformed,
    }
}

/// Whether a line without its CRLF has six words, each written in the one way that names it.
fn is_strict(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let mut next = || words.next().and_then(|word| std::str::from_utf8(word).ok());
    let (Some("PROXY"), Some(family), Some(source), Some(destination), Some(from), Some(to), None) =
        (next(), next(), next(), next(), next(), next(), next())
    else {
        return false;
    };
    let are_addresses = match family {
        "TCP4" => [source, destination]
            .iter()
            .all(|text| matches!(text.parse(), Ok(IpAddr::V4(_)))),
        "TCP6" => [source, destination].iter().all(|text| {
            matches!(text.parse(), Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none())
        }),
        _ => false,
    };
    are_addresses && [from, to].iter().all(|text| is_port(text))
}

/// A number from 1 to 65535, without sign or leading zero.
fn is_port(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain && text.parse::<u16>().is_ok()
}

/// The fixed part, then as many bytes as it says: addresses, then TLVs that end where the header ends (section 2.2).
fn version_2(bytes: &[u8]) -> Reading {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED_BYTES) else {
        return Reading::NeedMore;
    };
    let used = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    let addresses = match (command, family) {
        // Section 2.2: what a LOCAL header holds is skipped, the family included.
        (0x20, _) => None,
        (0x21, 0x11) => Some(12),
        (0x21, 0x21) => Some(36),
        // No TCP over IP: nobody whom a limit could be held against.
        _ => return Reading::Malformed,
    };
    let tlvs_at = FIXED_BYTES + addresses.unwrap_or(0);
    if !(tlvs_at..=HEADER_BYTES_MAX).contains(&used) {
        return Reading::Malformed;
    }
    let Some(header) = bytes.get(..used) else {
        return Reading::NeedMore;
    };
    match addresses {
        None => Reading::Header {
            source: Source::Local,
            used,
        },
        Some(_) if tlvs_fill(&header[tlvs_at..]) => parse(bytes, used),
        Some(_) => Reading::Malformed,
    }
}

/// Whether TLVs, each with the length that it says, fill these bytes.
fn tlvs_fill(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let [_, high, low, ..] = *bytes else {
            return false;
        };
        let length = TLV_HEAD_BYTES + usize::from(u16::from_be_bytes([high, low]));
        let Some(rest) = bytes.get(length..) else {
            return false;
        };
        bytes = rest;
    }
    true
}

/// Has a header whose frame is known parsed: the parser sees not a byte beyond it, and must agree on its length.
fn parse(bytes: &[u8], used: usize) -> Reading {
    let parsed = ProxyHeader::parse(&bytes[..used], ParseConfig::default());
    let Ok((header, length)) = parsed else {
        return Reading::Malformed;
    };
    match header.proxied_address() {
        Some(addresses) if length == used && has_ports(addresses) => Reading::Header {
            // A proxy that listens for both families at once writes IPv4 as IPv6 in version 2.
            source: Source::Client(addresses.source.ip().to_canonical()),
            used,
        },
        _ => Reading::Malformed,
    }
}

/// No connection has port 0 at either end.
fn has_ports(addresses: &ProxiedAddress) -> bool {
    let ends: [SocketAddr; 2] = [addresses.source, addresses.destination];
    ends.iter().all(|end| end.port() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2 with this command, family and payload.
    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family], &length, payload].concat()
    }

    /// 192.0.2.7, port 4660, to 198.51.100.1, port 25.
    const ADDRESSES: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 0, 25];

    fn tcp4(tlvs: &[u8]) -> Vec<u8> {
        v2(0x21, 0x11, &[ADDRESSES, tlvs].concat())
    }

    /// A header is recognised at its last byte and not before, and takes nothing of what follows.
    #[track_caller]
    fn accepts(header: &[u8], source: Source) {
        for cut in 0..header.len() {
            assert_eq!(read(&header[..cut]), Reading::NeedMore, "cut at {cut}");
        }
        let used = header.len();
        for behind in [
            &b""[..],
            b"EHLO x\r\n",
            b"\r\n",
            b"\n",
            b"\0\0\0",
            SIGNATURE,
            LINE_START,
        ] {
            let whole = [header, behind].concat();
            assert_eq!(read(&whole), Reading::Header { source, used }, "{behind:?}");
        }
    }

    /// Nothing that begins like this is a header, whatever follows, and it is known at the end at the latest.
    #[track_caller]
    fn refuses(bytes: &[u8]) {
        let mut refused = false;
        for cut in 0..=bytes.len() {
            match read(&bytes[..cut]) {
                Reading::NeedMore => assert!(!refused, "a refusal stands, cut at {cut}"),
                Reading::Malformed => refused = true,
                header @ Reading::Header { .. } => panic!("{header:?} at {cut} of {bytes:?}"),
            }
        }
        assert!(refused, "still waits after {bytes:?}");
        for behind in [&b"EHLO x\r\n"[..], b"\r\n", &[0; 600]] {
            assert_eq!(read(&[bytes, behind].concat()), Reading::Malformed);
        }
    }

    fn client(address: &str) -> Source {
        Source::Client(address.parse().expect("an address"))
    }

    #[test]
    fn a_line_of_version_1_names_the_client() {
        accepts(
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n",
            client("192.0.2.7"),
        );
        accepts(
            b"PROXY TCP6 2001:db8::7 2001:db8::25 65535 1\r\n",
            client("2001:db8::7"),
        );
        let longest = format!(
            "PROXY TCP6 {0} {0} 65535 65535\r\n",
            "2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        assert_eq!(longest.len(), 104, "the longest that has two addresses");
        accepts(
            longest.as_bytes(),
            client("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        );
    }

    #[test]
    fn what_is_no_strict_line_of_version_1_is_refused() {
        for line in [
            // N2, in its order.
            "EHLO client.example\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\n",
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 0 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660 0\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660 +25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 04660 25\r\n",
            "PROXY TCP4 192.0.2.007 198.51.100.1 4660 25\r\n",
            "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::25 4660 25\r\n",
            "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 4660 25\r\n",
            // And more of the kind.
            "PROXY TCP4 2001:db8::7 2001:db8::25 4660 25\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 4660 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660 25 \r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660 25 26\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 4660 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660 \r\n",
            "PROXY TCP4 192.0.2 198.51.100.1 4660 25\r\n",
            "PROXY TCP4 192.0.2.7:1 198.51.100.1 4660 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 46\x0060 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4660 \u{662}\u{665}\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 4660 25\r\n",
            "PROXY tcp4 192.0.2.7 198.51.100.1 4660 25\r\n",
            "proxy TCP4 192.0.2.7 198.51.100.1 4660 25\r\n",
            "PROXY\tTCP4 192.0.2.7 198.51.100.1 4660 25\r\n",
            "PROXY TCP6 fe80::1%eth0 2001:db8::25 4660 25\r\n",
            "PROXY \r\n",
            " PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n",
            "\r\nPROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n",
        ] {
            refuses(line.as_bytes());
        }
    }

    #[test]
    fn a_line_of_version_1_has_107_bytes_at_most() {
        let endless = [LINE_START, &[b'1'; 200]].concat();
        assert_eq!(read(&endless[..LINE_BYTES_MAX - 1]), Reading::NeedMore);
        refuses(&endless[..LINE_BYTES_MAX]);
        // N2: a CRLF that begins at the last byte is one too late.
        let mut late = endless[..LINE_BYTES_MAX - 1].to_vec();
        late.extend_from_slice(b"\r\n");
        assert_eq!(late.len(), 108);
        refuses(&late);
    }

    #[test]
    fn a_header_of_version_2_names_the_client() {
        accepts(&tcp4(b""), client("192.0.2.7"));
        let tlvs = [4, 0, 0, 5, 0, 2, b'i', b'd'];
        accepts(&tcp4(&tlvs), client("192.0.2.7"));
        let mut six = [0; 36];
        six[0] = 0x20;
        six[15] = 7;
        (six[33], six[35]) = (1, 25);
        accepts(&v2(0x21, 0x21, &six), client("2000::7"));
        // A connection that came over a socket for both families.
        six[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        six[12..16].copy_from_slice(&[192, 0, 2, 7]);
        accepts(&v2(0x21, 0x21, &six), client("192.0.2.7"));
        // As long as may be: one TLV fills it.
        let length = HEADER_BYTES_MAX - FIXED_BYTES - ADDRESSES.len() - TLV_HEAD_BYTES;
        let [high, low] = u16::try_from(length).expect("short").to_be_bytes();
        let tlv = [&[5, high, low][..], &vec![b'x'; length]].concat();
        assert_eq!(tcp4(&tlv).len(), HEADER_BYTES_MAX);
        accepts(&tcp4(&tlv), client("192.0.2.7"));
    }

    #[test]
    fn a_local_header_is_skipped_to_its_end_whatever_it_holds() {
        for payload in [&b""[..], b"\0", ADDRESSES, b"no TLV at all", &[0xff; 520]] {
            for family in [0x00, 0x11, 0x31, 0xff] {
                accepts(&v2(0x20, family, payload), Source::Local);
            }
        }
    }

    #[test]
    fn what_is_no_sound_header_of_version_2_is_refused() {
        // N3: a wrong signature at each byte.
        for at in 0..SIGNATURE.len() {
            let mut header = tcp4(b"");
            header[at] ^= 1;
            refuses(&header);
        }
        // N3: lengths.
        for (length, command) in [
            (0, 0x21),
            (11, 0x21),
            (521, 0x21),
            (521, 0x20),
            (536, 0x21),
            (536, 0x20),
            (65_535, 0x21),
            (65_535, 0x20),
        ] {
            let [high, low] = u16::to_be_bytes(length);
            refuses(&[SIGNATURE, &[command, 0x11, high, low]].concat());
        }
        // N3: no address of the internet: AF_UNIX, AF_UNSPEC, datagrams, what is not defined.
        for family in [0x00, 0x01, 0x10, 0x12, 0x22, 0x31, 0x32, 0x41, 0xff] {
            refuses(&v2(0x21, family, &[0; 216]));
        }
        for command in [0x00, 0x01, 0x10, 0x11, 0x22, 0x2f, 0x30, 0xff] {
            refuses(&v2(command, 0x11, ADDRESSES));
        }
        let mut without_port = tcp4(b"");
        without_port[FIXED_BYTES + 8..FIXED_BYTES + 10].fill(0);
        refuses(&without_port);
    }

    #[test]
    fn tlvs_end_where_the_header_ends() {
        for tlvs in [
            &[4][..],
            &[4, 0],
            &[4, 0, 1],
            &[4, 0xff, 0xff],
            &[4, 0, 0, 5, 0, 3, b'i', b'd'],
            &[4, 0, 0, 0],
        ] {
            refuses(&tcp4(tlvs));
        }
        // A TLV that would swallow the client's first line, were the header's end not kept to.
        let mut fused = tcp4(&[4, 0, 8]);
        fused.extend_from_slice(b"EHLO x\r\n");
        assert_eq!(read(&fused), Reading::Malformed);
    }

    #[test]
    fn no_address_is_printed_by_accident() {
        assert_eq!(format!("{:?}", client("192.0.2.7")), "Client(..)");
    }
}
