//! TLS of the generator: it believes every certificate, because the server under test makes its own at every start.

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use std::sync::{Arc, OnceLock};

// Shared with the tests, which talk to the same servers.
#[path = "../../tests/gateway/anybody.rs"]
mod anybody;

use anybody::Anybody;

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
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    with_provider(provider)
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

fn with_provider(
    provider: Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
}
