//! What can be measured: counters, gauges and histograms, alone and by label.
//!
//! Where there is one writer, counting is a plain load, add and store. Where there are several
//! (the process, not the cores), the methods `..._shared` add atomically.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Something that only grows. One writer; any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n` where several threads write.
    pub fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Sets the total, when somebody else keeps the count.
    pub fn set(&self, total: u64) {
        self.0.store(total, Relaxed);
    }

    /// The total so far.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Something that goes up and down. One writer; any number of readers.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.set(self.value().saturating_add(1));
    }

    /// Takes one away.
    pub fn decrement(&self) {
        self.set(self.value().saturating_sub(1));
    }

    /// Adds one where several threads write.
    pub fn increment_shared(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Takes one away where several threads write. Each call follows one [`Gauge::increment_shared`].
    pub fn decrement_shared(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// Its value now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A label whose values are known before any mail comes.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All its values, in the order of [`Label::index`].
    const VALUES: &'static [&'static str];
    /// Which of the values this is.
    fn index(self) -> usize;
}

/// One counter for each value of a label.
#[derive(Debug)]
pub struct Family<L: Label> {
    counters: Box<[Counter]>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label> Default for Family<L> {
    fn default() -> Self {
        Self {
            counters: L::VALUES.iter().map(|_| Counter::default()).collect(),
            label: std::marker::PhantomData,
        }
    }
}

impl<L: Label> Family<L> {
    /// The counter of one value.
    pub fn of(&self, label: L) -> &Counter {
        &self.counters[label.index()]
    }

    /// Every value of the label with its count.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counters.iter().map(Counter::value);
        L::VALUES.iter().copied().zip(counts)
    }

    /// The sum over all values.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counters.iter().map(Counter::value).sum()
    }
}

/// One counter for each pair of values of two labels.
#[derive(Debug)]
pub struct Grid<A: Label, B: Label> {
    counters: Box<[Counter]>,
    labels: std::marker::PhantomData<(A, B)>,
}

impl<A: Label, B: Label> Default for Grid<A, B> {
    fn default() -> Self {
        let count = A::VALUES.len() * B::VALUES.len();
        Self {
            counters: (0..count).map(|_| Counter::default()).collect(),
            labels: std::marker::PhantomData,
        }
    }
}

impl<A: Label, B: Label> Grid<A, B> {
    /// The counter of one pair.
    pub fn of(&self, first: A, second: B) -> &Counter {
        &self.counters[first.index() * B::VALUES.len() + second.index()]
    }
}

/// One counter for each combination of values of three labels.
#[derive(Debug)]
pub struct Cube<A: Label, B: Label, C: Label> {
    counters: Box<[Counter]>,
    labels: std::marker::PhantomData<(A, B, C)>,
}

impl<A: Label, B: Label, C: Label> Default for Cube<A, B, C> {
    fn default() -> Self {
        let count = A::VALUES.len() * B::VALUES.len() * C::VALUES.len();
        Self {
            counters: (0..count).map(|_| Counter::default()).collect(),
            labels: std::marker::PhantomData,
        }
    }
}

impl<A: Label, B: Label, C: Label> Cube<A, B, C> {
    /// The counter of one combination.
    pub fn of(&self, first: A, second: B, third: C) -> &Counter {
        let row = first.index() * B::VALUES.len() + second.index();
        &self.counters[row * C::VALUES.len() + third.index()]
    }
}

/// One gauge for each value of a label.
#[derive(Debug)]
pub struct Levels<L: Label> {
    gauges: Box<[Gauge]>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label> Default for Levels<L> {
    fn default() -> Self {
        Self {
            gauges: L::VALUES.iter().map(|_| Gauge::default()).collect(),
            label: std::marker::PhantomData,
        }
    }
}

impl<L: Label> Levels<L> {
    /// The gauge of one value.
    pub fn of(&self, label: L) -> &Gauge {
        &self.gauges[label.index()]
    }
}

/// One moment for each value of a label, in seconds since 1970. What stands at 0 is not known and not shown.
#[derive(Debug)]
pub struct Moments<L: Label>(Levels<L>);

impl<L: Label> Default for Moments<L> {
    fn default() -> Self {
        Self(Levels::default())
    }
}

impl<L: Label> Moments<L> {
    /// The moment of one value.
    pub fn of(&self, label: L) -> &Gauge {
        self.0.of(label)
    }
}

/// What a histogram measures and where its buckets end.
pub trait Scale: 'static {
    /// Upper ends of the buckets in units of the observed number; the last bucket is open.
    const BOUNDS: &'static [u64];
    /// The same ends as a scrape shows them, in base units.
    const SHOWN: &'static [&'static str];
    /// How many observed units make one base unit (1,000,000 for microseconds shown as seconds).
    const PER_BASE_UNIT: f64;
}

/// A scale for durations, observed in microseconds.
pub trait Time: Scale {}

/// Counts by size class. One writer; any number of readers.
#[derive(Debug)]
pub struct Histogram<S: Scale> {
    buckets: Box<[Counter]>,
    sum: Counter,
    scale: std::marker::PhantomData<S>,
}

impl<S: Scale> Default for Histogram<S> {
    fn default() -> Self {
        Self {
            buckets: (0..=S::BOUNDS.len()).map(|_| Counter::default()).collect(),
            sum: Counter::default(),
            scale: std::marker::PhantomData,
        }
    }
}

impl<S: Scale> Histogram<S> {
    /// Counts one observation.
    pub fn observe(&self, n: u64) {
        let class = S::BOUNDS.partition_point(|end| *end < n);
        self.buckets[class].increment();
        self.sum.add(n);
    }
}

impl<S: Scale> Histogram<S> {
    /// Counts one observation where several threads write.
    pub fn observe_shared(&self, n: u64) {
        let class = S::BOUNDS.partition_point(|end| *end < n);
        self.buckets[class].add_shared(1);
        self.sum.add_shared(n);
    }
}

/// One histogram for each value of a label. Those that have seen nothing are not shown.
#[derive(Debug)]
pub struct Histograms<L: Label, S: Scale> {
    histograms: Box<[Histogram<S>]>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label, S: Scale> Default for Histograms<L, S> {
    fn default() -> Self {
        Self {
            histograms: L::VALUES.iter().map(|_| Histogram::default()).collect(),
            label: std::marker::PhantomData,
        }
    }
}

impl<L: Label, S: Scale> Histograms<L, S> {
    /// The histogram of one value.
    pub fn of(&self, label: L) -> &Histogram<S> {
        &self.histograms[label.index()]
    }
}

/// Durations from half a millisecond to ten seconds, observed in microseconds.
#[derive(Debug)]
pub struct Latency;

impl Scale for Latency {
    const BOUNDS: &'static [u64] = &[
        100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
        1_000_000, 2_500_000, 5_000_000, 10_000_000,
    ];
    const SHOWN: &'static [&'static str] = &[
        "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
        "0.25", "0.5", "1", "2.5", "5", "10",
    ];
    const PER_BASE_UNIT: f64 = 1e6;
}

impl Time for Latency {}

/// How long sessions last: from 5 milliseconds to ten minutes, observed in microseconds.
#[derive(Debug)]
pub struct Stay;

impl Scale for Stay {
    const BOUNDS: &'static [u64] = &[
        5_000,
        10_000,
        25_000,
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        120_000_000,
        300_000_000,
        600_000_000,
    ];
    const SHOWN: &'static [&'static str] = &[
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60",
        "120", "300", "600",
    ];
    const PER_BASE_UNIT: f64 = 1e6;
}

impl Time for Stay {}

impl<S: Time> Histogram<S> {
    /// Counts one duration.
    pub fn observe_duration(&self, span: Duration) {
        self.observe(micros(span));
    }

    /// Counts one duration where several threads write.
    pub fn observe_duration_shared(&self, span: Duration) {
        self.observe_shared(micros(span));
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Message sizes from 1 KiB to 32 MiB.
#[derive(Debug)]
pub struct Size;

impl Scale for Size {
    const BOUNDS: &'static [u64] = &[
        1 << 10,
        4 << 10,
        16 << 10,
        64 << 10,
        256 << 10,
        1 << 20,
        4 << 20,
        16 << 20,
        32 << 20,
    ];
    const SHOWN: &'static [&'static str] = &[
        "1024", "4096", "16384", "65536", "262144", "1048576", "4194304", "16777216", "33554432",
    ];
    const PER_BASE_UNIT: f64 = 1.0;
}

/// A label as it is declared: its name and all values it can have.
pub type LabelSet = (&'static str, &'static [&'static str]);

/// Time, kept in microseconds and shown in seconds.
#[derive(Debug, Default)]
pub struct Seconds(Counter);

impl Seconds {
    /// Sets the total, when somebody else keeps the count.
    pub fn set(&self, total: Duration) {
        self.0.set(micros(total));
    }

    /// Adds a span. One writer.
    pub fn add(&self, span: Duration) {
        self.0.add(micros(span));
    }
}

/// One value of one metric, as it is read for a scrape.
#[derive(Debug)]
pub enum Reading<'a> {
    /// A total.
    Counter(u64),
    /// A level.
    Gauge(u64),
    /// A total of seconds.
    Seconds(f64),
    /// Counts by bucket (the last is open), their shown upper ends, the sum in base units.
    Histogram {
        /// Observations in each bucket, not cumulated.
        buckets: Vec<u64>,
        /// Upper ends, as text, without `+Inf`.
        shown: &'a [&'static str],
        /// Sum of the observations in base units.
        sum: f64,
    },
}

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bucket.
    Histogram,
}

/// The declaration of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Its full name.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// Its sentence.
    pub help: &'static str,
    /// Its labels and all values they can have.
    pub labels: &'static [LabelSet],
}

/// A thing that can be declared as a metric.
pub trait Metric {
    /// What kind it is.
    const KIND: Kind;
    /// Its labels.
    const LABELS: &'static [LabelSet];
    /// Hands each of its values to `each`, with a value for each label.
    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>));
}

impl Metric for Counter {
    const KIND: Kind = Kind::Counter;
    const LABELS: &'static [LabelSet] = &[];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        each(&[], Reading::Counter(self.value()));
    }
}

impl Metric for Gauge {
    const KIND: Kind = Kind::Gauge;
    const LABELS: &'static [LabelSet] = &[];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        each(&[], Reading::Gauge(self.value()));
    }
}

impl<L: Label> Metric for Family<L> {
    const KIND: Kind = Kind::Counter;
    const LABELS: &'static [LabelSet] = &[(L::NAME, L::VALUES)];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        for (counter, value) in self.counters.iter().zip(L::VALUES) {
            each(&[value], Reading::Counter(counter.value()));
        }
    }
}

impl<S: Scale> Histogram<S> {
    #[allow(clippy::cast_precision_loss)] // A sum of microseconds stays exact for 285 years.
    fn reading(&self) -> Reading<'static> {
        Reading::Histogram {
            buckets: self.buckets.iter().map(Counter::value).collect(),
            shown: S::SHOWN,
            sum: self.sum.value() as f64 / S::PER_BASE_UNIT,
        }
    }

    fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.value() == 0)
    }
}

impl<S: Scale> Metric for Histogram<S> {
    const KIND: Kind = Kind::Histogram;
    const LABELS: &'static [LabelSet] = &[];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        each(&[], self.reading());
    }
}

impl<L: Label, S: Scale> Metric for Histograms<L, S> {
    const KIND: Kind = Kind::Histogram;
    const LABELS: &'static [LabelSet] = &[(L::NAME, L::VALUES)];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        for (histogram, value) in self.histograms.iter().zip(L::VALUES) {
            if !histogram.is_empty() {
                each(&[value], histogram.reading());
            }
        }
    }
}

impl<A: Label, B: Label> Metric for Grid<A, B> {
    const KIND: Kind = Kind::Counter;
    const LABELS: &'static [LabelSet] = &[(A::NAME, A::VALUES), (B::NAME, B::VALUES)];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        let pairs = A::VALUES
            .iter()
            .flat_map(|first| B::VALUES.iter().map(move |second| [*first, *second]));
        for (counter, pair) in self.counters.iter().zip(pairs) {
            each(&pair, Reading::Counter(counter.value()));
        }
    }
}

impl<A: Label, B: Label, C: Label> Metric for Cube<A, B, C> {
    const KIND: Kind = Kind::Counter;
    const LABELS: &'static [LabelSet] = &[
        (A::NAME, A::VALUES),
        (B::NAME, B::VALUES),
        (C::NAME, C::VALUES),
    ];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        let mut counters = self.counters.iter();
        for first in A::VALUES {
            for second in B::VALUES {
                for (third, counter) in C::VALUES.iter().zip(&mut counters) {
                    // Most combinations never happen; a series appears with its first count.
                    if counter.value() > 0 {
                        each(&[first, second, third], Reading::Counter(counter.value()));
                    }
                }
            }
        }
    }
}

impl<L: Label> Metric for Levels<L> {
    const KIND: Kind = Kind::Gauge;
    const LABELS: &'static [LabelSet] = &[(L::NAME, L::VALUES)];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        for (gauge, value) in self.gauges.iter().zip(L::VALUES) {
            each(&[value], Reading::Gauge(gauge.value()));
        }
    }
}

impl<L: Label> Metric for Moments<L> {
    const KIND: Kind = Kind::Gauge;
    const LABELS: &'static [LabelSet] = Levels::<L>::LABELS;

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        self.0.read(&mut |labels, reading| match reading {
            Reading::Gauge(0) => {}
            known => each(labels, known),
        });
    }
}

impl Metric for Seconds {
    const KIND: Kind = Kind::Counter;
    const LABELS: &'static [LabelSet] = &[];

    #[allow(clippy::cast_precision_loss)] // Microseconds stay exact for 285 years.
    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        each(&[], Reading::Seconds(self.0.value() as f64 / 1e6));
    }
}
