//! The loop of one core.
//!
//! It parks in the core's own ring and nowhere else. Whatever can wake the core comes through the ring: bytes,
//! new connections, and the bell of the inbox. One batch of completions wakes many tasks; then the loop yields,
//! they run, and what they asked of the kernel goes out with the next turn.

use super::arrivals::{Arrivals, Door};
use super::core::{Core, Stage};
use super::inbox::{Notice, Request};
use super::questions::Answer;
use super::ring::{Turn, process};
use crate::clock::Instant;
use crate::metrics::{AcceptError, Gone};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

/// The longest sleep of an idle core.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Requests that are taken from the inbox in one turn.
const REQUESTS_PER_TURN: usize = 1024;

/// Expiry steps in one turn. More is due? Then the next turn does not sleep.
const EXPIRIES_PER_TURN: usize = 2048;

/// Alarms that ring in one turn.
const ALARMS_PER_TURN: usize = 1024;

/// Sessions that are told in one turn that the pressure has risen.
const WAKES_PER_TURN: u32 = 2048;

/// Freed copies of messages after which the allocator is asked to hand their memory back, and how often at most. It
/// keeps what was freed for later use, which is right for a busy core and wrong after a burst.
const RETURN_AFTER: u64 = 1000;
const RETURN_PAUSE: Duration = Duration::from_secs(1);

/// A turn of the loop that takes so long is a stall. The sentence of the metric that counts them says so.
const STALL: Duration = Duration::from_millis(100);

/// How long accepting rests when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on these listeners until told to halt.
///
/// # Errors
/// When the ring fails.
pub async fn serve(core: Rc<Core>, listeners: Vec<(Door, OwnedFd)>) -> io::Result<()> {
    let doors = listeners
        .into_iter()
        .map(|(door, socket)| {
            core.ring.listen(socket);
            door
        })
        .collect();
    core.ring.attach_bell(core.cores.inbox(core.id).bell());
    let mut turns = Turns {
        arrivals: Arrivals::new(&core, doors),
        core,
        paused: Vec::new(),
        freed: 0,
        returned_at: Instant::ZERO,
    };
    turns.run().await
}

struct Turns {
    core: Rc<Core>,
    arrivals: Arrivals,
    /// Listeners that rest, and until when.
    paused: Vec<(u32, Instant)>,
    /// Copies of messages freed since memory was handed back.
    freed: u64,
    returned_at: Instant,
}

impl Turns {
    /// Serves until told to halt.
    async fn run(&mut self) -> io::Result<()> {
        let core = Rc::clone(&self.core);
        let inbox = core.cores.inbox(core.id);
        let mut turn = Turn::default();
        let mut busy = true;
        let mut lag_before = Duration::ZERO;
        while !core.halted.get() {
            inbox.listen();
            let may_sleep = !busy && inbox.is_empty() && !core.restless.take();
            let patience = if may_sleep {
                self.patience()
            } else {
                Duration::ZERO
            };
            let due = may_sleep.then(|| core.clock.now().plus(patience));
            core.ring.turn(patience, &mut turn)?;
            inbox.hush();
            let began = core.clock.now();
            core.now.set(began);
            let metrics = core.metrics();
            if let Some(due) = due.filter(|due| *due <= began) {
                metrics.loop_lag.observe_duration(began.since(due));
            }
            busy = self.take(&mut turn);
            // Whoever was woken runs now.
            glommio::executor().yield_task_queue_now().await;
            metrics.loop_turns.increment();
            let took = core.clock.now().since(began);
            metrics.loop_busy.observe_duration(took);
            metrics.busy.add(took);
            if took >= STALL {
                metrics.loop_stalls.increment();
            }
            // A single long turn is an accident (the machine slept, or served somebody else), two are a queue.
            let lag = took.min(std::mem::replace(&mut lag_before, took));
            core.cores.barometer().note_lag(core.id.0, lag);
        }
        Ok(())
    }

    /// What one turn brought; says whether more is waiting to be done.
    fn take(&mut self, turn: &mut Turn) -> bool {
        for (listener, socket) in turn.accepted.drain(..) {
            self.arrivals.accept(listener, socket);
        }
        let more_to_greet = self.arrivals.release();
        let now = self.core.now();
        for (listener, error) in turn.accept_failed.drain(..) {
            let errors = &self.core.metrics().smtp_accept_errors;
            errors.of(accept_error(&error)).increment();
            self.paused.push((listener, now.plus(ACCEPT_PAUSE)));
        }
        self.paused.retain(|(listener, until)| {
            let rests = *until > now;
            if !rests {
                self.core.ring.accept_again(*listener);
            }
            rests
        });
        let requests = self.take_requests();
        // Behind the requests: new settings are in force before they are asked.
        self.core.feel_pressure();
        let expiry = self.core.shard.borrow_mut().expire(now, EXPIRIES_PER_TURN);
        self.core
            .alarms
            .ring(now, ALARMS_PER_TURN, |(index, generation)| {
                self.core.ring.wake(index, generation);
            });
        self.spread_pressure();
        self.count_store();
        let left = self.core.waking.get().is_some();
        let busy = more_to_greet || expiry.more || requests == REQUESTS_PER_TURN || left;
        if !busy {
            self.return_memory();
        }
        busy
    }

    /// Tells the sessions that wait, some in each turn, that the pressure has risen: they have less time now.
    fn spread_pressure(&self) {
        if let Some(first) = self.core.waking.get() {
            let next = self.core.ring.wake_some(first, WAKES_PER_TURN);
            self.core.waking.set(next);
        }
    }

    fn return_memory(&mut self) {
        let now = self.core.now();
        if self.freed < RETURN_AFTER || now.since(self.returned_at) < RETURN_PAUSE {
            return;
        }
        process::return_freed_memory();
        (self.freed, self.returned_at) = (0, now);
    }

    /// How long the core may sleep.
    fn patience(&self) -> Duration {
        let now = self.core.clock.now();
        let next = [
            self.core.alarms.next(),
            self.arrivals.next(),
            self.core.shard.borrow().next_expiry(),
            self.paused.iter().map(|(_, until)| *until).min(),
            self.core.pressure_due(),
        ];
        next.into_iter()
            .flatten()
            .map(|instant| instant.since(now))
            .min()
            .map_or(SLEEP_MAX, |wait| wait.min(SLEEP_MAX))
    }

    fn take_requests(&self) -> usize {
        let inbox = self.core.cores.inbox(self.core.id);
        let mut taken = 0;
        while taken < REQUESTS_PER_TURN {
            let Some(request) = inbox.take() else { break };
            taken += 1;
            self.serve(request);
        }
        self.core.metrics().inbox_requests.add(taken as u64);
        taken
    }

    fn serve(&self, request: Request) {
        let now = self.core.now.get();
        match request {
            Request::Lease {
                from,
                ticket,
                mailbox,
                existence,
                declared_bytes,
            } => {
                let answer =
                    self.core
                        .shard
                        .borrow_mut()
                        .lease(&mailbox, existence, declared_bytes, now);
                let leased = Request::Leased {
                    owner: self.core.id,
                    ticket,
                    answer,
                };
                self.core.cores.inbox(from).settle(leased);
            }
            Request::Leased {
                owner,
                ticket,
                answer,
            } => {
                if let Err(Answer::Leased(Ok(lease))) =
                    self.core.questions.answer(ticket, Answer::Leased(answer))
                {
                    // Who asked is gone: the place must not stay taken.
                    self.core.give_back(owner, lease);
                }
            }
            Request::Deliver {
                from,
                ticket,
                leases,
                message,
            } => {
                let kept_until = self.core.deliver(leases, &message);
                self.core
                    .cores
                    .inbox(from)
                    .settle(Request::Delivered { ticket, kept_until });
            }
            Request::Delivered { ticket, kept_until } => {
                if self
                    .core
                    .questions
                    .answer(ticket, Answer::Delivered(kept_until))
                    .is_err()
                {
                    self.core.metrics().messages_unconfirmed.increment();
                }
            }
            Request::Arranged { ticket, arranged } => {
                // Who asked may be gone, and the message with it: nobody was told that it is stored.
                drop(
                    self.core
                        .questions
                        .answer(ticket, Answer::Arranged(arranged)),
                );
            }
            Request::Release(lease) => self.core.shard.borrow_mut().release(lease, now),
            Request::Call(work) => work(&mut self.core.shard.borrow_mut(), now),
            Request::Notice(notice) => self.obey(notice),
        }
    }

    fn obey(&self, notice: Notice) {
        match notice {
            Notice::Reload(live) => {
                let mut shard = self.core.shard.borrow_mut();
                shard.set_budget(live.budget.clone());
                shard.set_domain_callees(live.domain_callees.clone());
                drop(shard);
                self.core.handshakes.set_limit(live.tls.handshakes_max);
                self.core.live.replace(Rc::new(live.own()));
                self.core.cores.barometer().hurry();
            }
            Notice::Drain => {
                self.core.stage.set(Stage::Draining);
                self.core.ring.close_listeners();
                self.core.ring.wake_all();
            }
            Notice::Cut => {
                self.core.stage.set(Stage::Cutting);
                self.core.ring.wake_all();
            }
            Notice::Halt => self.core.halted.set(true),
        }
    }

    /// What the shard did since the last turn, for the metrics.
    fn count_store(&mut self) {
        let mut shard = self.core.shard.borrow_mut();
        self.core.report(&mut shard);
        let tally = shard.take_tally();
        self.freed += tally.messages_expired + tally.messages_deleted + tally.messages_evicted;
        let metrics = self.core.metrics();
        metrics.store_mailboxes.set(shard.mailboxes() as u64);
        metrics.store_messages.set(shard.messages() as u64);
        metrics.store_delivered.add(tally.messages_delivered);
        metrics
            .store_gone
            .of(Gone::Deleted)
            .add(tally.messages_deleted);
        metrics
            .store_gone
            .of(Gone::Evicted)
            .add(tally.messages_evicted);
        metrics
            .store_gone
            .of(Gone::Expired)
            .add(tally.messages_expired);
        metrics.store_late.add(tally.messages_late);
        metrics.store_mailboxes_created.add(tally.mailboxes_created);
        metrics.store_mailboxes_erased.add(tally.mailboxes_erased);
        metrics.store_mailboxes_expired.add(tally.mailboxes_expired);
        metrics.store_mailboxes_used_up.add(tally.mailboxes_used_up);
        let recovered = &metrics.store_mailboxes_recovered;
        recovered.add(tally.mailboxes_recovered);
        metrics
            .store_quarantine_refused
            .add(tally.quarantine_refused);
        metrics
            .store_quarantine_cut_short
            .add(tally.quarantine_cut_short);
        metrics.store_watchers_dropped.add(tally.watchers_dropped);
        if tally.messages_expired + tally.mailboxes_expired > 0 {
            metrics
                .store_expiry_lag
                .observe_duration(tally.expiry_lag_max);
        }
        metrics.tasks.set(self.core.ring.connections() as u64);
        let exhausted = self.core.ring.exhausted() - metrics.buffers_exhausted.value();
        metrics.buffers_exhausted.add(exhausted);
    }
}

/// How the metrics name what accept(2) says.
fn accept_error(error: &io::Error) -> AcceptError {
    match error.raw_os_error() {
        Some(libc::ECONNABORTED) => AcceptError::Aborted,
        Some(libc::EMFILE | libc::ENFILE) => AcceptError::Descriptors,
        Some(libc::ENOBUFS | libc::ENOMEM) => AcceptError::Memory,
        _ => AcceptError::Other,
    }
}
