//! What the API says of itself and of this server.

use super::Answer;
use crate::config::sections::Http;
use crate::control::Settings;
use crate::control::app::App;
use crate::control::guard;
use crate::mail::Address;
use crate::policy::plans::ANONYMOUS;
use crate::policy::recipients::Accept;
use crate::policy::self_authenticating::SelfAuthenticating;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// What a page or a program needs to know before it creates a mailbox. What a feature adds stands here.
#[derive(Serialize, ToSchema)]
pub(super) struct Info {
    /// The domains in which mailboxes may be created; the first one is taken unless another is asked for.
    domains: Vec<OurDomain>,
    /// Whether any sub-domain of these may be named too.
    #[schema(example = false)]
    subdomains: bool,
    accept: Accepted,
    /// Whether there are addresses that prove by themselves that they were given away here.
    #[schema(example = false)]
    self_authenticating: bool,
    /// Whether there are no others, so that a name cannot be chosen.
    #[schema(example = false)]
    self_authenticating_only: bool,
    /// How many seconds a mailbox lives unless its creator says.
    #[schema(example = 3_600)]
    ttl_default: u64,
    /// How many seconds a mailbox may live at most, counted from its creation or extension.
    #[schema(example = 86_400)]
    ttl_max: u64,
    /// How many messages a mailbox may be made for at most.
    #[schema(example = 500)]
    messages_max: u32,
    /// How many mailboxes a client may create in a minute. 0: as many as it likes.
    #[schema(example = 20)]
    creations_per_minute: u32,
    /// With how many zero bits the hash of a proof of work must begin. 0: none is asked for.
    #[schema(maximum = 32, example = 0)]
    proof_of_work_bits: u32,
    /// Whether a mailbox may have a URL called when mail comes.
    #[schema(example = false)]
    webhooks: bool,
    /// How many seconds a list may wait for mail at most.
    #[schema(example = 60)]
    wait_max: u64,
    /// How many messages a page of a list holds at most.
    #[schema(example = 100)]
    page_messages_max: u32,
    /// How many requests a client may send in a minute. 0: as many as it likes.
    #[schema(example = 100)]
    requests_per_minute: u32,
    /// The version of the server.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// A domain of ours.
#[derive(Serialize, ToSchema)]
pub(super) struct OurDomain {
    /// Its canonical form.
    #[schema(example = "mayfly.test")]
    domain: String,
    /// As people write it.
    #[schema(example = "mayfly.test")]
    domain_unicode: String,
}

/// Which addresses get mail: those that somebody has created, or any; then mail waits for whoever creates the address
/// later.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Accepted {
    Created,
    Any,
}

impl Info {
    fn new(settings: &Settings) -> Self {
        let Settings {
            http:
                Http {
                    wait_max,
                    page_messages_max,
                    requests_per_minute,
                    creations_per_minute,
                    proof_of_work_bits,
                    ..
                },
            recipients,
            budget,
            plans,
            ..
        } = settings;
        // What holds for whoever asks without a key.
        let plan = plans.plan(ANONYMOUS);
        let of_plan = plan.and_then(|plan| plan.creations_per_minute);
        Self {
            domains: plans.domains(plan, recipients).map(our).collect(),
            subdomains: recipients.subdomains,
            accept: match recipients.accept {
                Accept::Any => Accepted::Any,
                Accept::Created => Accepted::Created,
            },
            self_authenticating: recipients.self_authenticating != SelfAuthenticating::Off,
            self_authenticating_only: recipients.self_authenticating == SelfAuthenticating::Only,
            ttl_default: budget
                .mailbox_ttl_default
                .0
                .min(guard::ttl_max(plan, settings))
                .as_secs(),
            ttl_max: guard::ttl_max(plan, settings).as_secs(),
            messages_max: guard::messages_max(plan, settings),
            creations_per_minute: of_plan.unwrap_or(*creations_per_minute),
            proof_of_work_bits: *proof_of_work_bits,
            webhooks: settings.webhooks.enabled,
            wait_max: wait_max.0.as_secs(),
            page_messages_max: *page_messages_max,
            requests_per_minute: *requests_per_minute,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// A domain of the settings in both its forms.
fn our(domain: &str) -> OurDomain {
    // People's form is known of addresses; any local part will do.
    let address = Address::parse(format!("a@{domain}"));
    let unicode = address.ok().map(|it| it.to_unicode()[2..].to_owned());
    OurDomain {
        domain: domain.to_owned(),
        domain_unicode: unicode.unwrap_or_else(|| domain.to_owned()),
    }
}

/// What this server offers
///
/// What a page or a program needs to know before it creates a mailbox.
#[utoipa::path(
    get,
    path = "/api/v1/info",
    operation_id = "info",
    tag = "about",
    responses((status = 200, description = "What it offers.", body = Info))
)]
pub(super) async fn info(State(app): State<Arc<App>>) -> Answer {
    Ok(Json(Info::new(&app.settings.load())).into_response())
}

/// The document that describes the API, written down once.
#[derive(Clone, Debug)]
pub(super) struct Document(Bytes);

impl Document {
    /// Writes it down, for programs and people.
    pub(super) fn new(document: &Value) -> Self {
        let mut text =
            serde_json::to_string_pretty(document).expect("a document has text keys only");
        text.push('\n');
        Self(text.into())
    }
}

/// This document
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    operation_id = "openapi",
    tag = "about",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Object))
)]
pub(super) async fn document(Extension(document): Extension<Document>) -> Answer {
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], document.0).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::{openapi, operations};
    use std::fs;

    #[test]
    fn the_stored_document_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let document = Document::new(&openapi::complete(operations().into_openapi())).0;
        if std::env::var_os("MAYFLY_REWRITE").is_some() {
            fs::write(path, &document).expect("docs/ can be written");
        }
        let written = fs::read(path).expect("docs/openapi.json exists");
        assert!(
            written == document,
            "docs/openapi.json differs: MAYFLY_REWRITE=1 cargo test --lib the_stored_document"
        );
    }
}
