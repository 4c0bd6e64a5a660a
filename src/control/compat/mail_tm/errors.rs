//! Errors in the words of this API.
//!
//! Its clients look at the status, at `detail` or `message`, and some at the words themselves. Those who ask for plain JSON
//! must get its media type in errors too: some read nothing else. What a client sent is not repeated.

use super::format::{Format, answer};
use crate::control::problem::Problem;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde::Serialize;

/// What all errors have as their type but those of tokens.
const TYPE: &str = "https://tools.ietf.org/html/rfc2616#section-10";
const TITLE: &str = "An error occurred";

// Where our own words name paths that this API has not.
const ENCRYPTED: &str =
    "The message is encrypted to the key of its mailbox: only its download can be had.";
const PROOF_REQUIRED: &str = "Show some work first: POST to /api/v1/challenges, find a nonce with which \
     SHA-256(challenge + \":\" + nonce) begins with 'bits' zero bits, and send both as 'proof'. Each challenge counts once.";
const UNREADABLE: &str = "This message could not be taken apart. Its download can be had.";

/// Somebody is not let in.
#[derive(Serialize)]
struct Unknown {
    code: u16,
    message: &'static str,
}

/// Something went wrong.
#[derive(Serialize)]
struct Error<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

/// Something in the body is not as it should be.
#[derive(Serialize)]
struct Violations<'a> {
    #[serde(rename = "@context", skip_serializing_if = "Option::is_none")]
    context: Option<&'static str>,
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(rename = "hydra:title", skip_serializing_if = "Option::is_none")]
    hydra_title: Option<&'static str>,
    #[serde(rename = "hydra:description", skip_serializing_if = "Option::is_none")]
    hydra_description: Option<&'a str>,
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    violations: [Violation<'a>; 1],
}

/// What is wrong with which property.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Violation<'a> {
    property_path: &'a str,
    message: &'a str,
}

/// An error as this API says it.
pub(in crate::control::compat) fn said(problem: &Problem, format: Format) -> Response<Body> {
    let unknown = |message| {
        let code = StatusCode::UNAUTHORIZED;
        answer(code, "application/json", &Unknown { code: 401, message })
    };
    match problem {
        Problem::Unauthorized => unknown("JWT Token not found"),
        Problem::NoSuchMailbox => unknown("Invalid JWT Token"),
        Problem::BadCredentials => unknown("Invalid credentials."),
        Problem::Taken => violation("address", "This value is already used.", format),
        Problem::Field("local_part" | "domain", detail) => violation("address", detail, format),
        Problem::Field(name, detail) => violation(name, detail, format),
        Problem::NoSuchRoute | Problem::NoSuchMessage | Problem::NoSuchPart => {
            error(StatusCode::NOT_FOUND, "Not Found", format)
        }
        Problem::Encrypted => error(StatusCode::CONFLICT, ENCRYPTED, format),
        Problem::ProofRequired => error(StatusCode::FORBIDDEN, PROOF_REQUIRED, format),
        Problem::Unreadable => error(StatusCode::INTERNAL_SERVER_ERROR, UNREADABLE, format),
        other => {
            let details = other.details();
            let status = StatusCode::from_u16(details.status);
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            error(status, details.detail, format)
        }
    }
}

fn error(status: StatusCode, detail: &str, format: Format) -> Response<Body> {
    let view = Error {
        r#type: TYPE,
        title: TITLE,
        status: status.as_u16(),
        detail,
    };
    answer(status, media_type(format), &view)
}

fn violation(property: &str, message: &str, format: Format) -> Response<Body> {
    let detail = format!("{property}: {message}");
    let linked = |text| (format == Format::Hydra).then_some(text);
    let view = Violations {
        context: linked("/contexts/ConstraintViolationList"),
        kind: linked("ConstraintViolationList"),
        hydra_title: linked(TITLE),
        hydra_description: (format == Format::Hydra).then_some(&*detail),
        r#type: TYPE,
        title: TITLE,
        status: 422,
        detail: &detail,
        violations: [Violation {
            property_path: property,
            message,
        }],
    };
    answer(StatusCode::UNPROCESSABLE_ENTITY, media_type(format), &view)
}

const fn media_type(format: Format) -> &'static str {
    match format {
        Format::Hydra => "application/problem+json; charset=utf-8",
        Format::Plain => "application/json; charset=utf-8",
    }
}
