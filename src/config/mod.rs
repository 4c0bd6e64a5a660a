//! One file that says how all of it behaves.
//!
//! Each room declares its own settings; this one puts them together, reads them from TOML text and
//! from environment variables ([`Config::load`]), explains every mistake ([`ConfigErrors`]) and
//! prints the manual ([`manual`]). It opens no file: text comes in, values go out.

#![forbid(unsafe_code)]

mod check;
mod listener;
pub mod manual;
mod mistake;
mod read;
pub mod sections;
mod under;

pub use listener::MailListener;
pub use mistake::ConfigErrors;
pub use read::{Effective, Source};
pub use sections::{Certificate, Compatibility, Http, Listen, Mcp, Server, Tls};

use crate::settings::{Described, Entry};
use crate::{policy, reading, smtp, store};
use serde::Deserialize as _;
use toml::Spanned;
use toml::de::DeTable;

/// Which settings of a section wait for a restart. The others follow SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    /// None.
    None,
    /// These keys.
    Only(&'static [&'static str]),
    /// All.
    All,
}

impl Restart {
    fn is_needed_for(self, key: &str) -> bool {
        match self {
            Self::None => false,
            Self::Only(keys) => keys.contains(&key),
            Self::All => true,
        }
    }
}

/// A section of the file, with the values that it has in some [`Config`].
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name in brackets.
    pub name: &'static str,
    /// Its sentences, a line each.
    pub about: &'static [&'static str],
    /// Its settings in the order of their declaration.
    pub entries: Vec<Entry>,
    restart: Restart,
}

impl Section {
    /// Whether a change of this key takes effect only after a restart.
    #[must_use]
    pub fn needs_restart(&self, key: &str) -> bool {
        self.restart.is_needed_for(key)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Declares the sections: name, what holds its values, which keys wait for a restart.
macro_rules! sections {
    ($( $(#[doc = $doc:literal])* $section:ident : $ty:ty, restart $restart:expr; )*) => {
        /// All settings.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config { $( $(#[doc = $doc])* pub $section: $ty ),* }

        impl Config {
            /// The sections in the order of the file, with their values.
            #[must_use]
            pub fn sections(&self) -> Vec<Section> {
                vec![$( Section {
                    name: stringify!($section),
                    about: <$ty as Described>::about(),
                    entries: self.$section.entries(),
                    restart: $restart,
                } ),*]
            }

            /// Reads one section; keys that it does not name get their defaults.
            fn read_section(&mut self, name: &str, table: Spanned<DeTable<'_>>) -> Result<(), toml::de::Error> {
                let deserializer = toml::de::Deserializer::from(table);
                match name {
                    $( stringify!($section) => self.$section = <$ty>::deserialize(deserializer)?, )*
                    _ => debug_assert!(false, "only known sections are read"),
                }
                Ok(())
            }
        }
    };
}

sections! {
    /// The process.
    server: Server, restart Restart::All;
    /// Where mayfly listens.
    listen: Listen, restart Restart::All;
    /// TLS on the SMTP listeners.
    tls: Tls, restart Restart::None;
    /// What one SMTP session may do.
    smtp: smtp::Limits, restart Restart::None;
    /// Who may connect.
    admission: policy::admission::Rules, restart Restart::None;
    /// What one client may do in a minute.
    clients: policy::clients::Rules, restart Restart::Only(&["clients_max"]);
    /// What happens when memory, connections or time run short.
    pressure: policy::pressure::Rules, restart Restart::None;
    /// Where mail may go.
    recipients: policy::recipients::Rules, restart Restart::None;
    /// What becomes of attachments when mail arrives.
    attachments: policy::attachments::Rules, restart Restart::None;
    /// How much mail is kept and for how long.
    store: store::Budget, restart Restart::None;
    /// The HTTP API.
    http: Http, restart Restart::Only(&["rate_clients_max"]);
    /// APIs of other services that answer beside ours.
    // A password is checked as long for an unknown address as for a known one. Hashes keep the costs that they were made with, so
    // these change when no hash is left: at a restart.
    compatibility: Compatibility, restart Restart::Only(&["password_memory", "password_passes", "passwords_at_once"]);
    /// Who may create more than others.
    plans: policy::plans::Plans, restart Restart::None;
    /// How messages are taken apart for people to read.
    reading: reading::Limits, restart Restart::Only(&["at_once"]);
    /// Calls to URLs when mail comes.
    webhooks: policy::webhooks::Rules, restart Restart::Only(&["reports_max"]);
    /// Mailboxes for agents.
    mcp: Mcp, restart Restart::None;
}

impl Config {
    /// Reads settings from the text of a file and from environment variables, which win.
    ///
    /// Variables whose names do not begin with `MAYFLY__` are left alone.
    pub fn load(
        file: Option<Source<'_>>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Effective, ConfigErrors> {
        let environment: Vec<_> = environment
            .into_iter()
            .filter(|(name, _)| name.starts_with(read::VARIABLE_PREFIX))
            .collect();
        read::load(file, &environment)
    }

    /// The settings in which `new` differs and that a running process cannot change: `section.key`.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<String> {
        let mut keys = Vec::new();
        for (section, other) in self.sections().iter().zip(new.sections()) {
            for (entry, changed) in section.entries.iter().zip(other.entries) {
                if entry.value != changed.value && section.needs_restart(entry.key) {
                    keys.push(format!("{}.{}", section.name, entry.key));
                }
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests;
