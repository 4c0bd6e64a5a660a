//! `GET /status` on the operator's side: what the process is and how it does, in one answer.
//!
//! It is made for `mayfly status` and for scripts. What is to be watched over time is in the metrics.

use super::Phase;
use super::app::App;
use crate::clock::Instant;
use crate::edge::CoreId;
use serde::{Deserialize, Serialize};

/// How a mayfly does. What a server of another version leaves out is empty or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version that runs.
    pub version: String,
    /// Its number among processes, where it runs.
    pub process: u32,
    /// `starting`, `ready` or `draining`.
    pub phase: String,
    /// When it was ready, as RFC 3339 writes it; empty before.
    pub started_at: String,
    /// Seconds since then; 0 before.
    pub uptime: u64,
    /// How much strain it is under.
    pub pressure: PressureStatus,
    /// Memory in bytes.
    pub memory: MemoryStatus,
    /// Each core, in order.
    pub cores: Vec<CoreStatus>,
    /// HTTP connections open now.
    pub http_connections: u64,
    /// Event streams open now.
    pub event_streams: u64,
    /// What it may hold at most.
    pub limits: LimitsStatus,
}

/// The level of pressure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PressureStatus {
    /// `normal`, `strained`, `overloaded` or `refusing`.
    pub level: String,
    /// What called for it; `calm` if nothing did.
    pub cause: String,
}

/// Memory for mail, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStatus {
    /// In use or reserved.
    pub used: u64,
    /// The budget.
    pub limit: u64,
}

/// One core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CoreStatus {
    /// Which, counted from 0.
    pub core: u64,
    /// SMTP connections open now.
    pub connections: u64,
    /// Mailboxes that exist now.
    pub mailboxes: u64,
    /// Copies of messages held now.
    pub messages: u64,
    /// Messages accepted since the start.
    pub accepted: u64,
    /// Bytes of these, trace headers included.
    pub accepted_bytes: u64,
    /// Requests that wait in its inbox now.
    pub waiting: u64,
}

/// Limits in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsStatus {
    /// SMTP connections open at once; 0: no limit.
    pub connections: u64,
    /// HTTP connections open at once.
    pub http_connections: u64,
    /// Messages in one mailbox.
    pub mailbox_messages: u64,
    /// The longest life of a mailbox, in seconds.
    pub mailbox_ttl: u64,
    /// The longest life of a message, in seconds.
    pub message_ttl: u64,
}

/// How the process does now.
pub(super) fn take(app: &App) -> Status {
    let cores = &app.cores;
    let (now, wall) = (cores.now(), cores.wall());
    // 0 until it was ready.
    let (uptime, started_at) = match app.metrics.start_time.value() {
        0 => (0, String::new()),
        start => {
            let uptime = wall.unix_secs(now).saturating_sub(start);
            let micros = now
                .as_micros()
                .saturating_sub(uptime.saturating_mul(1_000_000));
            (uptime, wall.rfc3339(Instant::from_micros(micros)))
        }
    };
    let phase = match app.phase() {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Draining | Phase::Stopped => "draining",
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        phase: phase.to_owned(),
        started_at,
        uptime,
        pressure: PressureStatus {
            level: cores.barometer().level().as_str().to_owned(),
            cause: cores.barometer().cause().as_str().to_owned(),
        },
        memory: MemoryStatus {
            used: cores.ledger().used(),
            limit: cores.ledger().limit(),
        },
        cores: (0..cores.count()).map(|number| core(app, number)).collect(),
        http_connections: app.metrics.http_connections.value(),
        event_streams: app.metrics.http_event_streams.value(),
        limits: limits(app),
    }
}

fn core(app: &App, number: usize) -> CoreStatus {
    let metrics = &app.cores.metrics()[number];
    CoreStatus {
        core: number as u64,
        connections: metrics.smtp_connections.value(),
        mailboxes: metrics.store_mailboxes.value(),
        messages: metrics.store_messages.value(),
        accepted: metrics.messages_accepted.value(),
        accepted_bytes: metrics.message_bytes.value(),
        waiting: app.cores.inbox(CoreId(number)).waiting() as u64,
    }
}

fn limits(app: &App) -> LimitsStatus {
    let settings = app.settings.load();
    LimitsStatus {
        connections: app.metrics.smtp_connections_limit.value(),
        http_connections: settings.http.connections_max.into(),
        mailbox_messages: settings.budget.mailbox_messages_max.into(),
        mailbox_ttl: settings.budget.mailbox_ttl_max.0.as_secs(),
        message_ttl: settings.budget.message_ttl_max.0.as_secs(),
    }
}
