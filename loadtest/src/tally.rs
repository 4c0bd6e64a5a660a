//! What was measured: counts, and latencies as histograms with three significant digits.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest latency that is told apart, in nanoseconds: ten minutes.
const LATENCY_MAX: u64 = 600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// From connect(2) to the whole greeting (in implicit TLS: to the connection, the handshake is apart).
    Connect,
    /// A TLS handshake, from the first byte of it to the last that the client needs.
    Handshake,
    /// From when a message was meant to be sent (closed loop: from when it was begun, with the connection that it needs) to its 250.
    Transaction,
    /// From the end of data leaving to its 250 having come.
    DataTo250,
    /// From the end of data leaving to the event on the mailbox's stream.
    Event,
    /// A page of a mailbox's list, from the request to the whole answer.
    List,
    /// A message, the same.
    Fetch,
    /// How much later than meant the generator itself began; if this is large, the generator was the bottleneck.
    Late,
}

impl Measure {
    pub(crate) const ALL: [Self; 8] = [
        Self::Connect,
        Self::Handshake,
        Self::Transaction,
        Self::DataTo250,
        Self::Event,
        Self::List,
        Self::Fetch,
        Self::Late,
    ];

    /// As in thresholds, JSON and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Transaction => "transaction",
            Self::DataTo250 => "data_to_250",
            Self::Event => "event",
            Self::List => "list",
            Self::Fetch => "fetch",
            Self::Late => "late",
        }
    }
}

/// Latencies of one measure, as they travel between processes and into files: nanoseconds with their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded(pub(crate) Vec<(u64, u64)>);

impl Recorded {
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The least value that so large a share (0 to 1) does not exceed, in nanoseconds; 0 of nothing.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (value, count) in &self.0 {
            seen += count;
            if seen >= wanted {
                return *value;
            }
        }
        self.0.last().map_or(0, |(value, _)| *value)
    }

    pub(crate) fn mean(&self) -> f64 {
        let sum: f64 = self
            .0
            .iter()
            .map(|(value, count)| *value as f64 * *count as f64)
            .sum();
        sum / self.count().max(1) as f64
    }

    /// The same with two significant digits: a hundredth of the size, for files.
    pub(crate) fn coarse(&self) -> Self {
        let mut all: BTreeMap<u64, u64> = BTreeMap::new();
        for (value, count) in &self.0 {
            let step = 10_u64.pow(value.checked_ilog10().unwrap_or(0).saturating_sub(1));
            *all.entry(value.div_ceil(step) * step).or_default() += count;
        }
        Self(all.into_iter().collect())
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let mut all: BTreeMap<u64, u64> = self.0.iter().copied().collect();
        for (value, count) in &other.0 {
            *all.entry(*value).or_default() += count;
        }
        self.0 = all.into_iter().collect();
    }
}

/// What one generator, or all of a load together, has done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tally {
    /// Messages answered with 250.
    pub(crate) accepted: u64,
    /// Their copies: one for each recipient.
    pub(crate) copies: u64,
    /// Bytes of messages, header and end mark included.
    pub(crate) bytes: u64,
    /// Messages, or connections that should have carried one, refused by a reply, by its code.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// What failed otherwise, by what it was.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Messages that nobody wanted to send any more when time was up.
    pub(crate) unsent: u64,
    /// Markers of messages whose fate is not known: the connection ended between the end of data and the reply.
    pub(crate) unknown: Vec<u64>,
    /// Markers of messages that must not be found.
    pub(crate) absent: Vec<u64>,
    /// Markers handed out: all below are accounted for.
    pub(crate) numbered: u64,
    /// Connections opened.
    pub(crate) connections: u64,
    /// Handshakes without and with a ticket.
    pub(crate) handshakes_full: u64,
    pub(crate) handshakes_resumed: u64,
    /// Connections held until the end of the hold, and of those the ones that still answered NOOP.
    pub(crate) held: u64,
    pub(crate) answered: u64,
    /// Connections that the server ended while they were held, by the code of its last reply (0: without a word).
    pub(crate) ended: BTreeMap<u16, u64>,
    /// Copies of messages that event streams told of, and those that they told of again.
    pub(crate) events: u64,
    pub(crate) events_doubled: u64,
    /// Messages that readers got, and those that they got again.
    pub(crate) reads: u64,
    pub(crate) reads_doubled: u64,
    /// Tokens of the mailboxes that the generator created, in order. Never written into results.
    pub(crate) tokens: Vec<String>,
    /// Seconds from the first message, or connection, to the end of the last.
    pub(crate) seconds: f64,
    /// CPU time of the generator itself.
    pub(crate) generator_cpu_seconds: f64,
    /// Latencies.
    pub(crate) latencies: BTreeMap<Measure, Recorded>,
}

impl Tally {
    pub(crate) fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(crate) fn failed_count(&self) -> u64 {
        self.failed.values().sum()
    }

    pub(crate) fn fail(&mut self, what: &str) {
        *self.failed.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn latency(&self, measure: Measure) -> Option<&Recorded> {
        self.latencies
            .get(&measure)
            .filter(|recorded| recorded.count() > 0)
    }

    /// Adds what another process of the same load did at the same time.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.copies += other.copies;
        self.bytes += other.bytes;
        self.unsent += other.unsent;
        self.numbered += other.numbered;
        self.connections += other.connections;
        self.handshakes_full += other.handshakes_full;
        self.handshakes_resumed += other.handshakes_resumed;
        self.held += other.held;
        self.answered += other.answered;
        self.events += other.events;
        self.events_doubled += other.events_doubled;
        self.reads += other.reads;
        self.reads_doubled += other.reads_doubled;
        self.tokens.extend_from_slice(&other.tokens);
        self.seconds = self.seconds.max(other.seconds);
        self.generator_cpu_seconds += other.generator_cpu_seconds;
        self.unknown.extend_from_slice(&other.unknown);
        self.absent.extend_from_slice(&other.absent);
        for (code, count) in &other.refused {
            *self.refused.entry(*code).or_default() += count;
        }
        for (code, count) in &other.ended {
            *self.ended.entry(*code).or_default() += count;
        }
        for (what, count) in &other.failed {
            *self.failed.entry(what.clone()).or_default() += count;
        }
        for (measure, recorded) in &other.latencies {
            self.latencies.entry(*measure).or_default().merge(recorded);
        }
    }
}

/// Histograms while they fill.
#[derive(Debug)]
pub(crate) struct Clocks(Vec<Histogram<u64>>);

impl Clocks {
    pub(crate) fn new() -> Self {
        let empty = || {
            Histogram::new_with_bounds(1_000, LATENCY_MAX, SIGNIFICANT_DIGITS)
                .expect("bounds that the library takes")
        };
        Self(Measure::ALL.iter().map(|_| empty()).collect())
    }

    pub(crate) fn record(&mut self, measure: Measure, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0[measure as usize].saturating_record(nanoseconds);
    }

    pub(crate) fn taken(&self) -> BTreeMap<Measure, Recorded> {
        let all = Measure::ALL.iter().zip(&self.0);
        let filled = all.filter(|(_, histogram)| !histogram.is_empty());
        let recorded = |histogram: &Histogram<u64>| {
            Recorded(
                histogram
                    .iter_recorded()
                    .map(|step| (step.value_iterated_to(), step.count_at_value()))
                    .collect(),
            )
        };
        filled
            .map(|(measure, histogram)| (*measure, recorded(histogram)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_what_was_recorded() {
        let mut clocks = Clocks::new();
        for milliseconds in 1..=1000 {
            clocks.record(Measure::Transaction, Duration::from_millis(milliseconds));
        }
        let taken = clocks.taken();
        assert_eq!(taken.len(), 1);
        let recorded = &taken[&Measure::Transaction];
        assert_eq!(recorded.count(), 1000);
        for (share, milliseconds) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = recorded.quantile(share) as f64 / 1e6;
            assert!(
                (got - milliseconds).abs() / milliseconds < 0.002,
                "{share}: {got}"
            );
        }
        assert!((recorded.mean() / 1e6 - 500.5).abs() < 1.0);
    }

    #[test]
    fn files_have_two_digits() {
        let fine = Recorded(vec![(9, 1), (1_234, 2), (1_299, 3), (987_654, 4)]);
        assert_eq!(fine.coarse().0, [(9, 1), (1_300, 5), (990_000, 4)]);
    }

    #[test]
    fn two_processes_make_one_tally() {
        let one = |value| Tally {
            accepted: 2,
            refused: BTreeMap::from([(452, 1)]),
            seconds: value as f64,
            latencies: BTreeMap::from([(Measure::Connect, Recorded(vec![(10, 1), (value, 1)]))]),
            ..Tally::default()
        };
        let mut both = one(20);
        both.merge(&one(30));
        assert_eq!((both.accepted, both.refused_count()), (4, 2));
        assert!((both.seconds - 30.0).abs() < f64::EPSILON);
        assert_eq!(
            both.latencies[&Measure::Connect].0,
            [(10, 2), (20, 1), (30, 1)]
        );
        assert_eq!(Recorded::default().quantile(0.5), 0);
    }
}
