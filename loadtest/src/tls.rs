//! TLS of the generator: it believes every certificate, because the server under test makes its own at every start.

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use std::sync::{Arc, OnceLock};

// Shared with the tests, which talk to the same servers.
#[path = "../../tests/gateway/anybody.rs"]
mod anybody;

/// Tickets that one session keeps.
const TICKETS: usize = 4;

/// Settings of one session; with `resume` it keeps tickets and offers them.
pub(crate) fn config(resume: bool) -> Arc<ClientConfig> {
    static FIRST: OnceLock<ClientConfig> = OnceLock::new();
    let mut config = FIRST.get_or_init(first).clone();
    config.resumption = if resume {
        Resumption::in_memory_sessions(TICKETS)
    } else {
        Resumption::disabled()
    };
    Arc::new(config)
}

/// The name that is asked for.
pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("mayfly.test").expect("a host name")
}

fn first() -> ClientConfig {
    anybody::client(aws_lc_rs::default_provider(), rustls::DEFAULT_VERSIONS)
}
