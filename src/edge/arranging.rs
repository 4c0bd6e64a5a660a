//! What is done to a message between its end and its mailboxes, where a mailbox or its domain asks for something.
//!
//! Most messages never come here: they are stored as they came. The others are handed to a helper, because to take 25 MiB
//! apart takes longer than a core may be away. Nothing is stored before all of it is done, so a message is still stored for all of its
//! recipients or for none.

use super::answers::Storing;
use super::core::{Core, HeldLease};
use super::inbox::Request;
use super::questions::{Answer, Question};
use super::seal::{self, SealError};
use crate::clock::Instant;
use crate::mail::message::QueueId;
use crate::mail::{Body, BodyWriter, EncryptionKey, Ledger, Message, ReversePath};
use crate::policy::attachments::{Part, Policy};
use crate::reading;
use crate::reading::removal::{self, Outcome, Seen};
use crate::smtp::{Leases, Reply};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What a mailbox wants to be done to its messages before they are stored. Two that want the same share what comes of it.
#[derive(Clone, Debug)]
pub(super) struct Wants {
    /// What becomes of attachments.
    attachments: Option<Arc<Policy>>,
    /// To what it is encrypted.
    key: Option<EncryptionKey>,
}

impl Wants {
    /// `None` if nothing is wanted.
    pub(super) fn of(
        attachments: Option<Arc<Policy>>,
        key: Option<&EncryptionKey>,
    ) -> Option<Self> {
        let key = key.cloned();
        (attachments.is_some() || key.is_some()).then_some(Self { attachments, key })
    }
}

impl PartialEq for Wants {
    fn eq(&self, other: &Self) -> bool {
        let same = |one: &Arc<Policy>, other: &Arc<Policy>| Arc::ptr_eq(one, other);
        let attachments = match (&self.attachments, &other.attachments) {
            (Some(one), Some(other)) => same(one, other),
            (None, None) => true,
            _ => false,
        };
        attachments && self.key == other.key
    }
}

/// What came of a message.
#[derive(Debug)]
pub struct Arranged {
    /// As it came, if somebody gets it so.
    as_it_came: Option<Body>,
    /// What those get who wanted the same, in the order in which it was asked for; `None` where that is as it came.
    changed: Vec<Option<Form>>,
}

/// What came of a message for some of its recipients.
#[derive(Debug)]
struct Form {
    body: Body,
    encrypted: bool,
}

/// A message that a helper has.
pub(super) struct Arranging {
    question: Question,
    /// Who gets what, in the same order.
    groups: Vec<Vec<HeldLease>>,
    envelope: Envelope,
}

/// What is known of a message beside its body.
#[derive(Clone)]
pub(super) struct Envelope {
    pub(super) queue_id: QueueId,
    pub(super) reverse_path: ReversePath,
    pub(super) tls: bool,
    pub(super) require_tls: bool,
    pub(super) begun_at: Instant,
    pub(super) data_begun_at: Instant,
    pub(super) ended_at: Instant,
}

impl Envelope {
    /// A message with this envelope.
    pub(super) fn into_message(self, core: &Core, body: Body) -> Arc<Message> {
        self.into_message_of(
            core,
            Form {
                body,
                encrypted: false,
            },
        )
    }

    /// The same in another form. What the envelope says of people is encrypted with the message, and kept nowhere else.
    fn into_message_of(self, core: &Core, Form { body, encrypted }: Form) -> Arc<Message> {
        Arc::new(Message {
            queue_id: self.queue_id,
            reverse_path: match encrypted {
                true => ReversePath::Null,
                false => self.reverse_path,
            },
            body,
            encrypted,
            received_at: core.now(),
            tls: self.tls,
            require_tls: self.require_tls,
        })
    }
}

impl Arranging {
    /// Whether anybody wants anything to be done.
    pub(super) fn is_needed(leases: &Leases<HeldLease>) -> bool {
        leases.iter().any(|lease| lease.wants().is_some())
    }

    /// Hands a message to a helper.
    ///
    /// # Errors
    /// When all helpers have too much to do.
    pub(super) fn begin(
        core: &Rc<Core>,
        leases: Leases<HeldLease>,
        body: Body,
        envelope: Envelope,
    ) -> Result<Self, Reply> {
        let mut wanted: Vec<Option<Wants>> = Vec::new();
        let mut groups: Vec<Vec<HeldLease>> = Vec::new();
        for lease in leases {
            let wants = lease.wants().cloned();
            match wanted.iter().position(|it| *it == wants) {
                Some(group) => groups[group].push(lease),
                None => {
                    wanted.push(wants);
                    groups.push(vec![lease]);
                }
            }
        }
        let question = core.questions().open();
        let (ticket, from) = (question.ticket(), core.id());
        let (cores, limits) = (core.cores().clone(), core.live().reading.clone());
        let job = move || {
            let ledger = cores.ledger();
            let arranged =
                catch_unwind(AssertUnwindSafe(|| arrange(body, &wanted, &limits, ledger)));
            // A fault in here costs one message, which its sender still has.
            let arranged = arranged.unwrap_or(Err(Reply::TryLater));
            cores
                .inbox(from)
                .settle(Request::Arranged { ticket, arranged });
        };
        core.helpers()
            .ask(Box::new(job))
            .map_err(|_| Reply::TryLater)?;
        Ok(Self {
            question,
            groups,
            envelope,
        })
    }

    /// Stores what came of it, once the helper has answered.
    pub(super) fn poll_stored(
        &mut self,
        core: &Rc<Core>,
        context: &Context<'_>,
    ) -> Poll<Result<Storing, Reply>> {
        let answer = ready!(self.question.poll_answer(context));
        let groups = std::mem::take(&mut self.groups);
        Poll::Ready(match answer {
            Answer::Arranged(arranged) => {
                arranged.and_then(|arranged| store(core, arranged, groups, &self.envelope))
            }
            Answer::Leased(_) | Answer::Delivered(_) => Err(Reply::TryLater),
        })
    }
}

/// Stores what came of a message for each group of its recipients.
fn store(
    core: &Rc<Core>,
    arranged: Arranged,
    groups: Vec<Vec<HeldLease>>,
    envelope: &Envelope,
) -> Result<Storing, Reply> {
    let as_it_came = arranged
        .as_it_came
        .map(|body| envelope.clone().into_message(core, body));
    let changed = arranged.changed.into_iter();
    let messages = changed.map(|form| match form {
        Some(form) => Some(envelope.clone().into_message_of(core, form)),
        None => as_it_came.clone(),
    });
    let mut storing = Storing::new(envelope);
    for (message, leases) in messages.zip(groups) {
        let message = message.ok_or(Reply::TryLater)?;
        storing.deliver(core, &message, leases);
    }
    Ok(storing)
}

/// Does to a message what is wanted of it.
fn arrange(
    body: Body,
    wanted: &[Option<Wants>],
    limits: &reading::Limits,
    ledger: &Ledger,
) -> Result<Arranged, Reply> {
    let wants = wanted.iter().flatten();
    let is_judged = wants.clone().any(|wants| wants.attachments.is_some());
    let raw = match is_judged {
        true => body.segments().collect::<Vec<_>>().concat(),
        false => Vec::new(),
    };
    let mut changed = Vec::with_capacity(wanted.len());
    for wants in wanted {
        changed.push(match wants {
            Some(wants) => form(&body, &raw, wants, limits, ledger)?,
            None => None,
        });
    }
    Ok(Arranged {
        as_it_came: changed.iter().any(Option::is_none).then_some(body),
        changed,
    })
}

/// What a message becomes for those who want this; `None` if it stays as it came.
fn form(
    body: &Body,
    raw: &[u8],
    wants: &Wants,
    limits: &reading::Limits,
    ledger: &Ledger,
) -> Result<Option<Form>, Reply> {
    let left = match &wants.attachments {
        Some(policy) => without_attachments(raw, policy, limits)?,
        None => None,
    };
    let sealed = match (&wants.key, &left) {
        (None, None) => return Ok(None),
        (None, Some(text)) => {
            let (body, encrypted) = (paid_for(text, ledger)?, false);
            return Ok(Some(Form { body, encrypted }));
        }
        (Some(key), Some(text)) => {
            seal::seal(std::iter::once(text.as_slice()), text.len(), key, ledger)
        }
        (Some(key), None) => seal::seal(body.segments(), body.len(), key, ledger),
    };
    match sealed {
        Ok(body) => {
            let encrypted = true;
            Ok(Some(Form { body, encrypted }))
        }
        Err(SealError::NoMemory) => Err(Reply::NoMemory),
        // Such a key opens no mailbox.
        Err(SealError::Key) => Err(Reply::TryLater),
    }
}

/// What a policy leaves of a message; `None` if that is all of it.
fn without_attachments(
    raw: &[u8],
    policy: &Policy,
    limits: &reading::Limits,
) -> Result<Option<Vec<u8>>, Reply> {
    let mut judge = policy.judge();
    let outcome = removal::remove(raw, limits, |seen| {
        let why = judge.look(&part(seen))?;
        Some(why.to_string())
    });
    match outcome {
        Outcome::TooComplex => Err(Reply::TooComplex),
        _ if judge.refuses() => Err(Reply::AttachmentRefused),
        Outcome::Changed(text) => Ok(Some(text)),
        Outcome::Unchanged => Ok(None),
    }
}

/// What one room has found, as the other wants to know it.
const fn part<'a>(seen: &'a Seen<'a>) -> Part<'a> {
    Part {
        names: seen.names,
        said: seen.said,
        bytes: seen.bytes,
        is_shown: seen.is_shown,
    }
}

/// A body of these bytes, if there is memory for it.
fn paid_for(text: &[u8], ledger: &Ledger) -> Result<Body, Reply> {
    let reservation = ledger.reserve(text.len() as u64).ok_or(Reply::NoMemory)?;
    let mut body = BodyWriter::new(reservation);
    let written = body.write(text);
    debug_assert_eq!(written, text.len(), "paid for first");
    Ok(body.finish())
}
