//! One attempt: what a delivery is about is asked for, written down, signed and sent.

use super::Job;
use super::payload::{self, CallKind, Matter};
use crate::control::app::App;
use crate::control::outgoing::{Answered, Failure};
use crate::control::views::messages as views;
use crate::control::{Settings, random, reading};
use crate::edge::Busy;
use crate::metrics::process::WebhookResult;
use crate::policy::webhooks::{Ended, Target};
use crate::store::{Called, Webhook};
use axum::http::StatusCode;
use std::time::{Duration, Instant};

/// What came of an attempt.
pub(super) struct Report {
    pub(super) ended: Ended,
    /// How the call ended; `None`: there was nothing to call for.
    pub(super) result: Option<WebhookResult>,
    /// Whether whoever was called wants to hear no more.
    pub(super) is_over: bool,
    pub(super) took: Duration,
}

impl Report {
    /// Nothing was sent.
    const fn unsent(ended: Ended, result: Option<WebhookResult>) -> Self {
        Self {
            ended,
            result,
            is_over: false,
            took: Duration::ZERO,
        }
    }
}

/// Whom to call, and by which secret to sign.
struct Line {
    url: String,
    secret: Vec<u8>,
}

/// The webhook of a delivery, if it is still there.
fn line(job: &Job, own: Option<&Webhook>, settings: &Settings) -> Option<Line> {
    if let Some(own) = own.filter(|it| it.callee.id == job.callee.id) {
        return Some(Line {
            url: own.url.to_string(),
            secret: own.secret.to_vec(),
        });
    }
    let mut domains = settings.webhooks.domains.iter();
    let webhook = domains.find(|it| it.id() == job.callee.id)?;
    let secret = settings.webhook_secrets.get(job.callee.id)?;
    Some(Line {
        url: webhook.url.clone(),
        secret: secret.to_vec(),
    })
}

/// Tries to deliver something.
pub(super) async fn attempt(app: &App, job: Job, nth: u32) -> Report {
    let settings = app.settings.load_full();
    let asked = app.cores.call(job.core, move |shard, now| {
        shard.called(job.mailbox, job.sequence, now)
    });
    let called = match asked.await {
        Ok(Some(called)) => called,
        Ok(None) => return Report::unsent(Ended::Vanished, None),
        Err(Busy) => return Report::unsent(Ended::Postponed, Some(WebhookResult::Busy)),
    };
    let Some(line) = line(&job, called.webhook.as_deref(), &settings) else {
        return Report::unsent(Ended::Vanished, None);
    };
    let Called { address, entry, .. } = called;
    let findings = reading::scan(app, std::slice::from_ref(&entry)).await;
    let findings = findings.first().and_then(Option::as_ref);
    let wall = app.cores.wall();
    let matter = Matter {
        kind: CallKind::MessageReceived,
        id: job.id,
        attempt: nth,
        mailbox: address.as_str(),
        message: Some(views::summary(&entry, findings, &wall)),
    };
    // What is sent of a message is not held longer than it lives.
    let left = entry.expires_at.since(app.cores.now());
    drop(entry);
    call(app, &line, matter, left).await
}

/// Says hello to a mailbox's webhook.
pub(super) async fn test(app: &App, mailbox: &str, webhook: &Webhook) -> Report {
    let line = Line {
        url: webhook.url.to_string(),
        secret: webhook.secret.to_vec(),
    };
    let matter = Matter {
        kind: CallKind::Test,
        id: u128::from_le_bytes(random()),
        attempt: 1,
        mailbox,
        message: None,
    };
    call(app, &line, matter, Duration::MAX).await
}

/// Writes a call down and sends it, in `left` at most.
async fn call(app: &App, line: &Line, matter: Matter<'_>, left: Duration) -> Report {
    let began = Instant::now();
    let settings = app.settings.load_full();
    let rules = &settings.webhooks;
    let answered = match Target::parse(&line.url, rules) {
        // The rules have changed since it was named.
        Err(_) => Err(Failure::Forbidden),
        Ok(target) => {
            let (now, wall) = (app.cores.now(), app.cores.wall());
            let call = payload::call(matter, &line.secret, &wall, now);
            let caller = &app.webhooks.caller;
            let time = rules.timeout.0.min(left);
            let sent = caller.post(&target, call.fields, call.body, rules, time);
            sent.await
        }
    };
    let (ended, result) = judge(answered);
    Report {
        ended,
        result: Some(result),
        is_over: answered.is_ok_and(|it| it.status == StatusCode::GONE),
        took: began.elapsed(),
    }
}

/// What becomes of a delivery, and what is said of the call.
fn judge(answered: Result<Answered, Failure>) -> (Ended, WebhookResult) {
    let failed = Ended::Failed(None);
    match answered {
        Ok(answer) if answer.status.is_success() => (Ended::Delivered, WebhookResult::Delivered),
        Ok(answer) if answer.status == StatusCode::GONE => (Ended::Refused, WebhookResult::Gone),
        Ok(answer) => (Ended::Failed(answer.retry_after), WebhookResult::Status),
        Err(Failure::Busy) => (Ended::Postponed, WebhookResult::Busy),
        Err(Failure::Forbidden) => (Ended::Refused, WebhookResult::Forbidden),
        Err(Failure::Connect) => (failed, WebhookResult::Connect),
        Err(Failure::Name) => (failed, WebhookResult::Name),
        Err(Failure::Protocol) => (failed, WebhookResult::Protocol),
        Err(Failure::Timeout) => (failed, WebhookResult::Timeout),
        Err(Failure::Tls) => (failed, WebhookResult::Tls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_made_is_counted_and_is_no_try() {
        let judged = judge(Err(Failure::Busy));
        assert_eq!(judged, (Ended::Postponed, WebhookResult::Busy));
    }
}
