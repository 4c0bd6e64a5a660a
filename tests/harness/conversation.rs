//! The loop around a session that has no socket: bytes go in, replies come out, others decide.

use mayfly::clock::Instant;
use mayfly::metrics::CoreMetrics;
use mayfly::smtp::session::Profile;
use mayfly::smtp::{Action, CloseReason, Question, Session, Verdict};

/// A session with its clock and its counters.
pub(crate) struct Conversation<L> {
    pub(crate) session: Session<L>,
    pub(crate) metrics: CoreMetrics,
    pub(crate) now: Instant,
    /// All that the client was told.
    pub(crate) output: Vec<u8>,
    /// How it ended, if it has.
    pub(crate) ended: Option<CloseReason>,
    /// Until when the session waits for more.
    deadline: Instant,
}

impl<L> Conversation<L> {
    pub(crate) fn new(profile: Profile, now: Instant) -> Self {
        Self {
            session: Session::new(profile, now),
            metrics: CoreMetrics::default(),
            now,
            output: Vec::new(),
            ended: None,
            deadline: now,
        }
    }

    /// Has `input` come in pieces of the sizes that `next_size` says, and goes on until the session
    /// waits for more or has ended. What comes behind its end is not read.
    pub(crate) fn hear(
        &mut self,
        input: &[u8],
        mut next_size: impl FnMut() -> usize,
        mut decide: impl FnMut(Question<L>) -> Verdict<L>,
    ) {
        let (mut chunk, mut left) = input.split_at(0);
        let mut stuck_at = None;
        let mut steps = 0_u64;
        while self.ended.is_none() {
            steps += 1;
            match self.session.next_action() {
                Action::Send(bytes) => self.output.extend_from_slice(&bytes),
                Action::Ask(question) => {
                    let verdict = decide(question);
                    self.session.answer(verdict, self.now, &self.metrics);
                    stuck_at = None;
                }
                Action::StartTls if chunk.is_empty() && left.is_empty() => {
                    self.session.tls_established(self.now);
                }
                Action::StartTls => self.session.plaintext_behind_starttls(&self.metrics),
                Action::Pause { until } => {
                    self.now = self.now.max(until);
                    self.session.resume(self.now);
                }
                Action::Wait { deadline } => {
                    self.deadline = deadline;
                    if chunk.is_empty() {
                        if left.is_empty() {
                            return;
                        }
                        (chunk, left) = left.split_at(next_size().clamp(1, left.len()));
                    }
                    let before = chunk.len();
                    assert!(stuck_at != Some(before), "the session makes progress");
                    self.session.receive(&mut chunk, self.now, &self.metrics);
                    // What it did not use up it must want to ask about first.
                    stuck_at = (chunk.len() == before).then_some(before);
                }
                Action::Close(reason) => self.ended = Some(reason),
            }
            let steps_max = 1000 + 100 * input.len() as u64;
            assert!(steps < steps_max, "a session that never waits");
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: std::time::Duration) {
        self.now = self.now.plus(time);
        if self.ended.is_none() && self.now >= self.deadline {
            self.session.expire(self.now, &self.metrics);
        }
    }
}
