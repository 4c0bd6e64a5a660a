//! Every error answer, in one table, as problem details (RFC 9457).
//!
//! No text here repeats what a client sent, but for the name of a field that we do not know, and that only if it
//! is a short plain word. So no token can come back in an error.

use super::framing::Offence;
use axum::body::Body;
use axum::http::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// An error, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Address or password is wrong. Only other services' APIs have passwords.
    BadCredentials,
    /// The body is not what it should be.
    BadBody(&'static str),
    /// A parameter of the query is not what it should be.
    BadQuery(&'static str),
    /// The body is larger than allowed.
    BodyTooLarge,
    /// A core has too much to do.
    Busy,
    /// Another site's page sent this.
    CrossOrigin,
    /// Only the holder of a key can read the message.
    Encrypted,
    /// A field of the body is not what it should be.
    Field(&'static str, Cow<'static, str>),
    /// The request names us by a name that is not ours.
    ForeignHost,
    /// The head could not be read, or could be read in two ways.
    Head(Offence),
    /// The resource does not know this method.
    Method,
    /// The media type is not JSON.
    MediaType,
    /// The memory budget is used up.
    NoMemory,
    /// Nothing has this path.
    NoSuchRoute,
    /// No mailbox has this token.
    NoSuchMailbox,
    /// The mailbox has no such message.
    NoSuchMessage,
    /// The message has no such part.
    NoSuchPart,
    /// The mailbox has no webhook.
    NoSuchWebhook,
    /// Work must be shown before a mailbox is created, and none was, or it does not count.
    ProofRequired,
    /// The address is somebody's, or was not long ago.
    Taken,
    /// The request took too long.
    Timeout,
    /// The client, or the key, creates too many mailboxes; it may go on after so many seconds.
    TooManyCreations(u64),
    /// There are as many mailboxes of this plan as there may be.
    TooManyMailboxes,
    /// The client sends too many requests; it may come back after so many seconds.
    TooManyRequests(u64),
    /// Too many watch this mailbox.
    TooManyWatchers,
    /// No token was presented.
    Unauthorized,
    /// A message could not be taken apart.
    Unreadable,
    /// The body has a field that we do not know; its name, if it may be repeated, and which there are.
    UnknownField(Option<String>, String),
    /// The server calls nobody.
    WebhooksOff,
    /// What was shown as a key of the operator's is none.
    WrongKey,
}

const ENCRYPTED: &str =
    "The message is encrypted to the key of its mailbox: only its source can be had, under /raw.";
const BAD_CREDENTIALS: &str = "Address or password is wrong.";
const BUSY: &str = "There is too much to do just now. Try again soon.";
const NO_SUCH_MAILBOX: &str = "No mailbox has this token. It may have expired.";
const NO_SUCH_MESSAGE: &str = "The mailbox has no such message. It may have expired.";
const NO_SUCH_PART: &str = "The message has no such part.";
const FOREIGN_HOST: &str = "This server is not called by that name here (the setting 'mcp.hosts').";
const NO_SUCH_WEBHOOK: &str = "The mailbox has no webhook.";
const WEBHOOKS_OFF: &str = "This server calls nobody: webhooks are turned off.";
const NOT_JSON: &str = "Send the body as application/json.";
const PROOF_REQUIRED: &str = "Show some work first: POST to the path in 'challenge', find a nonce with which \
     SHA-256(challenge + \":\" + nonce) begins with 'bits' zero bits, and send both as 'proof'. Each challenge counts once.";
const TAKEN: &str = "Somebody holds this address, or held it not long ago.";
const TOO_MANY_MAILBOXES: &str =
    "There are as many mailboxes as this plan allows. Erase one, or wait until one ends.";
const WRONG_KEY: &str =
    "This is no key of this server. Without one, leave the field 'Authorization' out.";
const TOO_MANY_CREATIONS: &str =
    "Too many mailboxes were created in the last minute. Retry-After says when to go on.";
const TOO_MANY_REQUESTS: &str =
    "Too many requests came from this address. Retry-After says when to go on.";
const TOO_MANY_WATCHERS: &str =
    "Too many event streams and waiting calls are open on this mailbox.";
const NO_TOKEN: &str = "Send the mailbox's token as 'Authorization: Bearer <token>'.";
const TIMEOUT: &str = "The request took longer than allowed.";

/// Where challenges are given.
pub(super) const CHALLENGES: &str = "/api/v1/challenges";

/// How long a client should wait when nobody knows better.
const RETRY_SECS: u64 = 1;

impl Problem {
    /// Status, a word for programs and a sentence for people.
    fn table(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadCredentials => (S::UNAUTHORIZED, "bad-credentials", BAD_CREDENTIALS),
            Self::BadBody(detail) => (S::BAD_REQUEST, "bad-body", *detail),
            Self::BadQuery(detail) => (S::BAD_REQUEST, "bad-query", *detail),
            Self::BodyTooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The body of the request is larger than allowed.",
            ),
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy", BUSY),
            Self::CrossOrigin => (
                S::FORBIDDEN,
                "cross-origin",
                "Pages of other sites may not change anything here.",
            ),
            Self::Encrypted => (S::CONFLICT, "encrypted", ENCRYPTED),
            Self::Field(..) => (S::UNPROCESSABLE_ENTITY, "bad-field", ""),
            Self::ForeignHost => (S::FORBIDDEN, "wrong-host", FOREIGN_HOST),
            Self::Head(offence) => offence_table(*offence),
            Self::Method => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The method is not known here; the Allow field lists those that are.",
            ),
            Self::MediaType => (S::UNSUPPORTED_MEDIA_TYPE, "not-json", NOT_JSON),
            Self::NoMemory => (
                S::SERVICE_UNAVAILABLE,
                "no-memory",
                "The memory for mail is used up. Try again when some mail has expired.",
            ),
            Self::NoSuchRoute => (S::NOT_FOUND, "no-such-resource", "There is nothing here."),
            Self::NoSuchMailbox => (S::NOT_FOUND, "no-such-mailbox", NO_SUCH_MAILBOX),
            Self::NoSuchMessage => (S::NOT_FOUND, "no-such-message", NO_SUCH_MESSAGE),
            Self::NoSuchPart => (S::NOT_FOUND, "no-such-part", NO_SUCH_PART),
            Self::NoSuchWebhook => (S::NOT_FOUND, "no-such-webhook", NO_SUCH_WEBHOOK),
            Self::ProofRequired => (S::FORBIDDEN, "proof-required", PROOF_REQUIRED),
            Self::Taken => (S::CONFLICT, "taken", TAKEN),
            Self::Timeout => (S::REQUEST_TIMEOUT, "timeout", TIMEOUT),
            Self::TooManyCreations(_) => (
                S::TOO_MANY_REQUESTS,
                "too-many-creations",
                TOO_MANY_CREATIONS,
            ),
            Self::TooManyMailboxes => (
                S::TOO_MANY_REQUESTS,
                "too-many-mailboxes",
                TOO_MANY_MAILBOXES,
            ),
            Self::TooManyRequests(_) => {
                (S::TOO_MANY_REQUESTS, "too-many-requests", TOO_MANY_REQUESTS)
            }
            Self::TooManyWatchers => (S::TOO_MANY_REQUESTS, "too-many-watchers", TOO_MANY_WATCHERS),
            Self::Unauthorized => (S::UNAUTHORIZED, "no-token", NO_TOKEN),
            Self::Unreadable => (
                S::INTERNAL_SERVER_ERROR,
                "unreadable",
                "This message could not be taken apart. Its source can be read under /raw.",
            ),
            Self::UnknownField(..) => (S::UNPROCESSABLE_ENTITY, "unknown-field", ""),
            Self::WebhooksOff => (S::FORBIDDEN, "webhooks-off", WEBHOOKS_OFF),
            Self::WrongKey => (S::UNAUTHORIZED, "wrong-key", WRONG_KEY),
        }
    }

    /// What is answered.
    pub(super) fn details(&self) -> ProblemDetails<'_> {
        let (status, code, detail) = self.table();
        let detail = match self {
            Self::Field(_, detail) => &**detail,
            Self::UnknownField(_, known) => known,
            _ => detail,
        };
        ProblemDetails {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail,
            field: self.body_field(),
            challenge: (*self == Self::ProofRequired).then_some(CHALLENGES),
        }
    }

    /// One problem of each code, with fields that the API has: the examples of the API's document.
    pub(super) fn samples() -> Vec<Self> {
        let no_local_part = "This cannot be a local part: the local part is malformed.";
        let known = "The only field here is 'ttl'.";
        vec![
            Self::BadBody("The body must be a JSON object."),
            Self::BadQuery("'limit' must be a number from 1 on."),
            Self::BodyTooLarge,
            Self::Busy,
            Self::CrossOrigin,
            Self::Encrypted,
            Self::Field("local_part", Cow::Borrowed(no_local_part)),
            Self::ForeignHost,
            Self::Head(Offence::Folded),
            Self::Head(Offence::TooLarge),
            Self::Head(Offence::Version),
            Self::Method,
            Self::MediaType,
            Self::NoMemory,
            Self::NoSuchRoute,
            Self::NoSuchMailbox,
            Self::NoSuchMessage,
            Self::NoSuchPart,
            Self::NoSuchWebhook,
            Self::ProofRequired,
            Self::Taken,
            Self::Timeout,
            Self::TooManyCreations(12),
            Self::TooManyMailboxes,
            Self::TooManyRequests(12),
            Self::TooManyWatchers,
            Self::Unauthorized,
            Self::Unreadable,
            Self::UnknownField(Some("tll".to_owned()), known.to_owned()),
            Self::WebhooksOff,
            Self::WrongKey,
        ]
    }

    /// The name of the field of the body that is meant.
    fn body_field(&self) -> Option<&str> {
        match self {
            Self::Field(name, _) => Some(name),
            Self::UnknownField(name, _) => name.as_deref(),
            _ => None,
        }
    }

    /// Fields of the answer that belong to this problem.
    fn field(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Busy | Self::NoMemory | Self::TooManyMailboxes | Self::TooManyWatchers => {
                Some((RETRY_AFTER, RETRY_SECS.into()))
            }
            Self::TooManyCreations(secs) | Self::TooManyRequests(secs) => {
                Some((RETRY_AFTER, (*secs).into()))
            }
            Self::Unauthorized | Self::WrongKey => {
                Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            Self::BodyTooLarge | Self::Head(_) | Self::Timeout => {
                // What is left of the request cannot be told from the next one.
                Some((CONNECTION, HeaderValue::from_static("close")))
            }
            _ => None,
        }
    }
}

fn offence_table(offence: Offence) -> (StatusCode, &'static str, &'static str) {
    match offence {
        Offence::TooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head-too-large",
            "The head of the request is larger than allowed.",
        ),
        Offence::Version => (
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "bad-version",
            "HTTP/1.1 is spoken here.",
        ),
        Offence::BareNewline => bad_head("A line of the head does not end with CR LF."),
        Offence::ContentLength => bad_head("Content-Length must be one plain number, once."),
        Offence::FieldName => bad_head("The name of a field is not a token followed by a colon."),
        Offence::Folded => bad_head("A field goes on in the next line."),
        Offence::ForbiddenByte => bad_head("The head has a byte that may not stand there."),
        Offence::Host => {
            bad_head("There must be one Host field, and it must agree with the target.")
        }
        Offence::RequestLine => bad_head("The request line is malformed."),
        Offence::TransferEncoding => {
            bad_head("Transfer-Encoding must be 'chunked', once, and without Content-Length.")
        }
    }
}

const fn bad_head(detail: &'static str) -> (StatusCode, &'static str, &'static str) {
    (StatusCode::BAD_REQUEST, "bad-head", detail)
}

/// An error (RFC 9457). Programs should look at `code`.
#[derive(Serialize, ToSchema)]
pub(super) struct ProblemDetails<'a> {
    /// Always the same: what is to be known stands in `code`.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'static str,
    #[schema(minimum = 400, maximum = 599, example = 404)]
    pub(super) status: u16,
    /// A word for programs.
    #[schema(pattern = "^[a-z]+(-[a-z]+)*$", example = "no-such-mailbox")]
    pub(super) code: &'static str,
    /// A sentence for people.
    #[schema(example = "No mailbox has this token. It may have expired.")]
    pub(super) detail: &'a str,
    /// The field of the body that is meant, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<&'a str>,
    /// Where to ask for a challenge, if work must be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/api/v1/challenges")]
    challenge: Option<&'static str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let text = serde_json::to_string(&self.details()).expect("a problem has text keys only");
        let mut response = Response::new(Body::from(format!("{text}\n")));
        *response.status_mut() = self.table().0;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some((name, value)) = self.field() {
            headers.insert(name, value);
        }
        // For those who say it in other words.
        response.extensions_mut().insert(self);
        response
    }
}
