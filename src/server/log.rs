//! Logs: to standard error, for people or for machines.

use crate::config::sections::{LogFormat, LogLevel, Server};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is written of this level. The library that speaks the Model Context Protocol shows whole requests, and with them tokens.
fn ours(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level)
        .with_target("rmcp", LevelFilter::OFF)
}

/// Starts logging, once; later calls (in tests) change nothing.
pub(super) fn start(settings: &Server) {
    let level = match settings.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false);
    let ours = ours(level);
    let _ = match settings.log_format {
        LogFormat::Text => builder.finish().with(ours).try_init(),
        LogFormat::Json => builder.json().finish().with(ours).try_init(),
    };
    // A panic's own text may quote what was being worked on; where it happened tells enough.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a fault in mayfly itself: please report it");
    }));
}
