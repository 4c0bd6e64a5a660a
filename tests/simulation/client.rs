//! One client with one transaction, as a state machine: what happens to it goes in, what it wants
//! comes out.
//!
//! It stands for the session that serves it. A session of the SMTP engine can take its place: its
//! questions are the same.

#![forbid(unsafe_code)]

use crate::world;
use mayfly::clock::Instant;
use mayfly::mail::message::QueueId;
use mayfly::mail::{BodyWriter, Ledger, Message};
use mayfly::store::{Lease, Unavailable};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The body grows in steps of this size.
const STEP_BYTES: usize = 1000;

/// A leased place and whose it is.
pub(crate) struct Held {
    pub(crate) shard: usize,
    pub(crate) lease: Lease,
}

/// What happens to a client.
pub(crate) enum Input {
    /// It may go on.
    Go,
    /// The answer to [`Output::Ask`].
    Leased(Result<Held, Unavailable>),
    /// The answer to one [`Output::Deliver`].
    Delivered,
    /// Its connection is gone.
    Hangup,
}

/// What a client wants.
pub(crate) enum Output {
    /// RCPT: a place.
    Ask { recipient: u32, declared: u64 },
    /// The end of data: the message for all places of one shard.
    Deliver {
        shard: usize,
        leases: Vec<Lease>,
        message: Arc<Message>,
    },
    /// It has ended.
    End(Outcome),
    /// A place that is not needed.
    Release(Held),
    /// To go on later.
    Wait,
}

/// How a transaction ended.
pub(crate) enum Outcome {
    /// 250.
    Accepted { recipients: usize },
    /// The connection went before the end of data.
    Cut,
    /// 452: no memory for the body.
    Deferred,
    /// No recipient had a place.
    Refused,
    /// Stored, but the connection went before the 250.
    ReplyLost { recipients: usize },
}

pub(crate) struct Client {
    name: u64,
    began: Instant,
    bytes: usize,
    state: State,
}

enum State {
    /// RCPT by RCPT.
    Naming {
        todo: Vec<u32>,
        held: Vec<Held>,
        asked: bool,
    },
    /// DATA.
    Writing {
        held: Vec<Held>,
        writer: BodyWriter,
    },
    /// Waits for all owners.
    Committing {
        recipients: usize,
        owners: usize,
        connected: bool,
    },
    /// Gone, with a question under way.
    Orphan,
    Ended,
}

/// The name that a transaction's message has everywhere.
pub(crate) fn queue_id(name: u64) -> QueueId {
    QueueId::from_random(name.into())
}

impl Client {
    pub(crate) fn new(name: u64, recipients: Vec<u32>, bytes: usize, now: Instant) -> Self {
        let state = State::Naming {
            todo: recipients,
            held: Vec::new(),
            asked: false,
        };
        Self {
            name,
            began: now,
            bytes,
            state,
        }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn step(&mut self, input: Input, ledger: &Ledger, now: Instant) -> Vec<Output> {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let (state, outputs) = match (state, input) {
            (State::Naming { todo, held, asked }, Input::Hangup) => hang_up(asked, todo, held),
            (State::Writing { held, .. }, Input::Hangup) => give_up(held, Outcome::Cut),
            (state @ State::Naming { asked: true, .. }, Input::Go) => (state, Vec::new()),
            (State::Naming { todo, held, .. }, Input::Go) => self.name_next(todo, held, ledger),
            (State::Naming { todo, mut held, .. }, Input::Leased(answer)) => {
                held.extend(answer);
                self.name_next(todo, held, ledger)
            }
            (State::Writing { held, writer }, Input::Go) => self.write(held, writer, ledger, now),
            (
                State::Committing {
                    recipients,
                    owners,
                    connected,
                },
                Input::Delivered,
            ) => committed(recipients, owners - 1, connected),
            (
                State::Committing {
                    recipients, owners, ..
                },
                Input::Hangup,
            ) => {
                let connected = false;
                let state = State::Committing {
                    recipients,
                    owners,
                    connected,
                };
                (state, Vec::new())
            }
            (State::Orphan, Input::Leased(answer)) => {
                give_up(answer.into_iter().collect(), Outcome::Cut)
            }
            (state, Input::Go) => (state, Vec::new()),
            _ => panic!("an answer that was not asked for"),
        };
        self.state = state;
        outputs
    }

    fn name_next(
        &self,
        mut todo: Vec<u32>,
        held: Vec<Held>,
        ledger: &Ledger,
    ) -> (State, Vec<Output>) {
        if let Some(recipient) = todo.pop() {
            let asked = true;
            let declared = self.bytes as u64;
            let ask = Output::Ask {
                recipient,
                declared,
            };
            return (State::Naming { todo, held, asked }, vec![ask]);
        }
        if held.is_empty() {
            return give_up(held, Outcome::Refused);
        }
        let Some(first) = ledger.reserve(0) else {
            return give_up(held, Outcome::Deferred);
        };
        let writer = BodyWriter::new(first);
        (State::Writing { held, writer }, vec![Output::Wait])
    }

    fn write(
        &self,
        held: Vec<Held>,
        mut writer: BodyWriter,
        ledger: &Ledger,
        now: Instant,
    ) -> (State, Vec<Output>) {
        let step = STEP_BYTES.min(self.bytes - writer.len());
        let Some(more) = ledger.reserve(step as u64) else {
            return give_up(held, Outcome::Deferred);
        };
        writer.grow(more);
        assert_eq!(writer.write(&vec![b'x'; step]), step);
        if writer.len() < self.bytes {
            return (State::Writing { held, writer }, vec![Output::Wait]);
        }
        let message = world::wrap(self.name.into(), writer.finish(), now);
        let recipients = held.len();
        let mut owners: BTreeMap<usize, Vec<Lease>> = BTreeMap::new();
        for Held { shard, lease } in held {
            owners.entry(shard).or_default().push(lease);
        }
        let state = State::Committing {
            recipients,
            owners: owners.len(),
            connected: true,
        };
        let deliver = |(shard, leases)| Output::Deliver {
            shard,
            leases,
            message: Arc::clone(&message),
        };
        (state, owners.into_iter().map(deliver).collect())
    }
}

fn hang_up(asked: bool, _todo: Vec<u32>, held: Vec<Held>) -> (State, Vec<Output>) {
    if asked {
        let outputs = held.into_iter().map(Output::Release).collect();
        (State::Orphan, outputs)
    } else {
        give_up(held, Outcome::Cut)
    }
}

fn give_up(held: Vec<Held>, outcome: Outcome) -> (State, Vec<Output>) {
    let released = held.into_iter().map(Output::Release);
    let outputs = released.chain([Output::End(outcome)]).collect();
    (State::Ended, outputs)
}

fn committed(recipients: usize, owners: usize, connected: bool) -> (State, Vec<Output>) {
    if owners > 0 {
        let state = State::Committing {
            recipients,
            owners,
            connected,
        };
        return (state, Vec::new());
    }
    let outcome = if connected {
        Outcome::Accepted { recipients }
    } else {
        Outcome::ReplyLost { recipients }
    };
    (State::Ended, vec![Output::End(outcome)])
}
