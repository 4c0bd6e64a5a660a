//! Questions to a name server: who takes the mail of a domain, and where a host is (RFC 1035, RFC 3596). No cache, no recursion,
//! no second try by TCP: it is for a look at one's own records, and nothing depends on the answer. What this machine alone
//! knows of names (`/etc/hosts`) is not asked, since senders do not know it.

use super::facts::Exchangers;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// How long a name server may take.
const TIME: Duration = Duration::from_secs(3);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Types of records (RFC 1035 section 3.2.2, RFC 3596 section 2.1).
const A: u16 = 1;
const MX: u16 = 15;
const AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

/// No such name (RFC 1035 section 4.1.1).
const NXDOMAIN: u8 = 3;

/// Where senders take the mail of a domain.
pub(super) fn exchangers(domain: &str, server: SocketAddr) -> Result<Exchangers, String> {
    match read(&ask(domain, MX, server)?, read_exchangers)? {
        Exchangers::Implicit(_) => addresses(domain, server).map(Exchangers::Implicit),
        named => Ok(named),
    }
}

/// The addresses of a host; none if it has none, or if there is no such name.
pub(super) fn addresses(host: &str, server: SocketAddr) -> Result<Vec<IpAddr>, String> {
    let mut found = read(&ask(host, A, server)?, read_addresses)?;
    found.extend(read(&ask(host, AAAA, server)?, read_addresses)?);
    Ok(found)
}

/// What a name server says to a question.
fn ask(name: &str, kind: u16, server: SocketAddr) -> Result<Vec<u8>, String> {
    let ask = || -> io::Result<Vec<u8>> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(TIME))?;
        socket.connect(server)?;
        socket.send(&question(name, kind, 1))?;
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    ask().map_err(|why| match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("{} does not answer", server.ip())
        }
        _ => why.to_string(),
    })
}

/// The first name server that `resolv.conf` names.
pub(super) fn name_server(resolv_conf: &str) -> Option<IpAddr> {
    let mut named = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    named.find_map(|rest| rest.trim().parse().ok())
}

/// A question for the records of a name, recursion desired.
fn question(name: &str, kind: u16, id: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(name.len() + 18);
    message.extend(id.to_be_bytes());
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let label = &label.as_bytes()[..label.len().min(63)];
        message.push(label.len() as u8);
        message.extend(label);
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// What `understand` makes of the records in an answer.
fn read<T>(answer: &[u8], understand: impl Fn(&[u8], &[Record]) -> Option<T>) -> Result<T, String> {
    let malformed = || "the answer is malformed".to_owned();
    let found = records(answer).ok_or_else(malformed)??;
    understand(answer, &found).ok_or_else(malformed)
}

/// The exchangers among records, best first.
fn read_exchangers(answer: &[u8], records: &[Record]) -> Option<Exchangers> {
    let mut named = Vec::new();
    let mut refuses = false;
    for record in records.iter().filter(|record| record.kind == MX) {
        let exchanger = name(answer, record.data + 2)?.0;
        match exchanger.is_empty() {
            true => refuses = true,
            false => named.push((number(answer, record.data)?, exchanger)),
        }
    }
    named.sort();
    Some(match named.is_empty() {
        true if refuses => Exchangers::Refused,
        true => Exchangers::Implicit(Vec::new()),
        false => Exchangers::Named(named.into_iter().map(|(_, name)| name).collect()),
    })
}

/// The addresses among records. Aliases that lead to them are left out.
fn read_addresses(answer: &[u8], records: &[Record]) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    for record in records {
        let data = answer.get(record.data..record.data + record.length)?;
        match record.kind {
            A => found.push(<[u8; 4]>::try_from(data).ok()?.into()),
            AAAA => found.push(<[u8; 16]>::try_from(data).ok()?.into()),
            _ => {}
        }
    }
    Some(found)
}

/// A record of an answer.
struct Record {
    kind: u16,
    /// Where its data begins.
    data: usize,
    length: usize,
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(
        message.get(at..at + 2)?.try_into().ok()?,
    ))
}

/// The records of an answer, none if there is no such name; `None` if it is malformed.
fn records(answer: &[u8]) -> Option<Result<Vec<Record>, String>> {
    match answer.get(3)? & 0xf {
        0 => {}
        NXDOMAIN => return Some(Ok(Vec::new())),
        code => return Some(Err(format!("the name server fails (code {code})"))),
    }
    let [questions, answers] = [number(answer, 4)?, number(answer, 6)?];
    let mut at = 12;
    for _ in 0..questions {
        at = name(answer, at)?.1 + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        let (_, head) = name(answer, at)?;
        let record = Record {
            kind: number(answer, head)?,
            data: head + 10,
            length: number(answer, head + 8)?.into(),
        };
        at = record.data + record.length;
        found.push(record);
    }
    Some(Ok(found))
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
        let mut message = question("example.com", MX, 1);
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

    fn mail(code: u8, records: &[(u16, &[u8])]) -> Result<Exchangers, String> {
        read(&answer(code, records), read_exchangers)
    }

    #[test]
    fn exchangers_are_read_best_first() {
        let records: [(u16, &[u8]); 3] = [
            (MX, b"\x00\x14\x03two\xc0\x0c"),
            (5, b"\x00"),
            (MX, b"\x00\x0a\x03one\x07example\x03net\x00"),
        ];
        let names = ["one.example.net", "two.example.com"].map(str::to_owned);
        assert_eq!(mail(0, &records), Ok(Exchangers::Named(names.to_vec())));
        assert_eq!(mail(0, &[]), Ok(Exchangers::Implicit(Vec::new())));
        assert_eq!(mail(NXDOMAIN, &[]), Ok(Exchangers::Implicit(Vec::new())));
        let null: (u16, &[u8]) = (MX, b"\x00\x00\x00");
        assert_eq!(mail(0, &[null]), Ok(Exchangers::Refused));
        assert!(mail(2, &[]).is_err());
    }

    #[test]
    fn addresses_are_read_behind_aliases() {
        let six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let records: [(u16, &[u8]); 3] = [(5, b"\xc0\x0c"), (A, &[192, 0, 2, 1]), (AAAA, &six)];
        let found = read(&answer(0, &records), read_addresses);
        assert_eq!(found, Ok(vec![[192, 0, 2, 1].into(), six.into()]));
        assert!(read(&answer(0, &[(A, &[192, 0, 2])]), read_addresses).is_err());
    }

    /// Asks a name server that answers so many questions so.
    fn asked<T>(answers: &[Vec<u8>], question: impl FnOnce(SocketAddr) -> T) -> (T, Vec<Vec<u8>>) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        server.set_read_timeout(Some(TIME)).expect("set");
        let address = server.local_addr().expect("an address");
        std::thread::scope(|scope| {
            let serving = scope.spawn(|| {
                let questions = answers.iter().map(|answer| {
                    let mut question = vec![0; 512];
                    let (length, peer) = server.recv_from(&mut question).expect("a question");
                    server.send_to(answer, peer).expect("sent");
                    question.truncate(length);
                    question
                });
                questions.collect()
            });
            (question(address), serving.join().expect("all were asked"))
        })
    }

    #[test]
    fn a_host_without_an_address_is_told_from_one_that_cannot_be_looked_up() {
        let host =
            |answers: &[Vec<u8>]| asked(answers, |server| addresses("mx.example.com", server));
        let (found, questions) = host(&[answer(NXDOMAIN, &[]), answer(NXDOMAIN, &[])]);
        assert_eq!(found, Ok(Vec::new()));
        let expected = [A, AAAA].map(|kind| question("mx.example.com", kind, 1));
        assert_eq!(questions, expected);
        let four: (u16, &[u8]) = (A, &[127, 0, 1, 1]);
        let (found, _) = host(&[answer(0, &[four]), answer(0, &[])]);
        assert_eq!(found, Ok(vec![[127, 0, 1, 1].into()]));
        assert!(host(&[answer(2, &[])]).0.is_err());
    }

    #[test]
    fn a_domain_without_an_exchanger_is_its_own() {
        let four: (u16, &[u8]) = (A, &[192, 0, 2, 1]);
        let answers = [answer(0, &[]), answer(0, &[four]), answer(0, &[])];
        let (found, _) = asked(&answers, |server| exchangers("example.com", server));
        let itself = Exchangers::Implicit(vec![[192, 0, 2, 1].into()]);
        assert_eq!(found, Ok(itself));
    }

    #[test]
    fn answers_that_are_cut_or_lead_in_circles_are_malformed() {
        let whole = answer(0, &[(MX, b"\x00\x14\x03two\xc0\x0c")]);
        for length in 4..whole.len() {
            let cut = read(&whole[..length], read_exchangers);
            assert!(cut.is_err(), "{length}");
        }
        for circle in [&b"\x00\x14\xc0\x2b"[..], b"\x00\x14\x01a\xc0\x2b"] {
            assert!(mail(0, &[(MX, circle)]).is_err(), "{circle:?}");
        }
    }

    #[test]
    fn the_first_name_server_is_asked() {
        let text = "# a comment\nsearch example.com\nnameserver  10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!(name_server(text), Some([10, 0, 0, 2].into()));
        assert_eq!(name_server("search x\n"), None);
    }
}
