//! What mayfly says when it is ready.

use super::{Edge, Listeners, Server, machine};
use crate::config::sections::{DescriptorTables, LogFormat};
use crate::edge::socket;
use crate::settings::{Bytes, Span};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// Tells people, or the log, what runs where.
pub(super) fn show(server: &Server, edge: &Edge, listeners: &Listeners, took: Duration) {
    let facts = facts(server, edge, listeners);
    if server.config.server.log_format != LogFormat::Text {
        let facts: Vec<String> = facts
            .iter()
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            facts = facts.join("; "),
            "ready"
        );
        return;
    }
    let mut text = format!("mayfly {}\n", env!("CARGO_PKG_VERSION"));
    for (name, fact) in &facts {
        let _ = writeln!(text, "  {name:<12}{fact}");
    }
    if let (Some(http), Some(smtp)) = (address(&listeners.public), edge.smtp.first()) {
        let _ = write!(text, "{}", first_steps(http, *smtp));
    }
    let _ = writeln!(text, "ready in {} ms", took.as_millis());
    // Nobody reads: then nobody needs to know.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn facts(server: &Server, edge: &Edge, listeners: &Listeners) -> Vec<(&'static str, String)> {
    let config = &server.config;
    let mut facts = vec![
        (
            "smtp",
            with_note(
                &list(&edge.smtp),
                if config.tls.starttls {
                    "STARTTLS"
                } else {
                    "no TLS"
                },
            ),
        ),
        ("smtps", list(&edge.smtps)),
        ("http", list(&addresses(&listeners.public))),
        ("operator", list(&addresses(&listeners.operator))),
        ("domains", config.recipients.domains.join(", ")),
        ("cores", cores(server, edge)),
        ("certificate", certificate(server)),
        (
            "memory",
            format!("{} for mail", rounded(server.cores.ledger().limit())),
        ),
        (
            "kept",
            format!("mail for {} at most", Span(config.store.message_ttl_max.0)),
        ),
    ];
    let effective = socket::effective_backlog(config.listen.backlog);
    if effective < config.listen.backlog {
        facts.push((
            "backlog",
            format!(
                "{effective} instead of {}: net.core.somaxconn allows no more",
                config.listen.backlog
            ),
        ));
    }
    facts
}

fn cores(server: &Server, edge: &Edge) -> String {
    let count = server.cores.count();
    let files =
        machine::files_max().map_or_else(|| "any number of".to_owned(), |files| files.to_string());
    match &edge.tables {
        Ok(DescriptorTables::PerCore) => {
            format!("{count}, each with {files} descriptors of its own")
        }
        Ok(DescriptorTables::Shared) => format!("{count}, sharing {files} descriptors"),
        Err(why) => {
            format!("{count}, sharing {files} descriptors (own tables are forbidden: {why})")
        }
    }
}

fn certificate(server: &Server) -> String {
    let now = server.unix_secs(server.cores.now());
    let shown: Vec<String> = server
        .live
        .identities
        .iter()
        .map(|identity| {
            let kind = if identity.self_signed {
                "self-signed, "
            } else {
                ""
            };
            let days = u64::try_from(identity.expires_unix_secs)
                .unwrap_or(0)
                .saturating_sub(now)
                / 86_400;
            format!("{} ({kind}{days} days left)", identity.names().join(" "))
        })
        .collect();
    shown.join("; ")
}

fn first_steps(http: SocketAddr, smtp: SocketAddr) -> String {
    format!(
        "try\n  \
         curl -X POST http://{http}/api/v1/mailboxes\n  \
         swaks --server {} --port {} --tls --to ADDRESS\n  \
         curl -H 'Authorization: Bearer TOKEN' http://{http}/api/v1/messages\n",
        smtp.ip(),
        smtp.port(),
    )
}

fn with_note(list: &str, note: &str) -> String {
    format!("{list} ({note})")
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect()
}

fn address(listeners: &[TcpListener]) -> Option<SocketAddr> {
    addresses(listeners).first().copied()
}

fn list(addresses: &[SocketAddr]) -> String {
    if addresses.is_empty() {
        return "off".to_owned();
    }
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

/// A size that people can read: whole MiB.
fn rounded(bytes: u64) -> Bytes {
    Bytes(bytes >> 20 << 20)
}
