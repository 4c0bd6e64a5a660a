//! What stands before a mailbox is created: who asks, what they are granted, whether they may now.

use super::app::App;
use super::keys;
use super::problem::Problem;
use super::proof::Proof;
use super::rate::{Client, RateLimiter, Verdict};
use super::{Settings, bearer};
use crate::filter::Filter;
use crate::mail::quota::{Quota, Seat};
use crate::metrics::process::CreationRefused;
use crate::policy::plans::{ANONYMOUS, KeyHash, Plan};
use axum::http::HeaderMap;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Who wants to create something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Creator {
    /// A client without a key.
    Anonymous(Client),
    /// Whoever has this key.
    Key(KeyHash),
}

/// What is remembered of those who create. Bounded: by the clients and proofs that the settings say, and by their keys.
#[derive(Debug)]
pub(super) struct Guard {
    of_clients: RateLimiter<Client>,
    of_keys: RateLimiter<KeyHash>,
    /// Of all who show no key.
    anonymous: Quota,
    /// Of each key that was shown. Those whose key is gone go when there are more than keys.
    quotas: HashMap<KeyHash, Quota>,
    used_proofs: Filter,
}

impl Guard {
    /// Counts `clients_max` clients at most.
    pub(super) fn new(clients_max: u32) -> Self {
        Self {
            of_clients: RateLimiter::new(clients_max),
            of_keys: RateLimiter::new(clients_max),
            anonymous: Quota::new(0),
            quotas: HashMap::new(),
            used_proofs: Filter::new(),
        }
    }

    fn quota(&mut self, creator: Creator, settings: &Settings) -> &Quota {
        match creator {
            Creator::Anonymous(_) => &self.anonymous,
            Creator::Key(key) => {
                let is_known = |key: &KeyHash| settings.keys.plan(key).is_some();
                if !self.quotas.contains_key(&key) {
                    self.quotas.retain(|key, _| is_known(key));
                }
                self.quotas.entry(key).or_insert_with(|| Quota::new(0))
            }
        }
    }
}

impl Creator {
    /// Who sent a request. One without a key is fine; one with a wrong key is not, whatever is wrong with it.
    pub(super) fn of(
        app: &App,
        client: Client,
        headers: &HeaderMap,
        settings: &Settings,
    ) -> Result<Self, Problem> {
        if !headers.contains_key(axum::http::header::AUTHORIZATION) {
            return Ok(Self::Anonymous(client));
        }
        let shown = bearer(headers).unwrap_or_default();
        let key = keys::hash(shown);
        match settings.keys.plan(&key) {
            Some(_) => Ok(Self::Key(key)),
            None => Err(app.refuse_creation(CreationRefused::Key, Problem::WrongKey)),
        }
    }

    /// The same where clients send what other servers gave them: what is no key of ours is none.
    pub(super) fn with_key_or_without(
        client: Client,
        headers: &HeaderMap,
        settings: &Settings,
    ) -> Self {
        let key = bearer(headers).map(keys::hash);
        let key = key.filter(|key| settings.keys.plan(key).is_some());
        key.map_or(Self::Anonymous(client), Self::Key)
    }

    /// The plan that this one has, if it has one.
    pub(super) fn plan(self, settings: &Settings) -> Option<&Plan> {
        let name = match self {
            Self::Anonymous(_) => ANONYMOUS,
            Self::Key(key) => settings.keys.plan(&key)?,
        };
        settings.plans.plan(name)
    }

    /// Counts a creation, if there were not too many in the last minute.
    pub(super) fn pass_rate(self, app: &App, settings: &Settings) -> Result<(), Problem> {
        let of_plan = self
            .plan(settings)
            .and_then(|plan| plan.creations_per_minute);
        let limit = of_plan.unwrap_or(settings.http.creations_per_minute);
        let verdict = app.guard(|guard| match self {
            Self::Anonymous(client) => ask(&mut guard.of_clients, client, limit, app),
            Self::Key(key) => ask(&mut guard.of_keys, key, limit, app),
        });
        match verdict {
            Verdict::Pass(_) => Ok(()),
            Verdict::Refuse(standing) => {
                let problem = Problem::TooManyCreations(standing.reset_secs);
                Err(app.refuse_creation(CreationRefused::Rate, problem))
            }
        }
    }

    /// Takes a creation back that came to nothing through no fault of its creator.
    pub(super) fn forgive(self, app: &App) {
        let now = app.cores.now();
        app.guard(|guard| match self {
            Self::Anonymous(client) => guard.of_clients.forgive(client, now),
            Self::Key(key) => guard.of_keys.forgive(key, now),
        });
    }

    /// Uses up a proof of work, where one is asked for. Whoever shows a key needs none.
    pub(super) fn show_proof(
        self,
        app: &App,
        settings: &Settings,
        proof: Option<&Proof>,
    ) -> Result<(), Problem> {
        let http = &settings.http;
        if http.proof_of_work_bits == 0 || matches!(self, Self::Key(_)) {
            return Ok(());
        }
        let now = app.cores.now();
        let solved = proof.and_then(|proof| app.challenger.check(proof, now));
        let counts = solved.is_some_and(|solved| {
            app.guard(|guard| solved.uses_up(&mut guard.used_proofs, http.proofs_max, now))
        });
        if counts {
            return Ok(());
        }
        Err(app.refuse_creation(CreationRefused::Proof, Problem::ProofRequired))
    }

    /// A place for one more mailbox.
    pub(super) fn take_seat(self, app: &App, settings: &Settings) -> Result<Seat, Problem> {
        let most = self.plan(settings).map_or(0, |plan| plan.mailboxes_max);
        let seat = app.guard(|guard| {
            let quota = guard.quota(self, settings);
            quota.set_most(most);
            quota.take()
        });
        seat.ok_or_else(|| {
            app.refuse_creation(CreationRefused::Mailboxes, Problem::TooManyMailboxes)
        })
    }
}

/// The longest that a mailbox of this plan may be made to live.
pub(super) fn ttl_max(plan: Option<&Plan>, settings: &Settings) -> Duration {
    let of_plan = plan.and_then(|plan| plan.ttl_max);
    of_plan.unwrap_or(settings.budget.mailbox_ttl_max).0
}

/// The most messages in a mailbox of this plan.
pub(super) fn messages_max(plan: Option<&Plan>, settings: &Settings) -> u32 {
    let of_plan = plan.and_then(|plan| plan.mailbox_messages_max);
    of_plan.unwrap_or(settings.budget.mailbox_messages_max)
}

fn ask<C: Copy + Eq + Hash>(
    rate: &mut RateLimiter<C>,
    creator: C,
    limit: u32,
    app: &App,
) -> Verdict {
    match limit {
        // No limit; what is counted with this one is never asked for.
        0 => rate.request(creator, u32::MAX, app.cores.now()),
        limit => rate.request(creator, limit, app.cores.now()),
    }
}
