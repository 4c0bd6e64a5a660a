//! Webhooks: when mail comes, URLs are called that holders of mailboxes, or the operator, have named.
//!
//! Cores report arrivals through one bounded channel, a few numbers each. A task of its own here keeps them in an
//! [`Outbox`], which decides what is tried and when; it starts the attempts and learns how they ended. A delivery that
//! waits holds nothing of its message: each attempt asks the message's core for it, and gets nothing when it, its mailbox
//! or its webhook is gone. So there is nothing to forget, whatever waits.

mod attempt;
mod payload;
mod signature;

pub(super) use payload::WebhookCall;
pub use signature::Secrets;
pub(super) use signature::{draw as draw_secret, reveal as reveal_secret};

use super::app::App;
use super::outgoing::Caller;
use super::problem::Problem;
use super::{Phase, random};
use crate::breaker::State;
use crate::edge::CoreId;
use crate::edge::inbox::Reported;
use crate::metrics::process::{BreakerFrom, BreakerTo, UrlState, WebhookDropped, WebhookResult};
use crate::policy::webhooks::{
    Destination, Ended, Fate, Forgotten, Outbox, Refused, Rules, Target, Ticket,
};
use crate::store::{Callee, Happened, HashKey, MailboxId, Notice, Sequence, Webhook};
use attempt::Report;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinError, JoinSet};

/// Reports that are taken up before anything else gets its turn.
const REPORTS_AT_A_TIME: usize = 64;

/// Tests that holders may run at a time.
const TESTS_AT_ONCE: usize = 8;

/// What handlers share of webhooks.
#[derive(Debug)]
pub(super) struct Webhooks {
    pub(super) caller: Caller,
    /// Under which URLs are hashed.
    key: HashKey,
    tests: Semaphore,
}

impl Webhooks {
    pub(super) fn new(rules: &Rules) -> Self {
        let [first, second] = [random(), random()].map(u64::from_le_bytes);
        Self {
            caller: Caller::new(rules.at_once),
            key: HashKey(first, second),
            tests: Semaphore::new(TESTS_AT_ONCE),
        }
    }

    /// Who is called by this URL. Each time somebody new.
    pub(super) fn callee(&self, target: &Target) -> Callee {
        Callee {
            id: u64::from_le_bytes(random()),
            url: self.key.hash_bytes(target.as_str().as_bytes()),
            host: self
                .key
                .hash_bytes(format!("{}:{}", target.authority(), target.port()).as_bytes()),
        }
    }
}

/// What came of a test.
pub(super) struct Tested {
    pub(super) result: WebhookResult,
    pub(super) took: Duration,
}

/// Calls a mailbox's webhook to see whether that works.
pub(super) async fn test(app: &App, mailbox: &str, webhook: &Webhook) -> Result<Tested, Problem> {
    let _turn = app
        .webhooks
        .tests
        .try_acquire()
        .map_err(|_| Problem::Busy)?;
    let report = attempt::test(app, mailbox, webhook).await;
    Ok(Tested {
        result: report.result.ok_or(Problem::Busy)?,
        took: report.took,
    })
}

/// What a delivery is about.
#[derive(Clone, Copy, Debug)]
struct Job {
    callee: Callee,
    core: CoreId,
    mailbox: MailboxId,
    sequence: Sequence,
    /// The same in all its attempts.
    id: u128,
}

/// Delivers until everything stops.
pub(super) async fn serve(app: Arc<App>, mut reports: mpsc::Receiver<Reported>) {
    let mut stopped = app.phase.clone();
    let mut stopped = pin!(stopped.wait_for(|phase| *phase >= Phase::Stopped));
    let mut dispatcher = Dispatcher::new(Arc::clone(&app));
    let mut reported = Vec::with_capacity(REPORTS_AT_A_TIME);
    loop {
        let settings = app.settings.load_full();
        let due = dispatcher.start(&settings.webhooks);
        let wait = due.map(|due| due.since(app.cores.now()));
        tokio::select! {
            _ = &mut stopped => return,
            taken = reports.recv_many(&mut reported, REPORTS_AT_A_TIME) => {
                if taken == 0 {
                    return;
                }
                for (core, notice) in reported.drain(..) {
                    dispatcher.take(core, notice, &settings.webhooks);
                }
            }
            Some(ended) = dispatcher.tasks.join_next_with_id(), if !dispatcher.tasks.is_empty() => {
                dispatcher.ended(ended, &settings.webhooks);
            }
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
}

/// Who starts attempts and learns how they ended.
struct Dispatcher {
    app: Arc<App>,
    outbox: Outbox<Job>,
    /// Attempts under way.
    tasks: JoinSet<Report>,
    under_way: HashMap<tokio::task::Id, (Ticket, Job, AbortHandle)>,
}

impl Dispatcher {
    fn new(app: Arc<App>) -> Self {
        Self {
            app,
            outbox: Outbox::default(),
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
        }
    }

    /// Takes up what a core has reported.
    fn take(&mut self, core: CoreId, notice: Notice, rules: &Rules) {
        let now = self.app.cores.now();
        let Notice {
            callee,
            mailbox,
            what,
        } = notice;
        let is_of = |job: &Job| (job.core, job.mailbox, job.callee) == (core, mailbox, callee);
        let forgotten = match what {
            Happened::Arrived(sequence) => {
                let job = Job {
                    callee,
                    core,
                    mailbox,
                    sequence,
                    id: u128::from_le_bytes(random()),
                };
                self.add(job, rules);
                return;
            }
            Happened::Deleted(sequence) => {
                let is_it = |job: &Job| is_of(job) && job.sequence == sequence;
                self.outbox.forget(callee.url, is_it, rules, now)
            }
            Happened::Closed => self.outbox.forget(callee.url, is_of, rules, now),
        };
        self.break_off(&forgotten, WebhookDropped::Vanished);
    }

    fn add(&mut self, job: Job, rules: &Rules) {
        let to = Destination {
            url: job.callee.url,
            host: job.callee.host,
        };
        let now = self.app.cores.now();
        if let Err(why) = self.outbox.add(to, job, rules, now) {
            self.drop_for(match why {
                Refused::Queue => WebhookDropped::Queue,
                Refused::UrlQueue => WebhookDropped::UrlQueue,
                Refused::Urls => WebhookDropped::Urls,
            });
        }
    }

    /// Starts all that may be tried now; says when to come back.
    fn start(&mut self, rules: &Rules) -> Option<crate::clock::Instant> {
        if !rules.enabled {
            let forgotten = self.outbox.clear();
            self.break_off(&forgotten, WebhookDropped::Off);
        }
        let now = self.app.cores.now();
        while let Some(attempt) = self.outbox.next(rules, now) {
            let (app, job, nth) = (Arc::clone(&self.app), attempt.job, attempt.nth);
            let handle = self
                .tasks
                .spawn(async move { attempt::attempt(&app, job, nth).await });
            self.under_way
                .insert(handle.id(), (attempt.ticket, job, handle));
        }
        self.publish();
        self.outbox.due(rules)
    }

    /// Learns how an attempt ended.
    fn ended(&mut self, ended: Result<(tokio::task::Id, Report), JoinError>, rules: &Rules) {
        let (id, report) = match ended {
            Ok((id, report)) => (id, Some(report)),
            Err(why) => {
                if why.is_panic() {
                    tracing::error!("a webhook's attempt ended by a panic");
                }
                (why.id(), None)
            }
        };
        let Some((ticket, job, _)) = self.under_way.remove(&id) else {
            return;
        };
        let ended = report.as_ref().map_or(Ended::Refused, |it| it.ended);
        let (now, random) = (self.app.cores.now(), u64::from_le_bytes(random()));
        let fate = self.outbox.settle(ticket, ended, random, rules, now);
        if let Some(report) = &report {
            self.count(report);
            if report.is_over {
                self.end(job);
            }
        }
        match fate {
            Some(Fate::GivenUp) => self.drop_for(match report.and_then(|it| it.result) {
                Some(WebhookResult::Gone) => WebhookDropped::Gone,
                Some(WebhookResult::Forbidden) => WebhookDropped::Forbidden,
                _ => WebhookDropped::Attempts,
            }),
            Some(Fate::Vanished) => self.drop_for(WebhookDropped::Vanished),
            Some(Fate::Delivered | Fate::Waits(_)) | None => {}
        }
    }

    /// Whoever was called wants to hear no more: their webhook ends.
    fn end(&self, job: Job) {
        let cores = self.app.cores.clone();
        tokio::spawn(async move {
            // A core that is too busy for this hears the same answer again.
            let _ = cores
                .call(job.core, move |shard, _| {
                    shard.end_webhook(job.mailbox, job.callee.id);
                })
                .await;
        });
    }

    /// Breaks attempts off that are not needed any more, and counts all that was dropped.
    fn break_off(&self, forgotten: &Forgotten, why: WebhookDropped) {
        if forgotten.waiting == 0 && forgotten.running.is_empty() {
            return;
        }
        for (ticket, _, handle) in self.under_way.values() {
            if forgotten.running.contains(ticket) {
                handle.abort();
            }
        }
        let dropped = forgotten.waiting + forgotten.running.len();
        let counter = self.app.metrics.webhook_dropped.of(why);
        counter.add_shared(dropped as u64);
    }

    fn drop_for(&self, why: WebhookDropped) {
        self.app.metrics.webhook_dropped.of(why).add_shared(1);
    }

    fn count(&self, report: &Report) {
        let metrics = &self.app.metrics;
        if let Some(result) = report.result {
            metrics.webhook_attempts.of(result).add_shared(1);
            // Nobody was called by whoever was too busy.
            if result != WebhookResult::Busy {
                let took = &metrics.webhook_duration;
                took.observe_duration_shared(report.took);
            }
        }
    }

    /// Shows what there is to do.
    fn publish(&mut self) {
        let metrics = &self.app.metrics;
        metrics.webhook_waiting.set(self.outbox.waiting() as u64);
        metrics.webhook_running.set(self.outbox.running() as u64);
        for (state, label) in [
            (State::Closed, UrlState::Closed),
            (State::Open, UrlState::Open),
            (State::HalfOpen, UrlState::HalfOpen),
        ] {
            let urls = self.outbox.urls(state) as u64;
            metrics.webhook_urls.of(label).set(urls);
        }
        for (from, to) in self.outbox.take_tally().turns {
            let (from, to) = (from_label(from), to_label(to));
            metrics.webhook_breaker_turns.of(from, to).add_shared(1);
        }
    }
}

const fn from_label(state: State) -> BreakerFrom {
    match state {
        State::Closed => BreakerFrom::Closed,
        State::Open => BreakerFrom::Open,
        State::HalfOpen => BreakerFrom::HalfOpen,
    }
}

const fn to_label(state: State) -> BreakerTo {
    match state {
        State::Closed => BreakerTo::Closed,
        State::Open => BreakerTo::Open,
        State::HalfOpen => BreakerTo::HalfOpen,
    }
}
