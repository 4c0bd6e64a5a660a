//! A URL that may be called, as far as one can tell without looking its name up.

#![forbid(unsafe_code)]

use super::Rules;
use crate::policy::destinations::{Judgement, judge};
use std::fmt;
use std::net::IpAddr;
use url::Url;

/// A URL that may be called.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: Host,
    port: u16,
}

/// Whom a URL names.
#[derive(Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, in lower case and in ASCII. Where it leads must be judged when it is known.
    Name(String),
    /// An address that may be called, unless it is the machine's own.
    Address(IpAddr),
}

/// Why a URL may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// It is longer than `url_bytes_max`.
    TooLong,
    /// It is none, or has blanks or control characters in it.
    Malformed,
    /// It does not begin with https://, nor with http:// where that is allowed.
    Scheme,
    /// It has a user or a password in it, which would be sent to whoever it names.
    Credentials,
    /// It has a fragment, which is never sent.
    Fragment,
    /// Its port may not be called.
    Port,
    /// Its address may not be called.
    Address,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// Why it may not be called.
    pub fn parse(text: &str, rules: &Rules) -> Result<Self, TargetError> {
        if text.len() as u64 > rules.url_bytes_max.0 {
            return Err(TargetError::TooLong);
        }
        // The standard takes blanks and line breaks out and backslashes for slashes: what it makes of such a text, its author
        // cannot have meant.
        let odd = |character: char| {
            character.is_control() || character.is_whitespace() || character == '\\'
        };
        if text.contains(odd) {
            return Err(TargetError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if rules.allow_http => {}
            _ => return Err(TargetError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        let port = url.port_or_known_default().ok_or(TargetError::Malformed)?;
        if !rules.ports.is_empty() && !rules.ports.contains(&u32::from(port)) {
            return Err(TargetError::Port);
        }
        let host = match url.host().ok_or(TargetError::Malformed)? {
            url::Host::Domain(name) => Host::Name(name.to_owned()),
            url::Host::Ipv4(address) => Host::Address(address.into()),
            url::Host::Ipv6(address) => Host::Address(address.into()),
        };
        match &host {
            // Right, but half of all programs take such a name for another one.
            Host::Name(name) if name.is_empty() || name.ends_with('.') => {
                return Err(TargetError::Malformed);
            }
            Host::Address(address) if !may_be_called(*address, rules) => {
                return Err(TargetError::Address);
            }
            _ => {}
        }
        Ok(Self { url, host, port })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whom it names.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The whole URL in its normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// What a request names: path and query.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// What stands in a request's `Host`: the host, and the port if it is not the usual one.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }
}

/// Whether an address may be called, for all that is known here.
fn may_be_called(address: IpAddr, rules: &Rules) -> bool {
    matches!(
        judge(address, &rules.allow_networks, &rules.deny_networks),
        Judgement::Permitted | Judgement::PermittedUnlessOwn
    )
}

impl fmt::Debug for Target {
    /// Never the URL: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(..)")
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host(..)")
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "The URL is longer than this server takes.",
            Self::Malformed => "This is not a URL.",
            Self::Scheme => "The URL must begin with https://.",
            Self::Credentials => "The URL may not have a user or a password in it.",
            Self::Fragment => "The URL may not have a fragment (#...).",
            Self::Port => "This port is not called from here.",
            Self::Address => "This address is not called from here.",
        })
    }
}

impl std::error::Error for TargetError {}
