//! Every metric, declared once, with its sentence.
//!
//! A core owns one [`CoreMetrics`] and is the only one that writes to it, so counting is a plain
//! load, add and store: no locked instruction, no shared cache line. The control plane reads all
//! of them when it is scraped, sums, and publishes. Labels are closed enums; nothing that a
//! stranger sent ever becomes one.

#![forbid(unsafe_code)]

mod measure;

pub use measure::{
    Counter, Cube, Declaration, Family, Gauge, Grid, Histogram, Histograms, Kind, Label, LabelSet,
    Latency, Levels, Metric, Moments, Reading, Scale, Seconds, Size, Stay, Time,
};

/// Declares the enums that serve as labels.
macro_rules! labels {
    ($( $(#[doc = $about:literal])* $name:ident as $label:literal { $( $variant:ident = $word:literal ),* $(,)? } )*) => {$(
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        Bdat = "bdat",
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
        Xclient = "xclient",
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
        R450 = "450",
        R451 = "451",
        R452 = "452",
        R454 = "454",
        R500 = "500",
        R501 = "501",
        R502 = "502",
        R503 = "503",
        R521 = "521",
        R550 = "550",
        R551 = "551",
        R552 = "552",
        R553 = "553",
        R554 = "554",
        R555 = "555",
    }

    /// Why a connection was turned away before its session began.
    Refused as "reason" {
        ClientConnections = "client_connections",
        ClientRate = "client_rate",
        Connections = "connections",
        EarlyTalker = "early_talker",
        Memory = "memory",
        Pressure = "pressure",
        Proxy = "proxy",
        Rate = "rate",
        Shutdown = "shutdown",
    }

    /// How much strain the process is under.
    Pressure as "level" {
        Normal = "normal",
        Strained = "strained",
        Overloaded = "overloaded",
        Refusing = "refusing",
    }

    /// What one client had too much of in a minute.
    ClientLimit as "limit" {
        Aborted = "aborted",
        Bytes = "bytes",
        Connections = "connections",
        FailedRecipients = "failed_recipients",
        Messages = "messages",
        Recipients = "recipients",
        TlsFailures = "tls_failures",
    }

    /// Why a connection could not be accepted.
    AcceptError as "reason" {
        Aborted = "aborted",
        Descriptors = "descriptors",
        Memory = "memory",
        Other = "other",
    }

    /// How far a session had come.
    Progress as "stage" {
        Connected = "connected",
        Data = "data",
        Envelope = "envelope",
        Greeted = "greeted",
        Storing = "storing",
        Tls = "tls",
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
        PipelinedTooEarly = "pipelined_too_early",
        Sequence = "sequence",
        Syntax = "syntax",
        TooManyErrors = "too_many_errors",
        TooManyJunkCommands = "too_many_junk_commands",
    }

    /// What became of a recipient.
    RecipientResult as "result" {
        Accepted = "accepted",
        Busy = "busy",
        MailboxFull = "mailbox_full",
        Memory = "memory",
        NoSuchMailbox = "no_such_mailbox",
        RelayDenied = "relay_denied",
        TooMany = "too_many",
        TryLater = "try_later",
        UsedUp = "used_up",
    }

    /// Where in its transaction a message was refused.
    RejectedAt as "stage" {
        Chunk = "chunk",
        Data = "data",
        Mail = "mail",
        Message = "message",
    }

    /// Why a message was refused.
    Rejected as "reason" {
        Attachment = "attachment",
        BareNewline = "bare_newline",
        EmptyChunk = "empty_chunk",
        Memory = "memory",
        NulByte = "nul_byte",
        TooBig = "too_big",
        TooManyHops = "too_many_hops",
        TooManyMessages = "too_many_messages",
        TryLater = "try_later",
    }

    /// How a TLS handshake ended.
    Handshake as "result" {
        Failed = "failed",
        Full = "full",
        Resumed = "resumed",
        TimedOut = "timed_out",
    }

    /// The version of TLS that a handshake agreed on; one that failed agreed on none.
    TlsVersion as "version" {
        None = "none",
        Tls12 = "tls12",
        Tls13 = "tls13",
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
    "mayfly_core_busy_seconds_total",
    "mayfly_core_cpu_seconds_total",
    "mayfly_core_loop_stalls_total",
    "mayfly_core_run_delay_seconds_total",
    "mayfly_core_tasks",
    "mayfly_inbox_full_total",
    "mayfly_inbox_waiting_requests",
    "mayfly_smtp_connections",
    "mayfly_store_mailboxes",
    "mayfly_store_messages",
];

metrics! {
    /// What one core counts. The core is the only writer, but for what a scrape looks up: the depth of its inbox, and what the
    /// kernel says of its thread.
    #[repr(align(128))]
    pub struct CoreMetrics;
    /// Connections accepted, by kind of listener.
    smtp_connections_total as "mayfly_smtp_connections_total": Family<Listener>,
    /// Connections open now.
    smtp_connections as "mayfly_smtp_connections": Gauge,
    /// Connections turned away before a session began: with a 421, early talkers with a 554, those without the PROXY
    /// header that they need without a word.
    smtp_connections_refused as "mayfly_smtp_connections_refused_total": Family<Refused>,
    /// Times that a client was refused something because it had had too much of it in the last minute.
    client_limits_hit as "mayfly_client_limits_hit_total": Family<ClientLimit>,
    /// Steps to a level of pressure, by the level that was reached.
    pressure_steps as "mayfly_pressure_steps_total": Family<Pressure>,
    /// Sessions that ended, by how, and by how far they had come when the client was last waited for.
    smtp_sessions_ended as "mayfly_smtp_sessions_ended_total": Grid<Ended, Progress>,
    /// Connections that a proxy opened for itself, to see whether mayfly lives. They are in none of the other counts of
    /// connections and sessions.
    smtp_health_checks as "mayfly_smtp_health_checks_total": Counter,
    /// Time from accepting a connection to its end.
    smtp_session_duration as "mayfly_smtp_session_duration_seconds": Histogram<Stay>,
    /// Failed accepts, by why. Accepting pauses when descriptors run out, so this grows slowly even then.
    smtp_accept_errors as "mayfly_smtp_accept_errors_total": Family<AcceptError>,
    /// Commands read.
    smtp_commands as "mayfly_smtp_commands_total": Family<Command>,
    /// Replies sent.
    smtp_replies as "mayfly_smtp_replies_total": Family<ReplyCode>,
    /// What peers did wrong.
    smtp_offences as "mayfly_smtp_protocol_offences_total": Family<Offence>,
    /// Messages answered with 250 after their data.
    messages_accepted as "mayfly_messages_accepted_total": Counter,
    /// Messages refused, by where in their transaction and why: at MAIL, at DATA, at a chunk of BDAT, or behind the whole
    /// message. Refused recipients are counted by themselves.
    messages_rejected as "mayfly_messages_rejected_total": Grid<RejectedAt, Rejected>,
    /// Messages stored whose 250 could not be sent, because the connection was lost; the sender will send them again.
    messages_unconfirmed as "mayfly_messages_unconfirmed_total": Counter,
    /// Transactions that ended before their message was complete, by a command or because their time was up. Those lost with their
    /// connection are in `mayfly_smtp_sessions_ended_total`, by stage.
    transactions_aborted as "mayfly_smtp_transactions_aborted_total": Counter,
    /// Recipients, by what became of them. busy (a core had too much to do) and memory are reasons of ours, try_later is a client that
    /// has had its share.
    recipients as "mayfly_message_recipients_total": Family<RecipientResult>,
    /// Bytes of accepted messages, trace headers included.
    message_bytes as "mayfly_message_bytes_total": Counter,
    /// Sizes of accepted messages.
    message_size as "mayfly_message_size_bytes": Histogram<Size>,
    /// Time from an accepted MAIL to its message being stored, for accepted messages.
    transaction_duration as "mayfly_smtp_transaction_duration_seconds": Histogram<Latency>,
    /// Time from the 354, or from the first BDAT, to the end of data, for accepted messages.
    data_duration as "mayfly_smtp_data_duration_seconds": Histogram<Latency>,
    /// Time from the end of data to the reply being handed to the kernel.
    data_ack as "mayfly_smtp_data_ack_duration_seconds": Histogram<Latency>,
    /// TLS handshakes, by how they ended and the version agreed on.
    tls_handshakes as "mayfly_tls_handshakes_total": Grid<Handshake, TlsVersion>,
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
    /// Copies of messages that came for a mailbox that its holder had erased meanwhile, and went with it.
    store_late as "mayfly_store_late_total": Counter,
    /// Mailboxes given to a holder.
    store_mailboxes_created as "mayfly_store_mailboxes_created_total": Counter,
    /// Mailboxes that their holder erased.
    store_mailboxes_erased as "mayfly_store_mailboxes_erased_total": Counter,
    /// Mailboxes whose time was up.
    store_mailboxes_expired as "mayfly_store_mailboxes_expired_total": Counter,
    /// Mailboxes that took the last message that they were made for.
    store_mailboxes_used_up as "mayfly_store_mailboxes_used_up_total": Counter,
    /// Mailboxes that got a new token for a recovery ticket.
    store_mailboxes_recovered as "mayfly_store_mailboxes_recovered_total": Counter,
    /// Times that an address could not be created because somebody had held it not long before.
    store_quarantine_refused as "mayfly_store_quarantine_refused_total": Counter,
    /// Times that ended addresses came free before their time because too many had ended (`store.quarantine_addresses_max`).
    store_quarantine_cut_short as "mayfly_store_quarantine_cut_short_total": Counter,
    /// How far behind its promise the last expiry was.
    store_expiry_lag as "mayfly_store_expiry_lag_seconds": Histogram<Latency>,
    /// Watchers dropped because they did not keep up.
    store_watchers_dropped as "mayfly_store_watchers_dropped_total": Counter,
    /// Arrivals and ends of messages that webhooks do not hear of because too many were reported at a time.
    webhook_notices_lost as "mayfly_webhook_notices_lost_total": Counter,
    /// Requests from other cores and from the control plane.
    inbox_requests as "mayfly_inbox_requests_total": Counter,
    /// Requests that wait in a core's inbox now.
    inbox_waiting as "mayfly_inbox_waiting_requests": Gauge,
    /// Requests of other cores (451) and of the control plane (HTTP 503) refused because this core's inbox was full.
    inbox_full as "mayfly_inbox_full_total": Counter,
    /// Turns of the core's loop.
    loop_turns as "mayfly_core_loop_turns_total": Counter,
    /// Time that turns of the core's loop took, waiting excluded.
    loop_busy as "mayfly_core_loop_turn_duration_seconds": Histogram<Latency>,
    /// Time that the core's loop was at work, waiting excluded.
    busy as "mayfly_core_busy_seconds_total": Seconds,
    /// Processor time of the core's thread, in user and kernel mode.
    cpu as "mayfly_core_cpu_seconds_total": Seconds,
    /// Time that the core's thread was ready to run and had no processor.
    run_delay as "mayfly_core_run_delay_seconds_total": Seconds,
    /// Turns of the core's loop that took a tenth of a second or more. All sessions of the core wait for such a turn.
    loop_stalls as "mayfly_core_loop_stalls_total": Counter,
    /// How much later than asked the core woke up, when it slept until a set time.
    loop_lag as "mayfly_core_loop_lag_seconds": Histogram<Latency>,
    /// Connections that the core's ring has places for now: those with a task, and those that are being closed.
    tasks as "mayfly_core_tasks": Gauge,
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

/// The page of the manual that lists them: `docs/metrics.md`.
pub fn manual() -> String {
    let mut page = String::from(MANUAL_HEAD);
    for declaration in declarations() {
        let mut labels: Vec<String> = declaration
            .labels
            .iter()
            .map(|(name, values)| match values {
                // Only what says which build this is has one value, and this page must outlive it.
                [_] => format!("`{name}`"),
                values => format!("`{name}`: {}", values.join(", ")),
            })
            .collect();
        if PER_CORE.contains(&declaration.name) {
            labels.push("`core`".to_owned());
        }
        let kind = match declaration.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let (name, help) = (declaration.name, declaration.help.trim());
        page.push_str(&format!("\n### `{name}`\n\n{kind}. {help}\n"));
        if !labels.is_empty() {
            page.push_str(&format!("\nLabels: {}.\n", labels.join("; ")));
        }
    }
    page
}

const MANUAL_HEAD: &str = "\
# Metrics

`GET /metrics` on the operator's listener (`listen.operator`) answers in the Prometheus text format
0.0.4. This page is printed from the declarations in the code and a test keeps it so; to write it
anew: `MAYFLY_REWRITE=1 cargo test --test metrics`.

Each core counts for itself and a scrape shows the sum, but for the metrics with a `core` label.
All labels have few, fixed values. None ever comes from what a client sent: no address, no domain,
no client's address. A series of three labels (`mayfly_http_requests_total`) appears with its first
count, and so does a histogram with a label; when a certificate expires is shown for those that
there are. All others are there from the start, at 0.

What to do with them, dashboards and alerts: [operations.md](operations.md#watching-it). There is
nothing here on DNS, block lists, SPF, DKIM, DMARC, accounts or other servers that mail is passed
to, because mayfly has none of it. The lag of a core's loop is how long its turns take
(`mayfly_core_loop_turn_duration_seconds`) and how late it wakes (`mayfly_core_loop_lag_seconds`).

## All of them
";

#[cfg(test)]
mod tests {
    use super::process::{Certificate, ProcessMetrics};
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
    fn a_gauge_at_0_is_shown_and_a_certificate_that_is_not_there_is_not() {
        let metrics = ProcessMetrics::default();
        metrics.certificate_expiry.of(Certificate::C1).set(7);
        let mut shown = Vec::new();
        metrics.read(&mut |declaration, labels, reading| {
            if let Reading::Gauge(n) = reading {
                shown.push((declaration.name, labels.to_vec(), n));
            }
        });
        let of = |name: &str| -> Vec<(&str, u64)> {
            let of_it = shown.iter().filter(|(shown, ..)| *shown == name);
            of_it.map(|(_, labels, n)| (labels[0], *n)).collect()
        };
        let urls = [("closed", 0), ("half_open", 0), ("open", 0)];
        assert_eq!(of("mayfly_webhook_urls"), urls);
        let expiry = [("1", 7)];
        assert_eq!(
            of("mayfly_tls_certificate_expiry_timestamp_seconds"),
            expiry
        );
    }

    #[test]
    fn every_declared_metric_is_read() {
        let metrics = CoreMetrics::default();
        metrics.smtp_commands.of(Command::Mail).add(3);
        metrics.message_size.observe(2000);
        // Combinations of two labels are shown from their first count on.
        let handshakes = metrics
            .tls_handshakes
            .of(Handshake::Full, TlsVersion::Tls13);
        handshakes.increment();
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
        assert_eq!(Stay::BOUNDS.len(), Stay::SHOWN.len());
    }
}
