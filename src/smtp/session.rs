//! The states of a session.

#![forbid(unsafe_code)]

use super::{Action, Limits, Verdict};
use crate::clock::Instant;
use crate::metrics::CoreMetrics;
use std::sync::Arc;

/// One client's session. See the module's text.
#[derive(Debug)]
pub struct Session<L> {
    lease: Option<L>,
}

/// What a session knows of its connection from the start.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Our name.
    pub hostname: Arc<str>,
    /// Whether STARTTLS is offered.
    pub starttls: bool,
    /// Whether TLS is there already (an implicit TLS listener).
    pub tls: bool,
    /// What it may do.
    pub limits: Arc<Limits>,
}

#[allow(clippy::todo, unused_variables, missing_docs)]
impl<L> Session<L> {
    /// A session that begins with a greeting.
    pub fn new(profile: Profile, now: Instant) -> Self {
        todo!()
    }
    /// Takes as much of `input` as can be used now; the rest must be given again after the next actions.
    pub fn receive(&mut self, input: &mut &[u8], now: Instant, metrics: &CoreMetrics) {
        todo!()
    }
    /// The deadline that the last [`Action::Wait`] named has passed.
    pub fn expire(&mut self, now: Instant, metrics: &CoreMetrics) {
        todo!()
    }
    /// Answers the last question.
    pub fn answer(&mut self, verdict: Verdict<L>, now: Instant, metrics: &CoreMetrics) {
        todo!()
    }
    /// The handshake that [`Action::StartTls`] asked for is done: the session begins anew, without a greeting.
    pub fn tls_established(&mut self, now: Instant) {
        todo!()
    }
    /// Plaintext came behind STARTTLS, before the handshake.
    pub fn plaintext_behind_starttls(&mut self, metrics: &CoreMetrics) {
        todo!()
    }
    /// The server stops: ends an idle session with 421 now, one with a transaction after it.
    pub fn shut_down(&mut self, metrics: &CoreMetrics) {
        todo!()
    }
    pub fn next_action(&mut self) -> Action<L> {
        todo!()
    }
}
