//! What may change while mayfly runs: settings and certificates, replaced as one.

use super::certificates::{self, CertificateError, Identity};
use crate::config::Config;
use crate::config::sections::Tls;
use crate::smtp::reply::{Reply, Speaker};
use crate::{policy, smtp, store};
use rustls::ServerConfig;
use std::fmt;
use std::sync::Arc;

/// One state of everything that a reload replaces.
#[derive(Clone, Debug)]
pub struct Live {
    /// Our name.
    pub hostname: Arc<str>,
    /// What a session may do.
    pub limits: Arc<smtp::Limits>,
    /// Who may connect.
    pub admission: policy::admission::Rules,
    /// Where mail may go.
    pub recipients: policy::recipients::Rules,
    /// How much is kept and how long.
    pub budget: store::Budget,
    /// TLS rules.
    pub tls: Tls,
    /// TLS on the listeners with STARTTLS.
    pub starttls: Arc<ServerConfig>,
    /// TLS on the listeners with TLS from the first byte.
    pub implicit_tls: Arc<ServerConfig>,
    /// The certificates in use.
    pub identities: Vec<Identity>,
    /// Whether logs may carry client addresses.
    pub log_client_addresses: bool,
}

/// Why a state could not be made.
#[derive(Debug)]
pub enum LiveError {
    /// A certificate cannot be used.
    Certificate(CertificateError),
    /// TLS cannot be set up.
    Tls(rustls::Error),
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for LiveError {}

impl Live {
    /// A copy for one core. What sessions share is copied too, so that cores do not count references in the same
    /// cache line.
    #[must_use]
    pub fn own(&self) -> Self {
        Self {
            hostname: self.hostname.as_ref().into(),
            limits: Arc::new(smtp::Limits::clone(&self.limits)),
            ..self.clone()
        }
    }

    /// A reply that no session gives: for those who get none, and for those whose session is cut off.
    #[must_use]
    pub fn say(&self, reply: Reply) -> Vec<u8> {
        let speaker = Speaker {
            hostname: &self.hostname,
        };
        let mut line = Vec::new();
        reply.write(speaker, &mut line);
        line
    }

    /// The state that a configuration describes, in this calendar year. `identities` of the state before are kept when none are configured,
    /// so that a reload does not change a self-signed certificate.
    ///
    /// # Errors
    /// When a certificate or key cannot be used.
    pub fn new(config: &Config, before: Option<&Self>, year: i32) -> Result<Self, LiveError> {
        let kept = before.filter(|_| config.tls.certificates.is_empty());
        let identities = match kept.map(|live| &live.identities) {
            Some(identities) if identities.iter().all(|identity| identity.self_signed) => {
                identities.clone()
            }
            _ => {
                let mut names = vec![config.server.hostname.clone()];
                let domains = config.recipients.domains.iter();
                names.extend(
                    domains
                        .filter(|domain| **domain != config.server.hostname)
                        .cloned(),
                );
                certificates::load(&config.tls.certificates, &names, year)
                    .map_err(LiveError::Certificate)?
            }
        };
        let configuration =
            || certificates::configuration(&identities, &config.tls).map_err(LiveError::Tls);
        Ok(Self {
            hostname: config.server.hostname.as_str().into(),
            limits: Arc::new(config.smtp.clone()),
            admission: config.admission.clone(),
            recipients: config.recipients.clone(),
            budget: config.store.clone(),
            tls: config.tls.clone(),
            starttls: configuration()?,
            implicit_tls: configuration()?,
            identities,
            log_client_addresses: config.server.log_client_addresses,
        })
    }
}
