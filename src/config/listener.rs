//! A listener for mail, as the file names it: an address, or a table with an address and what holds there alone.

#![forbid(unsafe_code)]

use crate::policy::network::Network;
use crate::settings::{Value, quoted};
use crate::smtp::{Extension, Extensions};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::net::SocketAddr;

/// A listener for mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// Extensions that it does not offer.
    pub without: Vec<Extension>,
    /// Whose connections must begin with a PROXY header. Unless empty, nobody else is served here.
    pub proxy_from: Vec<Network>,
    /// Clients that may speak for others (XCLIENT).
    pub xclient_from: Vec<Network>,
}

/// The table form.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    address: SocketAddr,
    #[serde(default)]
    without: Vec<Extension>,
    #[serde(default)]
    proxy_from: Vec<Network>,
    #[serde(default)]
    xclient_from: Vec<Network>,
}

impl MailListener {
    /// What it offers beside the basic commands. BINARYMIME goes with CHUNKING, without which it could not be used
    /// (RFC 3030 section 3).
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        let offered = self
            .without
            .iter()
            .fold(Extensions::ALL, |offered, out| offered.without(*out));
        match offered.offers(Extension::Chunking) {
            true => offered,
            false => offered.without(Extension::BinaryMime),
        }
    }
}

impl From<SocketAddr> for MailListener {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            without: Vec::new(),
            proxy_from: Vec::new(),
            xclient_from: Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for MailListener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListenerVisitor;
        impl<'de> Visitor<'de> for ListenerVisitor {
            type Value = MailListener;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an address with port like \"0.0.0.0:25\", or a table like { address = \"0.0.0.0:25\" }",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MailListener, E> {
                text.parse().map(SocketAddr::into).map_err(|_| {
                    E::custom(
                        "not an address with port; write one like \"0.0.0.0:25\" or \"[::]:25\"",
                    )
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MailListener, A::Error> {
                let Table {
                    address,
                    without,
                    proxy_from,
                    xclient_from,
                } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(MailListener {
                    address,
                    without,
                    proxy_from,
                    xclient_from,
                })
            }
        }
        deserializer.deserialize_any(ListenerVisitor)
    }
}

impl Value for MailListener {
    fn kind() -> String {
        "address with port, or table with `address` and options".to_owned()
    }

    /// As short as it can be written: without options it is its address.
    fn toml(&self) -> Option<String> {
        let Self {
            address,
            without,
            proxy_from,
            xclient_from,
        } = self;
        let address = quoted(&address.to_string());
        let options: String = [
            ("without", without.is_empty(), without.toml()),
            ("proxy_from", proxy_from.is_empty(), proxy_from.toml()),
            ("xclient_from", xclient_from.is_empty(), xclient_from.toml()),
        ]
        .into_iter()
        .filter(|(_, is_empty, _)| !is_empty)
        .filter_map(|(key, _, list)| Some(format!(", {key} = {}", list?)))
        .collect();
        Some(match options.is_empty() {
            true => address,
            false => format!("{{ address = {address}{options} }}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Holder {
        smtp: Vec<MailListener>,
    }

    fn read(list: &str) -> Vec<MailListener> {
        toml::from_str::<Holder>(&format!("smtp = {list}"))
            .unwrap_or_else(|why| panic!("{list}: {why}"))
            .smtp
    }

    #[test]
    fn what_is_printed_reads_back_and_is_as_short_as_what_was_written() {
        for list in [
            "[]",
            "[\"127.0.0.1:2525\", \"[::1]:2525\"]",
            "[\"0.0.0.0:25\", { address = \"10.0.0.1:2525\", without = [\"CHUNKING\", \"STARTTLS\"] }]",
            "[{ address = \"[::]:25\", proxy_from = [\"10.0.0.0/8\", \"2001:db8::1\"], xclient_from = [\"127.0.0.1\"] }]",
        ] {
            let listeners = read(list);
            assert_eq!(listeners.toml().as_deref(), Some(list));
        }
        let plain = read("[{ address = \"[::]:25\", without = [] }]");
        assert_eq!(plain.toml().as_deref(), Some("[\"[::]:25\"]"));
    }

    #[test]
    fn a_listener_offers_everything_but_what_it_is_without() {
        let offered = |list: &str| read(list)[0].extensions();
        assert_eq!(offered("[\"[::]:25\"]"), Extensions::ALL);
        let fewer = offered("[{ address = \"[::]:25\", without = [\"CHUNKING\", \"SMTPUTF8\"] }]");
        for (extension, is_offered) in [
            (Extension::Chunking, false),
            (Extension::SmtpUtf8, false),
            (Extension::BinaryMime, false),
            (Extension::StartTls, true),
            (Extension::Size, true),
        ] {
            assert_eq!(fewer.offers(extension), is_offered, "{extension:?}");
        }
    }
}
