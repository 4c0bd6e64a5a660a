//! What a call says.

use super::signature::sign;
use crate::clock::WallClock;
use crate::control::views::messages::MessageSummary;
use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

/// What a webhook gets.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct WebhookCall {
    /// What has happened.
    #[schema(example = "message.received")]
    r#type: CallKind,
    /// When this attempt was made.
    #[schema(format = DateTime, example = "2026-11-22T10:00:08Z")]
    timestamp: String,
    data: CallData,
}

/// What has happened: a message came, or the holder of the mailbox wants to see whether calls arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::control) enum CallKind {
    #[serde(rename = "message.received")]
    MessageReceived,
    #[serde(rename = "webhook.test")]
    Test,
}

/// To what it has happened.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct CallData {
    /// The same in all attempts to deliver this call, and in its `webhook-id`.
    #[schema(
        pattern = "^msg_[a-z2-7]{26}$",
        example = "msg_k3v5x2m7q4c6r2s3t5u3w5y7z2"
    )]
    delivery_id: String,
    /// Which attempt this is.
    #[schema(minimum = 1, example = 1)]
    attempt: u32,
    /// The address of the mailbox, in its canonical form.
    #[schema(example = "damuki-renuza-hitepa@mayfly.test")]
    mailbox: String,
    /// The message, as a list shows it; `null` in a test.
    #[schema(required)]
    message: Option<MessageSummary>,
}

/// A call that is ready to be sent.
pub(super) struct Call {
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
}

/// A delivery's id as text.
fn id_text(id: u128) -> String {
    let letters = data_encoding::BASE32_NOPAD.encode(&id.to_be_bytes());
    format!("msg_{}", letters.to_ascii_lowercase())
}

/// Who is called about what.
pub(super) struct Matter<'a> {
    pub(super) kind: CallKind,
    pub(super) id: u128,
    pub(super) attempt: u32,
    pub(super) mailbox: &'a str,
    pub(super) message: Option<MessageSummary>,
}

/// Writes a call down and signs it.
pub(super) fn call(
    matter: Matter<'_>,
    secret: &[u8],
    wall: &WallClock,
    now: crate::clock::Instant,
) -> Call {
    let id = id_text(matter.id);
    let call = WebhookCall {
        r#type: matter.kind,
        timestamp: wall.rfc3339(now),
        data: CallData {
            delivery_id: id.clone(),
            attempt: matter.attempt,
            mailbox: matter.mailbox.to_owned(),
            message: matter.message,
        },
    };
    let body = serde_json::to_vec(&call).expect("a view has text keys only");
    let unix_secs = wall.unix_secs(now);
    let signature = sign(secret, &id, unix_secs, &body);
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", unix_secs.to_string()),
        ("webhook-signature", signature),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            fields.insert(HeaderName::from_static(name), value);
        }
    }
    Call {
        fields,
        body: body.into(),
    }
}
