//! One question to a name server: who takes the mail of a domain (RFC 1035). No cache, no recursion, no second try by TCP:
//! it is for a look at one's own records, and nothing depends on the answer.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// How long a name server may take.
const TIME: Duration = Duration::from_secs(3);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Types of records (RFC 1035 section 3.2.2).
const MX: u16 = 15;
const CLASS_IN: u16 = 1;

/// No such name (RFC 1035 section 4.1.1).
const NXDOMAIN: u8 = 3;

/// The mail exchangers of a domain, best first.
pub(super) fn exchangers(domain: &str, server: IpAddr) -> Result<Vec<String>, String> {
    let ask = || -> io::Result<Vec<u8>> {
        let any: SocketAddr = match server {
            IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            IpAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(TIME))?;
        socket.connect((server, 53))?;
        socket.send(&question(domain, 1))?;
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    let answer = ask().map_err(|why| match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{server} does not answer"),
        _ => why.to_string(),
    })?;
    read(&answer)
}

/// The first name server that `resolv.conf` names.
pub(super) fn name_server(resolv_conf: &str) -> Option<IpAddr> {
    let mut named = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    named.find_map(|rest| rest.trim().parse().ok())
}

/// A question for the mail exchangers of a domain, recursion desired.
fn question(domain: &str, id: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(domain.len() + 18);
    message.extend(id.to_be_bytes());
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in domain.trim_end_matches('.').split('.') {
        let label = &label.as_bytes()[..label.len().min(63)];
        message.push(label.len() as u8);
        message.extend(label);
    }
    message.push(0);
    message.extend(MX.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// The exchangers in an answer, best first.
fn read(answer: &[u8]) -> Result<Vec<String>, String> {
    parse(answer).ok_or_else(|| "the answer is malformed".to_owned())?
}

fn parse(answer: &[u8]) -> Option<Result<Vec<String>, String>> {
    match answer.get(3)? & 0xf {
        0 => {}
        NXDOMAIN => return Some(Ok(Vec::new())),
        code => return Some(Err(format!("the name server fails (code {code})"))),
    }
    let number = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let [questions, answers] = [number(4)?, number(6)?];
    let mut at = 12;
    for _ in 0..questions {
        at = name(answer, at)?.1 + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        let (_, head) = name(answer, at)?;
        let (kind, length) = (number(head)?, usize::from(number(head + 8)?));
        let data = head + 10;
        if kind == MX {
            let exchanger = name(answer, data + 2)?.0;
            // A single dot says that the domain takes no mail (RFC 7505).
            if !exchanger.is_empty() {
                found.push((number(data)?, exchanger));
            }
        }
        at = data + length;
    }
    found.sort();
    Some(Ok(found.into_iter().map(|(_, name)| name).collect()))
}

/// The name at a place, and where it ends. Each pointer leads to before where the last one led, so this ends.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut end = None;
    let mut start = at;
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some((labels.join("."), end.unwrap_or(at + 1))),
            0xc0.. => {
                let target = usize::from(length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                end.get_or_insert(at + 2);
                start = Some(target).filter(|target| *target < start)?;
                at = start;
            }
            _ => {
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                labels.push(label.escape_ascii().to_string());
                at += 1 + usize::from(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with these records, names compressed against the question.
    fn answer(code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question("example.com", 1);
        message[3] = code;
        message[7] = records.len() as u8;
        for (kind, data) in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 1, 44]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(*data);
        }
        message
    }

    #[test]
    fn exchangers_are_read_best_first() {
        let records: [(u16, &[u8]); 3] = [
            (MX, b"\x00\x14\x03two\xc0\x0c"),
            (5, b"\x00"),
            (MX, b"\x00\x0a\x03one\x07example\x03net\x00"),
        ];
        let found = read(&answer(0, &records));
        assert_eq!(
            found,
            Ok(vec![
                "one.example.net".to_owned(),
                "two.example.com".to_owned()
            ])
        );
        assert_eq!(read(&answer(0, &[])), Ok(Vec::new()));
        assert_eq!(read(&answer(NXDOMAIN, &[])), Ok(Vec::new()));
        assert_eq!(
            read(&answer(0, &[(MX, b"\x00\x00\x00")])),
            Ok(Vec::new()),
            "no mail"
        );
        assert!(read(&answer(2, &[])).is_err());
    }

    #[test]
    fn answers_that_are_cut_or_lead_in_circles_are_malformed() {
        let whole = answer(0, &[(MX, b"\x00\x14\x03two\xc0\x0c")]);
        for length in 4..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        for circle in [&b"\x00\x14\xc0\x2b"[..], b"\x00\x14\x01a\xc0\x2b"] {
            assert!(read(&answer(0, &[(MX, circle)])).is_err(), "{circle:?}");
        }
    }

    #[test]
    fn the_first_name_server_is_asked() {
        let text = "# a comment\nsearch example.com\nnameserver  10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!(name_server(text), Some([10, 0, 0, 2].into()));
        assert_eq!(name_server("search x\n"), None);
    }
}
