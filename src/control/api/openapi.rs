//! The OpenAPI document: what the types and handlers say, with what is true of all of them.

use crate::control::events::{MailboxEnd, NoData, RemovedMessage};
use crate::control::problem::{Problem, ProblemDetails};
use crate::control::views::messages::MessageSummary;
use crate::control::webhooks::WebhookCall;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::OpenApi;

const DESCRIPTION: &str = "\
Mailboxes that live only in memory, and only for a while.

- A token opens one mailbox and nothing else. It is shown once, when the mailbox is created, travels only in \
`Authorization: Bearer <token>`, and dies with its mailbox.
- Times are RFC 3339 in UTC. Ids and cursors are decimal numbers written as strings: compare them for equality, or hand \
them back.
- Every error is a problem (RFC 9457). Programs should look at its `code`. A path that there is not answers 404 \
`no-such-resource`, a method that a path does not know 405 `method-not-allowed` with the field `Allow`.
- No cookie is set and there is no CORS: pages of other sites cannot use the API.
- No answer may be stored by a cache (`Cache-Control: no-store`).
";

/// What stands in the document beside the operations. The schemas are those that no operation names in a way that the
/// macros see: problems, and the data of events.
#[derive(OpenApi)]
#[openapi(
    info(title = "mayfly", description = DESCRIPTION),
    servers((url = "/", description = "This server.")),
    tags(
        (name = "mailboxes", description = "Mailboxes are created, extended, erased."),
        (name = "messages", description = "Messages are listed, waited for, read, deleted."),
        (name = "webhooks", description = "A URL is called when mail comes."),
        (name = "about", description = "What this server offers."),
    ),
    components(schemas(MailboxEnd, MessageSummary, NoData, ProblemDetails<'_>, RemovedMessage, WebhookCall)),
)]
struct General;

/// The document without operations.
pub(super) fn general() -> utoipa::openapi::OpenApi {
    General::openapi()
}

/// The whole document: every answer that there can be, with its fields.
pub(super) fn complete(described: utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(described).expect("a document has text keys only");
    let mut components = Components::default();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(method, operation, &mut components);
        }
    }
    for body in &components.bodies {
        // What is not known is refused: Fields::none_left.
        document["components"]["schemas"][body]["additionalProperties"] = json!(false);
    }
    components.answer(405, &["method-not-allowed"]);
    document["components"]["schemas"]["MailboxEvent"] = event();
    document["components"]["responses"] = Value::Object(components.responses);
    document["components"]["headers"] = headers();
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "mf_ and 32 letters and digits",
            "description": "The token of a mailbox, from the answer to its creation.",
        },
        "key": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "mfk_ and 32 letters and digits",
            "description": "A key of the operator's, for what its plan grants. Without one, leave the field out.",
        }
    });
    document
}

/// What operations have in common.
#[derive(Default)]
struct Components {
    /// Answers, by what they are called.
    responses: Map<String, Value>,
    /// Schemas of bodies that are sent.
    bodies: Vec<String>,
}

impl Components {
    /// The answer to some problems of one status; returns a reference to it.
    fn answer(&mut self, status: u16, codes: &[&str]) -> Value {
        let name = codes.iter().map(|code| camel(code)).collect::<String>();
        let samples = Problem::samples();
        let (mut examples, mut lines) = (Map::new(), Vec::new());
        for code in codes {
            let sample = samples
                .iter()
                .map(Problem::details)
                .find(|it| it.code == *code);
            let sample = sample.unwrap_or_else(|| panic!("no problem has the code {code}"));
            assert_eq!(sample.status, status, "{code}");
            lines.push(format!("`{code}`: {}", sample.detail));
            examples.insert((*code).to_owned(), json!({ "value": sample }));
        }
        let answer = json!({
            "description": lines.join("\n\n"),
            "headers": fields_of(status),
            "content": {
                "application/problem+json": {
                    "schema": { "$ref": "#/components/schemas/ProblemDetails" },
                    "examples": examples,
                }
            },
        });
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        self.responses.insert(name, answer);
        reference
    }
}

/// The fields of the head that answers of this status have.
fn fields_of(status: u16) -> Value {
    let mut names = vec!["RateLimit", "RateLimit-Policy"];
    match status {
        401 => names.push("WWW-Authenticate"),
        405 => names.push("Allow"),
        429 | 503 => names.push("Retry-After"),
        _ => {}
    }
    let reference = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    let fields = names
        .iter()
        .map(|name| ((*name).to_owned(), reference(name)));
    Value::Object(fields.collect())
}

fn headers() -> Value {
    let text = |description: &str, example: &str| json!({ "description": description, "schema": { "type": "string" }, "example": example });
    json!({
        "Allow": text("The methods that this path knows.", "GET,HEAD,PATCH,DELETE"),
        "RateLimit": text(
            "How many requests are left now (`r`), and in how many seconds there will be more (`t`). Missing where \
             requests are not limited (draft-ietf-httpapi-ratelimit-headers).",
            "\"client\";r=97;t=1",
        ),
        "RateLimit-Policy": text(
            "How many requests a client may send (`q`) in how many seconds (`w`). Missing where requests are not limited.",
            "\"client\";q=100;w=60",
        ),
        "Retry-After": {
            "description": "Seconds to wait before the next attempt.",
            "schema": { "type": "integer", "minimum": 0 },
            "example": 1,
        },
        "WWW-Authenticate": text("How to show a token.", "Bearer"),
    })
}

/// An event of a stream. OpenAPI 3.1 has no word for streams; `schema` is taken as that of one event.
fn event() -> Value {
    let kind = |name: &str, data: &str| {
        json!({
            "title": name,
            "type": "object",
            "properties": {
                "event": { "const": name },
                "id": { "type": "string", "pattern": "^[0-9]{1,20}$", "example": "1" },
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": { "$ref": format!("#/components/schemas/{data}") },
                },
                "retry": { "type": "integer", "description": "Milliseconds to wait before coming back.", "example": 3_000 },
            },
            "required": ["event", "id", "data"],
        })
    };
    json!({
        "description": "An event of a stream, with the fields of server-sent events (HTML Living Standard, section 9.2).",
        "oneOf": [
            kind("message", "MessageSummary"),
            kind("removed", "RemovedMessage"),
            kind("expires-soon", "MailboxEnd"),
            kind("closed", "NoData"),
            kind("reset", "NoData"),
        ],
    })
}

/// Whether nobody may do this without a mailbox's token.
fn needs_token(operation: &Value) -> bool {
    let ways = operation["security"].as_array();
    ways.is_some_and(|ways| ways.iter().any(|way| way.get("token").is_some()))
}

/// Codes that the answers to an operation may have beside its own.
fn shared_codes(method: &str, operation: &Value) -> Vec<(u16, &'static str)> {
    let mut shared = vec![
        (400, "bad-head"),
        (408, "timeout"),
        (429, "too-many-requests"),
        (431, "head-too-large"),
        (505, "bad-version"),
    ];
    if method != "get" {
        shared.push((403, "cross-origin"));
    }
    if needs_token(operation) {
        shared.extend([(401, "no-token"), (404, "no-such-mailbox"), (503, "busy")]);
    }
    if operation.get("requestBody").is_some() {
        shared.extend([
            (400, "bad-body"),
            (413, "body-too-large"),
            (415, "not-json"),
            (422, "bad-field"),
            (422, "unknown-field"),
        ]);
    }
    shared
}

/// A body is a JSON object. One that may be missing is not `null` instead.
fn complete_body(body: &mut Value, components: &mut Components) {
    let schema = &mut body["content"]["application/json"]["schema"];
    let may_be_missing = schema.get("oneOf").is_some();
    if may_be_missing {
        *schema = schema["oneOf"][0].take();
    }
    let name = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next());
    components.bodies.extend(name.map(ToOwned::to_owned));
    body["required"] = json!(!may_be_missing);
}

fn complete_operation(method: &str, operation: &mut Value, components: &mut Components) {
    if let Some(body) = operation.get_mut("requestBody") {
        complete_body(body, components);
    }
    let mut codes: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for (status, code) in shared_codes(method, operation) {
        codes.entry(status).or_default().push(code.to_owned());
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, response) in &mut *responses {
        let status: u16 = status.parse().expect("a status is a number");
        if status >= 400 {
            let own = response["description"].as_str().unwrap_or_default();
            let own = own.split(", ").map(ToOwned::to_owned);
            codes.entry(status).or_default().extend(own);
        } else if let Some(fields) = fields_of(status).as_object_mut() {
            let known = response["headers"].as_object_mut();
            fields.extend(known.map(std::mem::take).unwrap_or_default());
            response["headers"] = Value::Object(std::mem::take(fields));
            if let Some(stream) = response.pointer_mut("/content/text~1event-stream") {
                stream["schema"] = json!({ "$ref": "#/components/schemas/MailboxEvent" });
            }
        }
    }
    for (status, codes) in &mut codes {
        codes.sort();
        codes.dedup();
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        responses.insert(status.to_string(), components.answer(*status, &codes));
    }
}

/// `no-such-message` as `NoSuchMessage`.
fn camel(code: &str) -> String {
    let words = code.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}
