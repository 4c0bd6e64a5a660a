//! What `mayfly top` shows, made of two moments. No terminal here, no clock, no server.

use super::scrape::Scrape;
use crate::control::status::Status;
use std::collections::VecDeque;
use std::time::Duration;

/// Rates that are remembered for the curve.
const HISTORY_MAX: usize = 240;

/// Reasons that are shown.
const REJECTS_MAX: usize = 64;

/// What a server said at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// When, from any beginning.
    pub(super) at: Duration,
    /// What `/status` said.
    pub(super) status: Status,
    /// What `/metrics` said.
    pub(super) metrics: Scrape,
}

/// What was refused, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reject {
    /// What: `connection`, `recipient`, `message`, `client`, `creation`.
    pub(super) what: &'static str,
    /// Why, as the label of the metric says.
    pub(super) why: String,
    /// A second.
    pub(super) rate: f64,
    /// Since the start.
    pub(super) total: f64,
}

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    before: Option<Sample>,
    now: Option<Sample>,
    /// Messages a second, the newest last.
    pub(super) history: VecDeque<u64>,
    /// Why the server said nothing when it was asked last.
    pub(super) trouble: Option<String>,
}

/// Rates and latencies between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Messages accepted a second.
    pub(super) messages: f64,
    /// Bytes of these a second.
    pub(super) bytes: f64,
    /// New SMTP connections a second.
    pub(super) connections: f64,
    /// Connections turned away a second.
    pub(super) refused: f64,
    /// HTTP requests a second.
    pub(super) requests: f64,
    /// CPUs in use.
    pub(super) cpus: f64,
    /// Time from the end of data to the reply: median and 99th percentile in seconds.
    pub(super) ack: [Option<f64>; 2],
    /// Bytes of memory that are resident.
    pub(super) resident: f64,
}

impl Model {
    /// Takes what the server said.
    pub(super) fn take(&mut self, sample: Sample) {
        self.trouble = None;
        // A server that was started anew counts from 0 again: there is nothing to compare with.
        let anew = self
            .now
            .as_ref()
            .is_some_and(|now| sample.status.started_at != now.status.started_at);
        self.before = self.now.take().filter(|_| !anew);
        self.now = Some(sample);
        if self.before.is_some() {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history
                .push_back(self.figures().messages.round() as u64);
        }
    }

    /// Notes that the server said nothing.
    pub(super) fn fail(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// What `/status` said last.
    pub(super) fn status(&self) -> Option<&Status> {
        self.now.as_ref().map(|sample| &sample.status)
    }

    /// How much a counter grew in a second.
    fn rate(&self, value: impl Fn(&Scrape) -> f64) -> f64 {
        let (Some(before), Some(now)) = (&self.before, &self.now) else {
            return 0.0;
        };
        let secs = now.at.saturating_sub(before.at).as_secs_f64();
        match secs > 0.0 {
            true => ((value(&now.metrics) - value(&before.metrics)) / secs).max(0.0),
            false => 0.0,
        }
    }

    /// Rates and latencies since the moment before.
    pub(super) fn figures(&self) -> Figures {
        let sum = |name: &'static str| self.rate(move |metrics| metrics.sum(name));
        let ack = |share| {
            let (before, now) = (self.before.as_ref()?, self.now.as_ref()?);
            now.metrics.quantile(
                "mayfly_smtp_data_ack_duration_seconds",
                share,
                &before.metrics,
            )
        };
        let now = self.now.as_ref();
        Figures {
            messages: sum("mayfly_messages_accepted_total"),
            bytes: sum("mayfly_message_bytes_total"),
            connections: sum("mayfly_smtp_connections_total"),
            refused: sum("mayfly_smtp_connections_refused_total"),
            requests: sum("mayfly_http_requests_total"),
            cpus: sum("process_cpu_seconds_total"),
            ack: [ack(0.5), ack(0.99)],
            resident: now.map_or(0.0, |now| now.metrics.sum("process_resident_memory_bytes")),
        }
    }

    /// Everything that was refused since the start, what happens most first.
    pub(super) fn rejects(&self) -> Vec<Reject> {
        let families = [
            (
                "connection",
                "mayfly_smtp_connections_refused_total",
                "reason",
            ),
            ("recipient", "mayfly_message_recipients_total", "result"),
            ("message", "mayfly_messages_rejected_total", "reason"),
            ("client", "mayfly_client_limits_hit_total", "limit"),
            ("offence", "mayfly_smtp_protocol_offences_total", "offence"),
            ("creation", "mayfly_http_creations_refused_total", "reason"),
        ];
        let Some(now) = &self.now else {
            return Vec::new();
        };
        let mut rejects = Vec::new();
        for (what, name, label) in families {
            for (why, total) in now.metrics.by(name, label) {
                if total > 0.0 && why != "accepted" {
                    let rate = self
                        .rate(|metrics| metrics.by(name, label).get(why).copied().unwrap_or(0.0));
                    let why = why.to_owned();
                    rejects.push(Reject {
                        what,
                        why,
                        rate,
                        total,
                    });
                }
            }
        }
        rejects.sort_by(|left, right| {
            let by_rate = right.rate.total_cmp(&left.rate);
            by_rate.then(right.total.total_cmp(&left.total))
        });
        rejects.truncate(REJECTS_MAX);
        rejects
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::status::{CoreStatus, LimitsStatus, MemoryStatus, PressureStatus};

    /// What a server says after so many seconds in which it took so many messages.
    pub(in crate::cli::top) fn sample(secs: u64, messages: u64) -> Sample {
        let core = |core| CoreStatus {
            core,
            connections: 40 + core,
            mailboxes: 1_000,
            messages: messages / 2,
            accepted: messages / 2,
            accepted_bytes: messages * 2_048,
            waiting: core,
        };
        let page = format!(
            "mayfly_messages_accepted_total {messages}\n\
             mayfly_message_bytes_total {}\n\
             mayfly_smtp_connections_total{{listener=\"smtp\"}} {messages}\n\
             mayfly_smtp_connections_refused_total{{reason=\"client_rate\"}} {}\n\
             mayfly_message_recipients_total{{result=\"accepted\"}} {messages}\n\
             mayfly_message_recipients_total{{result=\"no_such_mailbox\"}} {}\n\
             mayfly_http_requests_total{{route=\"messages\"}} {}\n\
             process_cpu_seconds_total {}\n\
             process_resident_memory_bytes 52428800\n\
             mayfly_smtp_data_ack_duration_seconds_bucket{{le=\"0.001\"}} {messages}\n\
             mayfly_smtp_data_ack_duration_seconds_bucket{{le=\"+Inf\"}} {messages}\n",
            messages * 4_096,
            messages / 10,
            messages / 4,
            secs * 5,
            secs as f64 * 0.75,
        );
        Sample {
            at: Duration::from_secs(secs),
            status: Status {
                version: "0.1.0".to_owned(),
                process: 4_711,
                phase: "ready".to_owned(),
                started_at: "2026-11-22T10:00:00Z".to_owned(),
                uptime: 3_600 + secs,
                pressure: PressureStatus {
                    level: "normal".to_owned(),
                    cause: "calm".to_owned(),
                },
                memory: MemoryStatus {
                    used: 256 << 20,
                    limit: 1 << 30,
                },
                cores: vec![core(0), core(1)],
                http_connections: 3,
                event_streams: 2,
                limits: LimitsStatus {
                    connections: 50_000,
                    ..LimitsStatus::default()
                },
            },
            metrics: Scrape::read(&page),
        }
    }

    /// A server that has been watched for two seconds.
    pub(in crate::cli::top) fn busy() -> Model {
        let mut model = Model::default();
        for (secs, messages) in [(0, 1_000), (1, 1_800), (2, 3_000)] {
            model.take(sample(secs, messages));
        }
        model
    }

    #[test]
    fn rates_are_of_the_last_interval() {
        let figures = busy().figures();
        assert_eq!(figures.messages, 1_200.0);
        assert_eq!(figures.bytes, 1_200.0 * 4_096.0);
        assert_eq!((figures.connections, figures.refused), (1_200.0, 120.0));
        assert_eq!((figures.requests, figures.cpus), (5.0, 0.75));
        assert_eq!(figures.ack[0], Some(0.000_5));
        assert_eq!(busy().history, [800, 1_200]);
        let mut once = Model::default();
        once.take(sample(0, 10));
        assert_eq!(once.figures().messages, 0.0, "one moment has no rate");
    }

    #[test]
    fn rejects_are_sorted_by_what_happens_now() {
        let rejects = busy().rejects();
        let found: Vec<_> = rejects
            .iter()
            .map(|reject| (reject.what, reject.why.as_str(), reject.rate))
            .collect();
        assert_eq!(
            found,
            [
                ("recipient", "no_such_mailbox", 300.0),
                ("connection", "client_rate", 120.0)
            ]
        );
        assert!(Model::default().rejects().is_empty());
    }

    #[test]
    fn a_server_that_was_started_anew_has_no_rates_below_zero() {
        let mut model = busy();
        let mut anew = sample(3, 5);
        anew.status.started_at = "2026-11-22T11:00:00Z".to_owned();
        model.take(anew);
        assert_eq!(model.figures().messages, 0.0);
        assert_eq!(model.history.len(), 2);
        model.fail("cannot reach it".to_owned());
        assert!(
            model.trouble.is_some() && model.status().is_some(),
            "what was known stays"
        );
        model.take(sample(4, 50));
        assert_eq!(model.trouble, None);
    }

    #[test]
    fn the_curve_does_not_grow_without_end() {
        let mut model = Model::default();
        for secs in 0..2 * HISTORY_MAX as u64 {
            model.take(sample(secs, secs * 7));
        }
        assert_eq!(model.history.len(), HISTORY_MAX);
        assert_eq!(model.history.back(), Some(&7));
    }
}
