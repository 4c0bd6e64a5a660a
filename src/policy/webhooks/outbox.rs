//! What is sent next: deliveries to many URLs, with retries, a breaker for each URL, and a bound on everything.
//!
//! Nothing here sends. Whoever does asks [`Outbox::next`] what to try, and settles each attempt. What a delivery is about
//! is not known here either (`J`): a few numbers that find the message, if it is still there when its turn has come.
//!
//! # Who is next
//!
//! A URL stands in the agenda once, at the time when its first delivery may be tried. Whoever was tried goes behind those
//! that were due before now, so a URL with much to do takes turns with the others. One that fails or is slow takes at most
//! its own places: `at_once_per_url` of them, its host `at_once_per_host`, and none while its breaker is open, or for a while
//! after an attempt that could not be made.

#![forbid(unsafe_code)]

use super::Rules;
use crate::breaker::{Breaker, Outcome, Pass, State};
use crate::clock::Instant;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

/// How long the failures of a URL are remembered for which nothing waits.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Where a delivery goes. Both are keyed hashes, so no stranger can aim at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Of the whole URL.
    pub url: u64,
    /// Of its host and port.
    pub host: u64,
}

/// An attempt that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What is to be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt<J> {
    /// By which it is settled.
    pub ticket: Ticket,
    /// What it is about.
    pub job: J,
    /// Which attempt this is, from 1.
    pub nth: u32,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its receiver has it.
    Delivered,
    /// It has not; it wants to be left alone for so long, if it said so.
    Failed(Option<Duration>),
    /// It has not, and trying again would not help.
    Refused,
    /// There is nothing to deliver any more, or nobody to deliver it to.
    Vanished,
    /// Something on our side was too busy: no attempt was made. That is no try of the delivery and says nothing of its receiver.
    Postponed,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Delivered,
    /// It is tried again, not before then.
    Waits(Instant),
    /// It was tried often enough, or trying again would not help.
    GivenUp,
    /// It is not needed any more.
    Vanished,
}

/// Why a delivery was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many as there may be.
    Queue,
    /// There are as many for this URL as there may be.
    UrlQueue,
    /// There are as many URLs as there may be.
    Urls,
}

/// What has been counted since it was asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Breakers that went from one state to another, in order.
    pub turns: Vec<(State, State)>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Outbox<J> {
    urls: HashMap<u64, Endpoint<J>>,
    hosts: HashMap<u64, HostLoad>,
    running: BTreeMap<Ticket, Running<J>>,
    agenda: BTreeSet<(Instant, u64, u64)>,
    /// Deliveries that wait.
    waiting: usize,
    /// URLs by the state of their breaker.
    states: [usize; 3],
    /// Given to deliveries, attempts and places in the agenda.
    numbers: u64,
    tally: Tally,
}

#[derive(Debug)]
struct Endpoint<J> {
    host: u64,
    breaker: Breaker,
    waiting: BinaryHeap<Reverse<Delivery<J>>>,
    running: u32,
    /// Its place in the agenda.
    listed: Option<(Instant, u64)>,
    /// Whether it stands in line at its host instead.
    in_line: bool,
    /// Until when it is left alone, because an attempt was postponed.
    rests_until: Option<Instant>,
    /// When its failures are forgotten, if nothing is to be done for it until then.
    forgotten_at: Option<Instant>,
}

/// What one host has to do.
#[derive(Debug, Default)]
struct HostLoad {
    running: u32,
    /// URLs that wait for one of its places.
    line: VecDeque<u64>,
}

#[derive(Debug)]
struct Running<J> {
    url: u64,
    pass: Pass,
    delivery: Delivery<J>,
}

/// Ordered by when it is due, then by when it came.
#[derive(Clone, Copy, Debug)]
struct Delivery<J> {
    due: Instant,
    number: u64,
    job: J,
    /// Attempts that were made.
    attempts: u32,
}

impl<J> PartialEq for Delivery<J> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<J> Eq for Delivery<J> {}

impl<J> PartialOrd for Delivery<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> Ord for Delivery<J> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl<J> Default for Outbox<J> {
    fn default() -> Self {
        Self {
            urls: HashMap::new(),
            hosts: HashMap::new(),
            running: BTreeMap::new(),
            agenda: BTreeSet::new(),
            waiting: 0,
            states: [0; 3],
            numbers: 0,
            tally: Tally::default(),
        }
    }
}

impl<J: Copy> Outbox<J> {
    /// Takes a delivery.
    ///
    /// # Errors
    /// Why there is no room for it.
    pub fn add(
        &mut self,
        to: Destination,
        job: J,
        rules: &Rules,
        now: Instant,
    ) -> Result<(), Refused> {
        if self.waiting + self.running.len() >= rules.queue_max as usize {
            return Err(Refused::Queue);
        }
        let known = self.urls.get(&to.url);
        if known.is_none() && self.urls.len() >= rules.urls_max as usize {
            return Err(Refused::Urls);
        }
        if known.is_some_and(|it| it.load() >= rules.queue_per_url_max as usize) {
            return Err(Refused::UrlQueue);
        }
        let number = self.number();
        let endpoint = self.urls.entry(to.url).or_insert_with(|| {
            self.states[State::Closed as usize] += 1;
            Endpoint {
                host: to.host,
                breaker: Breaker::new(),
                waiting: BinaryHeap::new(),
                running: 0,
                listed: None,
                in_line: false,
                rests_until: None,
                forgotten_at: None,
            }
        });
        endpoint.forgotten_at = None;
        endpoint.waiting.push(Reverse(Delivery {
            due: now,
            number,
            job,
            attempts: 0,
        }));
        self.waiting += 1;
        self.list(to.url, rules, now);
        Ok(())
    }

    /// What is to be tried now, if anything is.
    pub fn next(&mut self, rules: &Rules, now: Instant) -> Option<Attempt<J>> {
        while self.running.len() < rules.at_once.max(1) as usize {
            let (due, _, url) = *self.agenda.first().filter(|(due, ..)| *due <= now)?;
            self.unlist(url);
            let Some(endpoint) = self.urls.get_mut(&url) else {
                debug_assert!(false, "what is in the agenda is known ({due:?})");
                continue;
            };
            if let Some(host) = self.hosts.get_mut(&endpoint.host)
                && host.running >= rules.at_once_per_host.max(1)
                && !endpoint.waiting.is_empty()
            {
                endpoint.in_line = true;
                host.line.push_back(url);
                continue;
            }
            let attempt = self.start(url, now);
            self.rest(url, rules, now);
            if attempt.is_some() {
                return attempt;
            }
        }
        None
    }

    /// When [`Self::next`] should be asked again, if nothing happens before.
    #[must_use]
    pub fn due(&self, rules: &Rules) -> Option<Instant> {
        let has_place = self.running.len() < rules.at_once.max(1) as usize;
        let first = self.agenda.first().filter(|_| has_place);
        first.map(|(due, ..)| *due)
    }

    /// Learns how an attempt ended; `random` decides how long the next one waits. `None`: it was forgotten meanwhile.
    pub fn settle(
        &mut self,
        ticket: Ticket,
        ended: Ended,
        random: u64,
        rules: &Rules,
        now: Instant,
    ) -> Option<Fate> {
        let Running {
            url,
            pass,
            mut delivery,
        } = self.running.remove(&ticket)?;
        let outcome = match ended {
            Ended::Delivered => Outcome::Succeeded,
            Ended::Failed(_) | Ended::Refused => Outcome::Failed,
            Ended::Vanished | Ended::Postponed => Outcome::Abandoned,
        };
        self.turn(url, |breaker| {
            breaker.settle(pass, outcome, rules.patience(), now);
        });
        let wait = wait(delivery.attempts + 1, random, rules);
        let fate = match ended {
            Ended::Delivered => Fate::Delivered,
            Ended::Failed(_) if delivery.attempts + 1 >= rules.attempts_max => Fate::GivenUp,
            Ended::Failed(rest) => {
                delivery.attempts += 1;
                let rest = rest.unwrap_or_default().min(rules.retry_wait_max.0);
                Fate::Waits(now.plus(wait.max(rest)))
            }
            Ended::Refused => Fate::GivenUp,
            Ended::Vanished => Fate::Vanished,
            Ended::Postponed => Fate::Waits(self.postpone(url, wait, random, rules, now)),
        };
        if let (Fate::Waits(due), Some(endpoint)) = (fate, self.urls.get_mut(&url)) {
            delivery.due = due;
            endpoint.waiting.push(Reverse(delivery));
            self.waiting += 1;
        }
        self.leave(url, rules, now);
        Some(fate)
    }

    /// Drops what `which` says of all that is for a URL. Returns the attempts that are under way for it: they are
    /// forgotten too, and should be broken off.
    pub fn forget(
        &mut self,
        url: u64,
        which: impl Fn(&J) -> bool,
        rules: &Rules,
        now: Instant,
    ) -> Forgotten {
        let Some(endpoint) = self.urls.get_mut(&url) else {
            return Forgotten::default();
        };
        let host = endpoint.host;
        let before = endpoint.waiting.len();
        endpoint.waiting.retain(|Reverse(it)| !which(&it.job));
        let waiting = before - endpoint.waiting.len();
        self.waiting -= waiting;
        let is_meant = |it: &Running<J>| it.url == url && which(&it.delivery.job);
        let running = self.running.iter().filter(|(_, it)| is_meant(it));
        let running: Vec<Ticket> = running.map(|(ticket, _)| *ticket).collect();
        for ticket in &running {
            self.settle(*ticket, Ended::Vanished, 0, rules, now);
        }
        self.rest(url, rules, now);
        self.wake(host, rules, now);
        Forgotten { waiting, running }
    }

    /// Drops everything. Returns how many waited, and the attempts that are under way.
    pub fn clear(&mut self) -> Forgotten {
        let (tally, numbers) = (std::mem::take(&mut self.tally), self.numbers);
        let all = std::mem::take(self);
        (self.tally, self.numbers) = (tally, numbers);
        Forgotten {
            waiting: all.waiting,
            running: all.running.into_keys().collect(),
        }
    }

    /// Deliveries that wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Attempts that are under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// URLs whose breaker is in a state.
    #[must_use]
    pub const fn urls(&self, state: State) -> usize {
        self.states[state as usize]
    }

    /// What was counted since this was asked last.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Begins an attempt, if there is something to try and its breaker lets it pass.
    fn start(&mut self, url: u64, now: Instant) -> Option<Attempt<J>> {
        let endpoint = self.urls.get_mut(&url)?;
        endpoint.waiting.peek().filter(|it| it.0.due <= now)?;
        if endpoint.rests_until.is_some_and(|until| until > now) {
            return None;
        }
        let pass = self.turn(url, |breaker| breaker.pass(now))?.ok()?;
        let endpoint = self.urls.get_mut(&url)?;
        let Reverse(delivery) = endpoint.waiting.pop()?;
        endpoint.running += 1;
        self.hosts.entry(endpoint.host).or_default().running += 1;
        self.waiting -= 1;
        let ticket = Ticket(self.number());
        let (job, nth) = (delivery.job, delivery.attempts + 1);
        self.running.insert(
            ticket,
            Running {
                url,
                pass,
                delivery,
            },
        );
        Some(Attempt { ticket, job, nth })
    }

    /// Nothing of a URL is tried for a while: whatever was too busy would be asked in vain, and would keep a place from the
    /// others meanwhile. Returns when the delivery is due whose attempt was postponed.
    fn postpone(
        &mut self,
        url: u64,
        wait: Duration,
        random: u64,
        rules: &Rules,
        now: Instant,
    ) -> Instant {
        let until = now.plus(rest(random, rules));
        if let Some(endpoint) = self.urls.get_mut(&url) {
            endpoint.rests_until = endpoint.rests_until.max(Some(until));
        }
        until.max(now.plus(wait))
    }

    /// An attempt for a URL has ended: others may have its places, who stood in line first.
    fn leave(&mut self, url: u64, rules: &Rules, now: Instant) {
        let Some(endpoint) = self.urls.get_mut(&url) else {
            return;
        };
        endpoint.running = endpoint.running.saturating_sub(1);
        let host = endpoint.host;
        if let Some(load) = self.hosts.get_mut(&host) {
            load.running = load.running.saturating_sub(1);
        }
        self.wake(host, rules, now);
        self.rest(url, rules, now);
    }

    /// Gives the first in line that can be tried now its turn, if their host has a place. Those that must wait for something
    /// else leave the line: the agenda knows when.
    fn wake(&mut self, host: u64, rules: &Rules, now: Instant) {
        let most = rules.at_once_per_host.max(1);
        while let Some(load) = self.hosts.get_mut(&host).filter(|it| it.running < most)
            && let Some(next) = load.line.pop_front()
        {
            let Some(endpoint) = self.urls.get_mut(&next) else {
                continue;
            };
            endpoint.in_line = false;
            self.list(next, rules, now);
            let is_next = |it: &Endpoint<J>| {
                !it.waiting.is_empty() && it.listed.is_some_and(|(at, _)| at <= now)
            };
            if self.urls.get(&next).is_some_and(is_next) {
                break;
            }
        }
        let idle = |it: &HostLoad| it.running == 0 && it.line.is_empty();
        if self.hosts.get(&host).is_some_and(idle) {
            self.hosts.remove(&host);
        }
    }

    /// Gives a URL its place in the agenda, or takes it away. One that is due already keeps its turn.
    fn list(&mut self, url: u64, rules: &Rules, now: Instant) {
        let Some(endpoint) = self.urls.get_mut(&url) else {
            return;
        };
        let is_full = endpoint.running >= rules.at_once_per_url.max(1);
        let at = match endpoint.waiting.peek() {
            None => endpoint.forgotten_at,
            Some(_) if endpoint.in_line || is_full => None,
            Some(Reverse(first)) => {
                let passes = endpoint.breaker.passes_at(now);
                let due = first.due.max(endpoint.rests_until.unwrap_or(first.due));
                passes.map(|passes| passes.max(due))
            }
        };
        let keeps = |(before, _): (Instant, u64)| at.is_some_and(|at| before <= at && at <= now);
        if endpoint.listed.is_some_and(keeps) {
            return;
        }
        self.unlist(url);
        let number = self.number();
        if let (Some(at), Some(endpoint)) = (at, self.urls.get_mut(&url)) {
            endpoint.listed = Some((at, number));
            self.agenda.insert((at, number, url));
        }
    }

    fn unlist(&mut self, url: u64) {
        if let Some(endpoint) = self.urls.get_mut(&url)
            && let Some((at, number)) = endpoint.listed.take()
        {
            self.agenda.remove(&(at, number, url));
        }
    }

    /// Forgets a URL for which there is nothing to do, now or when its failures are old.
    fn rest(&mut self, url: u64, rules: &Rules, now: Instant) {
        let Some(endpoint) = self.urls.get_mut(&url) else {
            return;
        };
        if endpoint.load() == 0 {
            let until = *endpoint
                .forgotten_at
                .get_or_insert_with(|| now.plus(REMEMBERED));
            if endpoint.breaker.is_fresh() || until <= now {
                self.unlist(url);
                if let Some(gone) = self.urls.remove(&url) {
                    self.states[gone.breaker.state() as usize] -= 1;
                    if gone.in_line
                        && let Some(load) = self.hosts.get_mut(&gone.host)
                    {
                        load.line.retain(|it| *it != url);
                    }
                }
                return;
            }
        }
        self.list(url, rules, now);
    }

    /// Does something to a URL's breaker, and writes down what it became.
    fn turn<T>(&mut self, url: u64, act: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        let breaker = &mut self.urls.get_mut(&url)?.breaker;
        let before = breaker.state();
        let done = act(breaker);
        let after = breaker.state();
        if before != after {
            self.states[before as usize] -= 1;
            self.states[after as usize] += 1;
            self.tally.turns.push((before, after));
        }
        Some(done)
    }

    /// Recomputes everything that is counted along the way. Slow.
    ///
    /// # Panics
    /// When the books do not balance.
    pub fn check(&self) {
        let (mut waiting, mut listed, mut states) = (0, 0, [0; 3]);
        let mut of_hosts: HashMap<u64, u32> = HashMap::new();
        for (url, endpoint) in &self.urls {
            waiting += endpoint.waiting.len();
            states[endpoint.breaker.state() as usize] += 1;
            let running = self.running.values().filter(|it| it.url == *url).count();
            assert_eq!(endpoint.running as usize, running, "attempts for a URL");
            *of_hosts.entry(endpoint.host).or_default() += endpoint.running;
            if let Some((at, number)) = endpoint.listed {
                listed += 1;
                assert!(
                    self.agenda.contains(&(at, number, *url)),
                    "is in the agenda"
                );
            }
            let line = self.hosts.get(&endpoint.host).map(|it| &it.line);
            let in_line = line.is_some_and(|line| line.contains(url));
            assert_eq!(endpoint.in_line, in_line, "stands in line or not");
            let quiet = endpoint.listed.is_none() && !endpoint.in_line;
            assert!(
                !quiet || endpoint.running > 0,
                "nothing would ever wake a URL"
            );
        }
        assert_eq!(self.waiting, waiting);
        assert_eq!(self.agenda.len(), listed);
        assert_eq!(self.states, states);
        for (host, load) in &self.hosts {
            assert_eq!(load.running, of_hosts.remove(host).unwrap_or(0));
            let is_listed = |it: &Endpoint<J>| {
                it.host == *host && it.listed.is_some() && !it.waiting.is_empty()
            };
            assert!(
                load.running > 0 || load.line.is_empty() || self.urls.values().any(is_listed),
                "nothing would ever wake a line"
            );
            assert!(
                load.line.iter().all(|url| self.urls.contains_key(url)),
                "nobody stands in line who is gone"
            );
        }
        assert!(of_hosts.values().all(|running| *running == 0));
    }
}

impl<J> Endpoint<J> {
    /// Deliveries that wait or are under way.
    fn load(&self) -> usize {
        self.waiting.len() + self.running as usize
    }
}

/// What was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Deliveries that waited.
    pub waiting: usize,
    /// Attempts that are under way.
    pub running: Vec<Ticket>,
}

/// How long to wait before the attempt after `attempts` of them: "full jitter", anything up to a bound that doubles.
fn wait(attempts: u32, random: u64, rules: &Rules) -> Duration {
    let doubled = 1_u32.checked_shl(attempts.saturating_sub(1));
    let longest = doubled.and_then(|times| rules.retry_wait.0.checked_mul(times));
    let longest = longest.map_or(rules.retry_wait_max.0, |it| it.min(rules.retry_wait_max.0));
    drawn(longest, random)
}

/// How long a URL rests whose attempt was postponed: as long as the longest first wait, or down to half of it.
fn rest(random: u64, rules: &Rules) -> Duration {
    let half = rules.retry_wait.0.min(rules.retry_wait_max.0) / 2;
    half + drawn(half, random)
}

/// Anything up to a bound, by lot.
fn drawn(longest: Duration, random: u64) -> Duration {
    let micros = (longest.as_micros() * u128::from(random)) >> 64;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
