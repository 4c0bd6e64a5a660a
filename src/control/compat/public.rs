//! Mailboxes that are everybody's, as the rooms see them that know no secret.
//!
//! A mailbox that is not there is an empty one: nobody has to create it, so there is nothing to be told apart. A name that is not
//! at a public domain is as good as none.

use super::form::encoded;
use crate::clock::Instant;
use crate::control::Settings;
use crate::control::app::App;
use crate::control::problem::Problem;
use crate::edge::CoreShard;
use crate::mail::Address;
use crate::policy::recipients::{first_public, public_mailbox};
use crate::store::{Entry, Holder, Sequence};

/// A public mailbox that somebody named.
#[derive(Clone)]
pub(super) struct Named {
    /// What it is called where its own room lists it: a local part at the first public domain, else an address.
    pub(super) name: String,
    /// Its address.
    pub(super) address: Address,
}

/// What a public mailbox is called: its local part if that leads back to it, else its address.
pub(super) fn name_of(address: &Address, settings: &Settings) -> String {
    match first_public(&settings.recipients) {
        Some(first) if first == address.domain() => address.local().to_owned(),
        _ => address.as_str().to_owned(),
    }
}

impl Named {
    /// The mailbox that `name` means, an address or a local part; `None` if it is not everybody's.
    pub(super) fn find(name: &str, settings: &Settings) -> Option<Self> {
        let address = public_mailbox(name, &settings.recipients)?;
        Some(Self {
            name: name_of(&address, settings),
            address,
        })
    }

    /// Its name as part of a path.
    pub(super) fn in_a_path(&self) -> String {
        encoded(&self.name)
    }

    /// Asks its core. `None`: there is nothing in it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        app: &App,
        question: impl FnOnce(&mut CoreShard, &Holder, Instant) -> Option<T> + Send + 'static,
    ) -> Result<Option<T>, Problem> {
        let anybody = Holder::Public(self.address.clone());
        match app.ask(&anybody, question).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Problem::NoSuchMailbox) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Its newest messages, newest first.
    pub(super) async fn newest(&self, app: &App, limit: usize) -> Result<Vec<Entry>, Problem> {
        let newest = self.ask(app, move |shard, holder, now| {
            shard.newest(holder, 0, limit, now)
        });
        Ok(newest.await?.map_or_else(Vec::new, |(_, entries)| entries))
    }

    /// One of its messages.
    pub(super) async fn message(&self, app: &App, id: Sequence) -> Result<Option<Entry>, Problem> {
        let found = self.ask(app, move |shard, holder, now| {
            shard.message(holder, id, now)
        });
        Ok(found.await?.flatten())
    }
}
