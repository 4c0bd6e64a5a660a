//! The end of every run: what was sent, what the metrics say was accepted, and what is found in the mailboxes must be the same.

use crate::failure::Failure;
use crate::http;
use crate::job::Load;
use crate::payload;
use crate::results::Counted;
use crate::scenario::Counting;
use crate::server::Server;
use crate::tally::Tally;
use std::collections::{BTreeMap, HashSet};
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

/// Counts, and says what does not agree.
pub(crate) fn count(
    server: &Server,
    counting: Counting,
    domain: &str,
    shares: &[Share<'_>],
) -> Result<(Counted, Vec<String>), Failure> {
    let metrics = server.metrics()?;
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
        Counting::Metrics => {}
        Counting::Markers => by_markers(server, domain, shares, &mut counted)?,
        Counting::Sample => by_sample(server, domain, shares, &mut counted)?,
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
            "{what}: {found}; the generators had {expected} (and {unknown} without an answer)"
        ));
    }
}

fn by_markers(
    server: &Server,
    domain: &str,
    shares: &[Share<'_>],
    counted: &mut Counted,
) -> Result<(), Failure> {
    let mut seen = Seen::new(shares);
    let mut read = HashSet::new();
    for share in shares {
        for mailbox in 0..share.load.mailboxes {
            if !read.insert((share.load.name.clone(), mailbox)) {
                continue;
            }
            let token = token(server.http, domain, share, mailbox)?;
            read_all(server.http, &token, |marker| seen.see(marker))?;
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
fn by_sample(
    server: &Server,
    domain: &str,
    shares: &[Share<'_>],
    counted: &mut Counted,
) -> Result<(), Failure> {
    let mut read = HashSet::new();
    for share in shares {
        if !read.insert(share.load.name.clone()) {
            continue;
        }
        let load = share.load;
        let copies = load.messages * u64::from(load.recipients);
        let step = (load.mailboxes / SAMPLE).max(1);
        for mailbox in (0..load.mailboxes).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let token = token(server.http, domain, share, mailbox)?;
            let mut markers = HashSet::new();
            let mut found = 0;
            read_all(server.http, &token, |marker| {
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

/// The token of a mailbox: what the generator got, or a new one, because whoever creates an address gets what it holds.
fn token(
    api: SocketAddr,
    domain: &str,
    share: &Share<'_>,
    mailbox: u64,
) -> Result<String, Failure> {
    let own = usize::try_from(mailbox)
        .ok()
        .and_then(|mailbox| share.tally.tokens.get(mailbox));
    if let Some(token) = own {
        return Ok(token.clone());
    }
    let body = format!(
        "{{\"local_part\":\"{}-{mailbox}\",\"domain\":\"{domain}\"}}",
        share.load.name
    );
    let created = http::ask(api, "POST", "/api/v1/mailboxes", None, &body)?.json()?;
    let token = created["token"]
        .as_str()
        .ok_or_else(|| Failure::new("a mailbox without a token"))?;
    Ok(token.to_owned())
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
