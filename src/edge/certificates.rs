//! Certificates and the TLS configurations that are made of them.

use crate::config::sections::{Certificate, Tls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, version};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The ALPN name of SMTP. A client that offers only other protocols is refused, so that nobody can
/// pass a browser's connection off as mail (ALPACA).
const ALPN: &[u8] = b"smtp";

/// One certificate with its key, ready for use.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    /// When it ceases to be valid, in seconds since 1970-01-01T00:00:00Z.
    pub expires_unix_secs: i64,
    /// Whether it was made at start, because none was given.
    pub self_signed: bool,
}

impl Identity {
    /// The names it is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is for this name.
    fn is_for(&self, name: &str) -> bool {
        self.names.iter().any(|own| covers(own, name))
    }
}

/// Whether a certificate's name is for this one (RFC 6125 section 6.4): exact, or one label under a wildcard.
#[must_use]
pub fn covers(own: &str, name: &str) -> bool {
    own.eq_ignore_ascii_case(name)
        || own.strip_prefix("*.").is_some_and(|parent| {
            name.split_once('.')
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
        })
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.names.join(", "))
    }
}

/// Why a certificate cannot be used.
#[derive(Debug)]
pub enum CertificateError {
    /// A file cannot be read or is not PEM.
    File(PathBuf, String),
    /// There is no certificate in the chain file.
    Empty(PathBuf),
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    Key(PathBuf, rustls::Error),
    /// The certificate cannot be understood.
    Malformed(PathBuf, String),
    /// None could be made.
    SelfSigned(String),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(
                f,
                "cannot read {}: {why}\n  fix: name a readable PEM file under [[tls.certificates]]",
                path.display()
            ),
            Self::Empty(path) => write!(
                f,
                "{} holds no certificate\n  fix: it must contain a block that begins with -----BEGIN CERTIFICATE-----",
                path.display()
            ),
            Self::Key(path, why) => write!(
                f,
                "the key in {} cannot be used: {why}\n  fix: give the private key that belongs to the chain's first certificate",
                path.display()
            ),
            Self::Malformed(path, why) => write!(
                f,
                "the certificate in {} is malformed: {why}",
                path.display()
            ),
            Self::SelfSigned(why) => write!(f, "cannot make a self-signed certificate: {why}"),
        }
    }
}

impl std::error::Error for CertificateError {}

/// Reads the certificates that the operator gave, or makes a self-signed one for `names`, the first of which is its
/// subject, in this calendar year.
///
/// # Errors
/// The first one that cannot be used.
pub fn load(
    given: &[Certificate],
    names: &[String],
    year: i32,
) -> Result<Vec<Identity>, CertificateError> {
    if given.is_empty() {
        return self_signed(names, year).map(|identity| vec![identity]);
    }
    given.iter().map(read).collect()
}

fn read(given: &Certificate) -> Result<Identity, CertificateError> {
    let unreadable = |path: &Path, why: &dyn fmt::Display| {
        CertificateError::File(path.to_owned(), why.to_string())
    };
    let chain = CertificateDer::pem_file_iter(&given.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| unreadable(&given.chain, &why))?;
    let key =
        PrivateKeyDer::from_pem_file(&given.key).map_err(|why| unreadable(&given.key, &why))?;
    identity(chain, key, &given.chain, &given.key, false)
}

fn self_signed(names: &[String], year: i32) -> Result<Identity, CertificateError> {
    let (certificate, key) =
        make(names, year).map_err(|why| CertificateError::SelfSigned(why.to_string()))?;
    let nowhere = Path::new("the certificate made at start");
    identity(vec![certificate], key.into(), nowhere, nowhere, true)
}

/// An ECDSA P-256 certificate, valid from the beginning of the year to the end of the next.
fn make(
    names: &[String],
    year: i32,
) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), rcgen::Error> {
    let mut parameters = rcgen::CertificateParams::new(names)?;
    parameters.not_before = rcgen::date_time_ymd(year, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(year + 2, 1, 1);
    let mut subject = rcgen::DistinguishedName::new();
    if let Some(name) = names.first() {
        subject.push(rcgen::DnType::CommonName, name);
    }
    parameters.distinguished_name = subject;
    let key = rcgen::KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.der().clone(), key.serialize_der().into()))
}

fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    chain_path: &Path,
    key_path: &Path,
    self_signed: bool,
) -> Result<Identity, CertificateError> {
    let first = chain
        .first()
        .ok_or_else(|| CertificateError::Empty(chain_path.to_owned()))?;
    let (names, expires_unix_secs) =
        describe(first).map_err(|why| CertificateError::Malformed(chain_path.to_owned(), why))?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|why| CertificateError::Key(key_path.to_owned(), why))?;
    Ok(Identity {
        key: Arc::new(certified),
        names,
        expires_unix_secs,
        self_signed,
    })
}

/// The DNS names and the end of a certificate.
fn describe(certificate: &CertificateDer<'_>) -> Result<(Vec<String>, i64), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|why| why.to_string())?;
    let names = match parsed.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect(),
        Ok(None) => Vec::new(),
        Err(why) => return Err(why.to_string()),
    };
    Ok((names, parsed.validity().not_after.timestamp()))
}

/// Chooses by SNI; the first is for those who name none or an unknown one.
#[derive(Debug)]
struct Chooser {
    identities: Vec<Identity>,
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            self.identities
                .iter()
                .find(|identity| identity.is_for(name))
        });
        named
            .or_else(|| self.identities.first())
            .map(|identity| Arc::clone(&identity.key))
    }
}

/// How dear a cipher suite is, from 0; all of them are strong. With SHA-384 more than a quarter of a handshake is hashing, and
/// SHA-256 has instructions of its own in most processors (docs/decisions/0030-tls-suites-by-what-they-cost.md).
const fn cost(suite: CipherSuite) -> u8 {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => 2,
        _ => 1,
    }
}

/// The TLS configuration of one listener, with a ticketer of its own, so that a ticket from one listener is worth nothing at another.
///
/// # Errors
/// When the cryptography cannot be set up.
pub fn configuration(
    identities: &[Identity],
    rules: &Tls,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| cost(suite.suite()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Chooser {
            identities: identities.to_vec(),
        }));
    config.ignore_client_order = true;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    if rules.tickets {
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = 1;
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_suite_of_each_version_comes_first_and_none_is_left_out() {
        let rules = Tls::default();
        let config = configuration(&[], &rules).expect("it can be set up");
        let provider = config.crypto_provider();
        let of = |version| {
            let suites = provider.cipher_suites.iter();
            let mut of_it = suites.filter(move |suite| suite.version().version == version);
            of_it.next().map(|suite| suite.suite())
        };
        assert_eq!(
            [
                of(rustls::ProtocolVersion::TLSv1_3),
                of(rustls::ProtocolVersion::TLSv1_2)
            ],
            [
                Some(CipherSuite::TLS13_AES_128_GCM_SHA256),
                Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
            ]
        );
        assert!(config.ignore_client_order);
        let all = aws_lc_rs::default_provider().cipher_suites.len();
        assert_eq!(provider.cipher_suites.len(), all);
    }
}
