//! What may change while mayfly runs: settings and certificates, replaced as one.

use super::address_keys::{self, AddressKeyError};
use super::certificates::{self, CertificateError, Identity};
use crate::config::Config;
use crate::config::sections::Tls;
use crate::policy::pressure::Pressure;
use crate::policy::self_authenticating::Keys;
use crate::smtp::reply::{Reply, Speaker};
use crate::store::{Callee, DomainCallee};
use crate::{policy, smtp, store};
use rustls::ServerConfig;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One state of everything that a reload replaces.
#[derive(Clone, Debug)]
pub struct Live {
    /// Our name.
    pub hostname: Arc<str>,
    /// What holds at each level of pressure, in the order of [`Pressure::ALL`].
    in_force: [InForce; 4],
    /// Which level holds when.
    pub pressure: policy::pressure::Rules,
    /// Where mail may go.
    pub recipients: policy::recipients::Rules,
    /// By which addresses prove themselves.
    pub address_keys: Keys,
    /// What becomes of attachments.
    pub attachments: policy::attachments::Policies,
    /// How messages are taken apart.
    pub reading: crate::reading::Limits,
    /// How much is kept and how long.
    pub budget: store::Budget,
    /// Who is called for all mail of a domain.
    pub domain_callees: Box<[DomainCallee]>,
    /// TLS rules.
    pub tls: Tls,
    /// TLS of each listener for mail, by number. Each has tickets of its own.
    contexts: Vec<Arc<ServerConfig>>,
    /// The certificates in use.
    pub identities: Vec<Identity>,
    /// Whether logs may carry client addresses.
    pub log_client_addresses: bool,
    /// Which sessions are told in the log.
    pub trace: super::tracer::Rules,
}

/// What holds at one level of pressure.
#[derive(Clone, Debug)]
pub struct InForce {
    /// What a session may do.
    pub limits: Arc<smtp::Limits>,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// Who may connect.
    pub admission: policy::admission::Rules,
    /// What one client may do in a minute.
    pub clients: policy::clients::Rules,
}

impl InForce {
    fn new(config: &Config, level: Pressure) -> Self {
        Self {
            limits: Arc::new(config.limits_under(level)),
            handshake_timeout: config.handshake_timeout_under(level),
            admission: config.admission_under(level),
            clients: config.clients_under(level),
        }
    }
}

/// Why a state could not be made.
#[derive(Debug)]
pub enum LiveError {
    /// A secret for addresses cannot be used.
    AddressKey(AddressKeyError),
    /// A certificate cannot be used.
    Certificate(CertificateError),
    /// TLS cannot be set up.
    Tls(rustls::Error),
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressKey(error) => error.fmt(f),
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
            in_force: self.in_force.each_ref().map(|level| InForce {
                limits: Arc::new(smtp::Limits::clone(&level.limits)),
                ..level.clone()
            }),
            ..self.clone()
        }
    }

    /// What holds at a level of pressure.
    #[must_use]
    pub const fn under(&self, level: Pressure) -> &InForce {
        &self.in_force[level as usize]
    }

    /// TLS of the listener with this number.
    #[must_use]
    pub fn tls_of(&self, listener: usize) -> Arc<ServerConfig> {
        Arc::clone(&self.contexts[listener])
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
    /// When a certificate, a key or a secret cannot be used.
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
        let address_keys = address_keys::load(
            &config.recipients.self_authenticating_keys,
            before.map(|live| &live.address_keys),
        )
        .map_err(LiveError::AddressKey)?;
        let configuration =
            || certificates::configuration(&identities, &config.tls).map_err(LiveError::Tls);
        let listeners = config.listen.smtp.len() + config.listen.smtps.len();
        Ok(Self {
            hostname: config.server.hostname.as_str().into(),
            in_force: Pressure::ALL.map(|level| InForce::new(config, level)),
            pressure: config.pressure.clone(),
            recipients: config.recipients.clone(),
            address_keys,
            attachments: policy::attachments::Policies::new(&config.attachments),
            reading: config.reading.clone(),
            budget: config.store.clone(),
            domain_callees: domain_callees(&config.webhooks),
            tls: config.tls.clone(),
            contexts: (0..listeners)
                .map(|_| configuration())
                .collect::<Result<_, _>>()?,
            identities,
            log_client_addresses: config.server.log_client_addresses,
            trace: super::tracer::Rules::of(&config.server),
        })
    }
}

/// Who is called for all mail of a domain, unless nobody is called at all.
fn domain_callees(rules: &policy::webhooks::Rules) -> Box<[DomainCallee]> {
    let named = rules.domains.iter().filter(|_| rules.enabled);
    let callees = named.map(|webhook| DomainCallee {
        domain: webhook.domain.as_str().into(),
        callee: Callee {
            id: webhook.id(),
            url: webhook.id(),
            host: webhook.host(),
        },
    });
    callees.collect()
}
