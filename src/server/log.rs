//! Logs: to standard error, for people or for machines, or to systemd's journal.

use crate::config::sections::{LogFormat, LogLevel, Server};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is written of this level. The library that speaks the Model Context Protocol shows whole requests, and with them tokens.
fn ours(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level)
        .with_target("rmcp", LevelFilter::OFF)
}

/// Logs to systemd's journal from now on.
fn to_journal(level: LevelFilter) -> io::Result<()> {
    let journal = tracing_journald::layer()?.with_syslog_identifier("mayfly".to_owned());
    let subscriber = tracing_subscriber::registry().with(journal.with_filter(ours(level)));
    // It fails when logging has begun before, as it may in tests.
    let _ = subscriber.try_init();
    Ok(())
}

/// Starts logging, once; later calls (in tests) change nothing.
pub(super) fn start(settings: &Server) {
    let level = match settings.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let no_journal = match settings.log_format {
        LogFormat::Journald => to_journal(level).err(),
        LogFormat::Json | LogFormat::Text => None,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false);
    let ours = ours(level);
    let _ = match settings.log_format {
        // If there is a journal, logging has begun, and this changes nothing.
        LogFormat::Journald | LogFormat::Text => builder.finish().with(ours).try_init(),
        LogFormat::Json => builder.json().finish().with(ours).try_init(),
    };
    if let Some(why) = no_journal {
        tracing::error!(
            "server.log_format is journald, and there is no journal: {why}; logs go to standard error. \
             fix: run mayfly under systemd, or set server.log_format = \"text\""
        );
    }
    // A panic's own text may quote what was being worked on; where it happened tells enough.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a fault in mayfly itself: please report it");
    }));
}
