//! The end of every run: what was sent, what the metrics say was accepted, and what is found in the mailboxes must be the same.

use crate::failure::Failure;
use crate::http;
use crate::job::{Kind, Load};
use crate::payload;
use crate::results::Counted;
use crate::scenario::Counting;
use crate::server::Metrics;
use crate::tally::Tally;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

/// Mailboxes that are read where only some are.
const SAMPLE: u64 = 200;
/// The most pages of one mailbox.
const PAGES_MAX: u32 = 100_000;

/// What one generator process did.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    pub(crate) load: &'a Load,
    pub(crate) worker: u32,
    pub(crate) tally: &'a Tally,
}

/// How often each message was found, by the process that sent it and its number.
#[derive(Debug, Default)]
struct Seen {
    counts: BTreeMap<u32, Vec<u32>>,
    strange: u64,
    found: u64,
}

impl Seen {
    fn new(shares: &[Share<'_>]) -> Self {
        let places =
            |share: &Share<'_>| vec![0; usize::try_from(share.tally.numbered).unwrap_or_default()];
        let counts = shares
            .iter()
            .map(|share| (share.worker, places(share)))
            .collect();
        Self {
            counts,
            ..Self::default()
        }
    }

    fn see(&mut self, marker: u64) {
        self.found += 1;
        let worker = u32::try_from(marker >> 32).unwrap_or_default();
        let number = usize::try_from(marker & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        match self
            .counts
            .get_mut(&worker)
            .and_then(|counts| counts.get_mut(number))
        {
            Some(count) => *count += 1,
            None => self.strange += 1,
        }
    }

    /// Copies lost and doubled of what one process sent.
    fn judge(&self, share: &Share<'_>) -> (u64, u64) {
        let absent: HashSet<u64> = share.tally.absent.iter().copied().collect();
        let unknown: HashSet<u64> = share.tally.unknown.iter().copied().collect();
        let recipients = u64::from(share.load.recipients);
        let (mut lost, mut doubled) = (0, 0);
        for (number, count) in self
            .counts
            .get(&share.worker)
            .into_iter()
            .flatten()
            .enumerate()
        {
            let marker = (u64::from(share.worker) << 32) | number as u64;
            let count = u64::from(*count);
            let most = if absent.contains(&marker) {
                0
            } else {
                recipients
            };
            // Stored for all or for none.
            let least = if unknown.contains(&marker) && count == 0 {
                0
            } else {
                most
            };
            lost += least.saturating_sub(count);
            doubled += count.saturating_sub(most);
        }
        (lost, doubled)
    }
}

/// Where it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The page of metrics, as it is when all has been sent.
    pub(crate) metrics: &'a Metrics,
    /// Where mailboxes are read.
    pub(crate) api: SocketAddr,
    /// The domain of the recipients.
    pub(crate) domain: &'a str,
}

/// Counts, and says what does not agree.
pub(crate) fn count(
    place: Place<'_>,
    counting: Counting,
    shares: &[Share<'_>],
) -> Result<(Counted, Vec<String>), Failure> {
    let metrics = place.metrics;
    let sum = |of: fn(&Tally) -> u64| shares.iter().map(|share| of(share.tally)).sum::<u64>();
    let mut counted = Counted {
        sent: sum(|tally| tally.accepted),
        accepted: metrics.count("mayfly_messages_accepted_total"),
        copies: sum(|tally| tally.copies),
        delivered: metrics.count("mayfly_store_delivered_total"),
        ..Counted::default()
    };
    let mut wrong = Vec::new();
    let unknown = sum(|tally| tally.unknown.len() as u64);
    let unknown_copies: u64 = shares
        .iter()
        .map(|share| share.tally.unknown.len() as u64 * u64::from(share.load.recipients))
        .sum();
    between(
        "messages accepted by the metrics",
        counted.accepted,
        counted.sent,
        unknown,
        &mut wrong,
    );
    between(
        "copies delivered by the metrics",
        counted.delivered,
        counted.copies,
        unknown_copies,
        &mut wrong,
    );
    match counting {
        Counting::Metrics => {
            let (there, gone) = (
                metrics.count("mayfly_store_messages"),
                metrics.count("mayfly_store_gone_total"),
            );
            between(
                "copies that are there or have gone",
                there + gone,
                counted.delivered,
                0,
                &mut wrong,
            );
        }
        Counting::Markers => by_markers(place, shares, &mut counted)?,
        Counting::Sample => by_sample(place, shares, &mut counted)?,
    }
    for (what, copies) in [
        ("lost", counted.lost),
        ("doubled", counted.doubled),
        ("that nobody sent", counted.strange),
    ] {
        if copies > 0 {
            wrong.push(format!("{copies} copies {what}"));
        }
    }
    Ok((counted, wrong))
}

/// What is counted may be more by as many as nobody knows about.
fn between(what: &str, found: u64, expected: u64, unknown: u64, wrong: &mut Vec<String>) {
    if found < expected || found > expected + unknown {
        wrong.push(format!(
            "{what}: {found}; it should be {expected} (and {unknown} without an answer)"
        ));
    }
}

fn by_markers(
    place: Place<'_>,
    shares: &[Share<'_>],
    counted: &mut Counted,
) -> Result<(), Failure> {
    let mut seen = Seen::new(shares);
    let mut read = HashSet::new();
    let known = tokens(shares);
    for share in sending(shares) {
        for mailbox in 0..share.load.mailboxes {
            if !read.insert((share.load.name.clone(), mailbox)) {
                continue;
            }
            let token = token(place, &known, share, mailbox)?;
            read_all(place.api, &token, |marker| seen.see(marker))?;
            counted.mailboxes += 1;
        }
    }
    for share in shares {
        let (lost, doubled) = seen.judge(share);
        counted.lost += lost;
        counted.doubled += doubled;
    }
    counted.found = seen.found;
    counted.strange = seen.strange;
    Ok(())
}

/// Some mailboxes of each load: each must hold what was sent to it, once.
fn by_sample(place: Place<'_>, shares: &[Share<'_>], counted: &mut Counted) -> Result<(), Failure> {
    let mut read = HashSet::new();
    let known = tokens(shares);
    for share in sending(shares) {
        if !read.insert(share.load.name.clone()) {
            continue;
        }
        let load = share.load;
        let copies = load.messages * u64::from(load.recipients);
        let step = (load.mailboxes / SAMPLE).max(1);
        for mailbox in (0..load.mailboxes).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let token = token(place, &known, share, mailbox)?;
            let mut markers = HashSet::new();
            let mut found = 0;
            read_all(place.api, &token, |marker| {
                found += 1;
                markers.insert(marker);
            })?;
            let expected = copies / load.mailboxes + u64::from(mailbox < copies % load.mailboxes);
            counted.mailboxes += 1;
            counted.found += found;
            counted.doubled += found - markers.len() as u64;
            counted.lost += expected.saturating_sub(markers.len() as u64);
            counted.strange += (markers.len() as u64).saturating_sub(expected);
        }
    }
    Ok(())
}

/// What has sent into mailboxes, without what only held or read.
fn sending<'a, 'b>(shares: &'a [Share<'b>]) -> impl Iterator<Item = &'a Share<'b>> {
    let sends = |share: &&Share<'_>| share.load.kind == Kind::Send;
    shares.iter().filter(sends)
}

/// Tokens that generators got, by the load whose mailboxes they are, in order.
fn tokens<'a>(shares: &[Share<'a>]) -> HashMap<&'a str, &'a [String]> {
    let got = shares.iter().filter(|share| !share.tally.tokens.is_empty());
    got.map(|share| {
        let of = match share.load.kind {
            Kind::Read => &share.load.of,
            _ => &share.load.name,
        };
        (of.as_str(), share.tally.tokens.as_slice())
    })
    .collect()
}

/// The token of a mailbox: what a generator got, or a new one, because whoever creates an address gets what it holds.
fn token(
    place: Place<'_>,
    known: &HashMap<&str, &[String]>,
    share: &Share<'_>,
    mailbox: u64,
) -> Result<String, Failure> {
    let name = share.load.name.as_str();
    let own = usize::try_from(mailbox)
        .ok()
        .and_then(|mailbox| known.get(name)?.get(mailbox));
    if let Some(token) = own {
        return Ok(token.clone());
    }
    http::create_mailbox(place.api, &format!("{name}-{mailbox}"), place.domain)
}

/// Reads the marker of every message in a mailbox, page by page.
fn read_all(api: SocketAddr, token: &str, mut see: impl FnMut(u64)) -> Result<(), Failure> {
    let mut cursor = "0".to_owned();
    for _ in 0..PAGES_MAX {
        let path = format!("/api/v1/messages?limit=1000&cursor={cursor}");
        let page = http::ask(api, "GET", &path, Some(token), "")?.json()?;
        let messages = page["messages"]
            .as_array()
            .ok_or_else(|| Failure::new("a page without messages"))?;
        if messages.is_empty() {
            return Ok(());
        }
        for message in messages {
            let subject = message["subject"].as_str().unwrap_or_default();
            // What has no marker of ours is strange, and is counted as such.
            see(payload::markers(subject.as_bytes())
                .next()
                .unwrap_or(u64::MAX));
        }
        page["cursor"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut cursor);
    }
    Err(Failure::new("a mailbox without end"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    /// A server whose mailboxes hold what they are said to hold, for as long as the test's process lives.
    fn server(mailboxes: BTreeMap<String, Vec<u64>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // What cannot be answered is missed by who asked.
                let _ = answer(&stream, &mailboxes);
            }
        });
        address
    }

    /// A mailbox's token is its name, and everything is on its first page.
    fn answer(
        mut stream: &TcpStream,
        mailboxes: &BTreeMap<String, Vec<u64>>,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head)?;
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let body = if head.starts_with("POST") {
            let length = field("Content-Length: ").and_then(|length| length.parse().ok());
            let mut fields = vec![0; length.unwrap_or_default()];
            reader.read_exact(&mut fields)?;
            let fields: Value = serde_json::from_slice(&fields)?;
            json!({ "token": fields["local_part"] })
        } else {
            let held = field("Authorization: Bearer ")
                .and_then(|token| mailboxes.get(token))
                .filter(|_| head.contains("cursor=0 "));
            let message = |marker: &u64| json!({ "subject": format!("mark-{marker:016x}") });
            let messages: Vec<Value> = held.into_iter().flatten().map(message).collect();
            json!({ "messages": messages, "cursor": "9" })
        };
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}")
    }

    /// Four messages in two mailboxes, by what the metrics and the mailboxes say of them.
    fn counted(counting: Counting, metrics: &str, even: &[u64], odd: &[u64]) -> Vec<String> {
        let load = Load {
            messages: 4,
            mailboxes: 2,
            ..Load::default()
        };
        let tally = Tally {
            accepted: 4,
            copies: 4,
            numbered: 4,
            ..Tally::default()
        };
        let shares = [Share {
            load: &load,
            worker: 1,
            tally: &tally,
        }];
        let held = |numbers: &[u64]| numbers.iter().map(|number| (1 << 32) | number).collect();
        let mailboxes = [("load-0", even), ("load-1", odd)]
            .map(|(name, numbers)| (name.to_owned(), held(numbers)));
        let place = Place {
            metrics: &Metrics(metrics.to_owned()),
            api: server(BTreeMap::from(mailboxes)),
            domain: "mayfly.test",
        };
        let (_, wrong) = count(place, counting, &shares).expect("counted");
        wrong
    }

    #[test]
    fn a_server_that_loses_doubles_or_lies_is_found_out() {
        const ALL: &str = "mayfly_messages_accepted_total 4\nmayfly_store_delivered_total 4\n\
            mayfly_store_messages{core=\"0\"} 1\nmayfly_store_gone_total{reason=\"expired\"} 3\n";
        let fewer = ALL.replace("delivered_total 4", "delivered_total 3");
        let vanished = ALL.replace("messages{core=\"0\"} 1", "messages{core=\"0\"} 0");
        use Counting::{Markers, Metrics, Sample};
        for (counting, metrics, even, odd, wrong) in [
            (Markers, ALL, &[0, 2][..], &[1, 3][..], &[][..]),
            (Sample, ALL, &[0, 2], &[1, 3], &[]),
            (Metrics, ALL, &[], &[], &[]),
            (Markers, ALL, &[0, 2], &[1], &["1 copies lost"]),
            (Sample, ALL, &[0, 2], &[1], &["1 copies lost"]),
            (Markers, ALL, &[0, 2, 2], &[1, 3], &["1 copies doubled"]),
            (Sample, ALL, &[0, 2, 2], &[1, 3], &["1 copies doubled"]),
            (
                Markers,
                ALL,
                &[0, 0],
                &[1, 3],
                &["1 copies lost", "1 copies doubled"],
            ),
            (
                Sample,
                ALL,
                &[0, 0],
                &[1, 3],
                &["1 copies lost", "1 copies doubled"],
            ),
            (Markers, ALL, &[0, 2, 9], &[1, 3], &["1 copies that nobody"]),
            (Sample, ALL, &[0, 2, 9], &[1, 3], &["1 copies that nobody"]),
            (Markers, &fewer, &[0, 2], &[1, 3], &["copies delivered"]),
            (Metrics, &vanished, &[], &[], &["copies that are there"]),
        ] {
            let found = counted(counting, metrics, even, odd);
            assert_eq!(found.len(), wrong.len(), "{found:?}");
            for (found, wrong) in found.iter().zip(wrong) {
                assert!(found.starts_with(wrong), "{found}");
            }
        }
    }

    fn judged(recipients: u32, absent: &[u64], unknown: &[u64], found: &[u64]) -> (u64, u64, u64) {
        let load = Load {
            recipients,
            mailboxes: 9,
            ..Load::default()
        };
        let marker = |number: &u64| (1 << 32) | number;
        let tally = Tally {
            numbered: 4,
            absent: absent.iter().map(marker).collect(),
            unknown: unknown.iter().map(marker).collect(),
            ..Tally::default()
        };
        let shares = [Share {
            load: &load,
            worker: 1,
            tally: &tally,
        }];
        let mut seen = Seen::new(&shares);
        found.iter().for_each(|number| seen.see(marker(number)));
        let (lost, doubled) = seen.judge(&shares[0]);
        (lost, doubled, seen.strange)
    }

    #[test]
    fn each_message_is_found_once_for_each_recipient() {
        for (recipients, absent, unknown, found, expected) in [
            (1, &[][..], &[][..], &[0, 1, 2, 3][..], (0, 0, 0)),
            (1, &[], &[], &[0, 1, 3], (1, 0, 0)),
            (1, &[], &[], &[0, 1, 1, 2, 3], (0, 1, 0)),
            // A double does not make up for a loss.
            (1, &[], &[], &[0, 1, 1, 3], (1, 1, 0)),
            (1, &[2], &[], &[0, 1, 3], (0, 0, 0)),
            (1, &[2], &[], &[0, 1, 2, 3], (0, 1, 0)),
            (1, &[], &[2], &[0, 1, 3], (0, 0, 0)),
            (1, &[], &[2], &[0, 1, 2, 3], (0, 0, 0)),
            (1, &[], &[], &[0, 1, 2, 3, 4], (0, 0, 1)),
            (2, &[], &[], &[0, 0, 1, 1, 2, 2, 3, 3], (0, 0, 0)),
            (2, &[], &[], &[0, 0, 1, 1, 2, 3, 3], (1, 0, 0)),
            // For all recipients or for none.
            (2, &[], &[2], &[0, 0, 1, 1, 2, 3, 3], (1, 0, 0)),
            (2, &[], &[2], &[0, 0, 1, 1, 3, 3], (0, 0, 0)),
        ] {
            assert_eq!(
                judged(recipients, absent, unknown, found),
                expected,
                "{absent:?} {unknown:?} {found:?}"
            );
        }
    }

    #[test]
    fn what_nobody_knows_about_may_be_there_or_not() {
        for (found, expected, unknown, wrong) in [
            (10, 10, 0, 0),
            (9, 10, 0, 1),
            (11, 10, 0, 1),
            (11, 10, 1, 0),
            (12, 10, 1, 1),
        ] {
            let mut sentences = Vec::new();
            between("x", found, expected, unknown, &mut sentences);
            assert_eq!(sentences.len(), wrong, "{found} {expected} {unknown}");
        }
    }
}
