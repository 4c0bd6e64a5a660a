//! Every metric, declared once, with its sentence.
//!
//! A core owns one [`CoreMetrics`] and is the only one that writes to it, so counting is a plain
//! load, add and store: no locked instruction, no shared cache line. The control plane reads all
//! of them when it is scraped, sums, and publishes. Labels are closed enums; nothing that a
//! stranger sent ever becomes one.

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

/// One gauge for each value of a label. Those that were never set are not shown.
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

/// What a histogram measures and where its buckets end.
pub trait Scale: 'static {
    /// Upper ends of the buckets in units of the observed number; the last bucket is open.
    const BOUNDS: &'static [u64];
    /// The same ends as a scrape shows them, in base units.
    const SHOWN: &'static [&'static str];
    /// How many observed units make one base unit (1,000,000 for microseconds shown as seconds).
    const PER_BASE_UNIT: f64;
}

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

impl Histogram<Latency> {
    /// Counts one duration.
    pub fn observe_duration(&self, span: Duration) {
        self.observe(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }
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
    /// Sets the total.
    pub fn set(&self, total: Duration) {
        self.0
            .set(u64::try_from(total.as_micros()).unwrap_or(u64::MAX));
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

impl<S: Scale> Metric for Histogram<S> {
    const KIND: Kind = Kind::Histogram;
    const LABELS: &'static [LabelSet] = &[];

    #[allow(clippy::cast_precision_loss)] // A sum of microseconds stays exact for 285 years.
    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        each(
            &[],
            Reading::Histogram {
                buckets: self.buckets.iter().map(Counter::value).collect(),
                shown: S::SHOWN,
                sum: self.sum.value() as f64 / S::PER_BASE_UNIT,
            },
        );
    }
}

impl<A: Label, B: Label> Metric for Grid<A, B> {
    const KIND: Kind = Kind::Counter;
    const LABELS: &'static [LabelSet] = &[(A::NAME, A::VALUES), (B::NAME, B::VALUES)];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        let pairs = A::VALUES
            .iter()
            .flat_map(|first| B::VALUES.iter().map(move |second| [*first, *second]));
        // Most pairs never happen; a series appears with its first count.
        for (counter, pair) in self.counters.iter().zip(pairs) {
            if counter.value() > 0 {
                each(&pair, Reading::Counter(counter.value()));
            }
        }
    }
}

impl<L: Label> Metric for Levels<L> {
    const KIND: Kind = Kind::Gauge;
    const LABELS: &'static [LabelSet] = &[(L::NAME, L::VALUES)];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        for (gauge, value) in self.gauges.iter().zip(L::VALUES) {
            if gauge.value() > 0 {
                each(&[value], Reading::Gauge(gauge.value()));
            }
        }
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

/// Declares the enums that serve as labels.
macro_rules! labels {
    ($( $(#[doc = $about:literal])* $name:ident as $label:literal { $( $variant:ident = $word:literal ),* $(,)? } )*) => {$(
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $(
            #[doc = concat!("`", $word, "`")]
            $variant
        ),* }

        impl Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = &[$($word),*];

            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

labels! {
    /// Which kind of SMTP listener a connection came to.
    Listener as "listener" {
        Smtp = "smtp",
        Smtps = "smtps",
    }

    /// An SMTP command, as far as it was understood.
    Command as "command" {
        Data = "data",
        Ehlo = "ehlo",
        Expn = "expn",
        Helo = "helo",
        Help = "help",
        Mail = "mail",
        Noop = "noop",
        Quit = "quit",
        Rcpt = "rcpt",
        Rset = "rset",
        StartTls = "starttls",
        Unknown = "unknown",
        Vrfy = "vrfy",
    }

    /// The code of an SMTP reply.
    ReplyCode as "code" {
        R214 = "214",
        R220 = "220",
        R221 = "221",
        R250 = "250",
        R252 = "252",
        R354 = "354",
        R421 = "421",
        R451 = "451",
        R452 = "452",
        R454 = "454",
        R500 = "500",
        R501 = "501",
        R502 = "502",
        R503 = "503",
        R504 = "504",
        R521 = "521",
        R550 = "550",
        R552 = "552",
        R553 = "553",
        R554 = "554",
        R555 = "555",
    }

    /// Why a connection was turned away before its session began.
    Refused as "reason" {
        ClientConnections = "client_connections",
        Connections = "connections",
        Memory = "memory",
        Rate = "rate",
        Shutdown = "shutdown",
    }

    /// How a session ended.
    Ended as "how" {
        Error = "error",
        Lost = "lost",
        Panic = "panic",
        Quit = "quit",
        Shutdown = "shutdown",
        Timeout = "timeout",
        TlsFailed = "tls_failed",
    }

    /// What a peer did wrong.
    Offence as "offence" {
        BareNewline = "bare_newline",
        LineTooLong = "line_too_long",
        NulByte = "nul_byte",
        PipelinedBehindStartTls = "pipelined_behind_starttls",
        Sequence = "sequence",
        Syntax = "syntax",
        TooManyErrors = "too_many_errors",
        TooManyJunkCommands = "too_many_junk_commands",
    }

    /// What became of a recipient.
    RecipientResult as "result" {
        Accepted = "accepted",
        MailboxFull = "mailbox_full",
        NoSuchMailbox = "no_such_mailbox",
        RelayDenied = "relay_denied",
        TooMany = "too_many",
        TryLater = "try_later",
    }

    /// Why a message was refused after its recipients had been accepted.
    Rejected as "reason" {
        BareNewline = "bare_newline",
        Memory = "memory",
        NulByte = "nul_byte",
        TooBig = "too_big",
        TooManyHops = "too_many_hops",
        TryLater = "try_later",
    }

    /// How a TLS handshake ended.
    Handshake as "result" {
        Failed = "failed",
        Full = "full",
        Resumed = "resumed",
        TimedOut = "timed_out",
        TooMany = "too_many",
    }

    /// Why a stored copy of a message went.
    Gone as "reason" {
        Deleted = "deleted",
        Evicted = "evicted",
        Expired = "expired",
    }
}

/// Declares a struct of metrics.
macro_rules! metrics {
    ($(#[doc = $about:literal])+ $(#[repr($layout:meta)])? pub struct $set:ident; $( $(#[doc = $help:literal])+ $field:ident as $name:literal : $ty:ty ),* $(,)?) => {
        $(#[doc = $about])+
        #[derive(Debug, Default)]
        $(#[repr($layout)])?
        pub struct $set { $( $(#[doc = $help])+ pub $field: $ty ),* }

        impl $set {
            /// Every metric of it.
            pub const DECLARATIONS: &'static [Declaration] = &[$( Declaration {
                name: $name,
                kind: <$ty as Metric>::KIND,
                help: concat!($($help),+),
                labels: <$ty as Metric>::LABELS,
            } ),*];

            /// Hands each value of each metric to `each`: declaration, a value for each label, reading.
            pub fn read(&self, each: &mut dyn FnMut(&'static Declaration, &[&'static str], Reading<'_>)) {
                let mut declarations = Self::DECLARATIONS.iter();
                $( if let Some(declaration) = declarations.next() {
                    Metric::read(&self.$field, &mut |labels, reading| each(declaration, labels, reading));
                } )*
            }
        }
    };
}

/// What one core counts is summed over the cores, but for these, which are shown for each core.
pub const PER_CORE: &[&str] = &[
    "mayfly_smtp_connections",
    "mayfly_store_mailboxes",
    "mayfly_store_messages",
];

metrics! {
    /// What one core counts. The core is the only writer.
    #[repr(align(128))]
    pub struct CoreMetrics;
    /// Connections accepted, by kind of listener.
    smtp_connections_total as "mayfly_smtp_connections_total": Family<Listener>,
    /// Connections open now.
    smtp_connections as "mayfly_smtp_connections": Gauge,
    /// Connections turned away with a 421 before a session began.
    smtp_connections_refused as "mayfly_smtp_connections_refused_total": Family<Refused>,
    /// Sessions that ended, by how.
    smtp_sessions_ended as "mayfly_smtp_sessions_ended_total": Family<Ended>,
    /// Failed accepts. Accepting pauses when descriptors run out, so this grows slowly even then.
    smtp_accept_errors as "mayfly_smtp_accept_errors_total": Counter,
    /// Commands read.
    smtp_commands as "mayfly_smtp_commands_total": Family<Command>,
    /// Replies sent.
    smtp_replies as "mayfly_smtp_replies_total": Family<ReplyCode>,
    /// What peers did wrong.
    smtp_offences as "mayfly_smtp_protocol_offences_total": Family<Offence>,
    /// Messages answered with 250 after their data.
    messages_accepted as "mayfly_messages_accepted_total": Counter,
    /// Messages refused after their recipients had been accepted.
    messages_rejected as "mayfly_messages_rejected_total": Family<Rejected>,
    /// Messages stored whose 250 could not be sent, because the connection was lost; the sender will send them again.
    messages_unconfirmed as "mayfly_messages_unconfirmed_total": Counter,
    /// Transactions that ended before their message was complete.
    transactions_aborted as "mayfly_smtp_transactions_aborted_total": Counter,
    /// Recipients, by what became of them.
    recipients as "mayfly_message_recipients_total": Family<RecipientResult>,
    /// Bytes of accepted messages, trace headers included.
    message_bytes as "mayfly_message_bytes_total": Counter,
    /// Sizes of accepted messages.
    message_size as "mayfly_message_size_bytes": Histogram<Size>,
    /// Time from the end of data to the reply being handed to the kernel.
    data_ack as "mayfly_smtp_data_ack_duration_seconds": Histogram<Latency>,
    /// TLS handshakes, by how they ended.
    tls_handshakes as "mayfly_tls_handshakes_total": Family<Handshake>,
    /// Time that successful TLS handshakes took, the peer's share included.
    tls_handshake_duration as "mayfly_tls_handshake_duration_seconds": Histogram<Latency>,
    /// Mailboxes that exist now.
    store_mailboxes as "mayfly_store_mailboxes": Gauge,
    /// Copies of messages held now.
    store_messages as "mayfly_store_messages": Gauge,
    /// Copies of messages put into mailboxes.
    store_delivered as "mayfly_store_delivered_total": Counter,
    /// Copies of messages that went, by why.
    store_gone as "mayfly_store_gone_total": Family<Gone>,
    /// Mailboxes whose time was up.
    store_mailboxes_expired as "mayfly_store_mailboxes_expired_total": Counter,
    /// How far behind its promise the last expiry was.
    store_expiry_lag as "mayfly_store_expiry_lag_seconds": Histogram<Latency>,
    /// Watchers dropped because they did not keep up.
    store_watchers_dropped as "mayfly_store_watchers_dropped_total": Counter,
    /// Requests from other cores and from the control plane.
    inbox_requests as "mayfly_inbox_requests_total": Counter,
    /// Requests refused because this core's inbox was full.
    inbox_full as "mayfly_inbox_full_total": Counter,
    /// Turns of the core's loop.
    loop_turns as "mayfly_core_loop_turns_total": Counter,
    /// Time that turns of the core's loop took, waiting excluded.
    loop_busy as "mayfly_core_loop_turn_duration_seconds": Histogram<Latency>,
    /// Times the pool of receive buffers ran dry.
    buffers_exhausted as "mayfly_core_receive_buffers_exhausted_total": Counter,
}

pub mod process;

/// Every metric that a scrape can show.
pub fn declarations() -> impl Iterator<Item = &'static Declaration> {
    CoreMetrics::DECLARATIONS
        .iter()
        .chain(process::ProcessMetrics::DECLARATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_and_are_unique() {
        let mut seen = std::collections::HashSet::new();
        for metric in declarations() {
            assert!(
                seen.insert(metric.name),
                "{} is declared twice",
                metric.name
            );
            let prefixes = ["mayfly_", "process_"];
            assert!(
                prefixes
                    .iter()
                    .any(|prefix| metric.name.starts_with(prefix)),
                "{}",
                metric.name
            );
            assert!(
                metric.help.trim_end().ends_with('.'),
                "{} needs a sentence",
                metric.name
            );
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == Kind::Counter, "{}", metric.name);
        }
    }

    #[test]
    fn every_declared_metric_is_read() {
        let metrics = CoreMetrics::default();
        metrics.smtp_commands.of(Command::Mail).add(3);
        metrics.message_size.observe(2000);
        let mut names = Vec::new();
        let mut mails = 0;
        metrics.read(&mut |declaration, labels, reading| {
            if names.last() != Some(&declaration.name) {
                names.push(declaration.name);
            }
            if let (["mail"], Reading::Counter(n)) = (labels, &reading) {
                mails = *n;
            }
            if let ("mayfly_message_size_bytes", Reading::Histogram { buckets, .. }) =
                (declaration.name, reading)
            {
                assert_eq!(buckets[..3], [0, 1, 0]);
            }
        });
        assert_eq!(names.len(), CoreMetrics::DECLARATIONS.len());
        assert_eq!(mails, 3);
    }

    #[test]
    fn shown_bounds_belong_to_the_bounds() {
        assert_eq!(Latency::BOUNDS.len(), Latency::SHOWN.len());
        assert_eq!(Size::BOUNDS.len(), Size::SHOWN.len());
    }
}
