//! What is answered to what, case by case.

use super::*;

/// A request without a token (line, fields of the head, body), and what must be answered: status, media type, and a text in
/// the body.
struct Case(
    &'static str,
    &'static [&'static str],
    &'static str,
    u16,
    &'static str,
    &'static str,
);

const STRANGERS: &[Case] = &[
    // Both forms.
    Case(
        "GET /domains",
        &[],
        "",
        200,
        "application/ld+json; charset=utf-8",
        "\"hydra:totalItems\":1",
    ),
    Case(
        "GET /domains?page=1",
        &["Accept: */*"],
        "",
        200,
        "application/ld+json; charset=utf-8",
        "\"@type\":\"hydra:Collection\"",
    ),
    Case(
        "GET /domains",
        &["Accept: application/ld+json"],
        "",
        200,
        "application/ld+json; charset=utf-8",
        "\"@context\":\"/contexts/Domain\"",
    ),
    Case(
        "GET /domains",
        &["Accept: application/json"],
        "",
        200,
        "application/json; charset=utf-8",
        "[{\"id\":\"",
    ),
    Case(
        "GET /domains",
        &["Accept: application/json, text/plain, */*"],
        "",
        200,
        "application/json; charset=utf-8",
        "[{",
    ),
    Case(
        "GET /domains?page=2",
        &["Accept: application/json"],
        "",
        200,
        "application/json; charset=utf-8",
        "[]",
    ),
    Case(
        "HEAD /domains",
        &["Accept: application/json"],
        "",
        200,
        "application/json; charset=utf-8",
        "",
    ),
    Case("OPTIONS /domains", &[], "", 204, "", ""),
    // What is not there.
    Case(
        "GET /domains?page=0",
        &[],
        "",
        400,
        "application/problem+json; charset=utf-8",
        "'page' must be a number",
    ),
    Case(
        "GET /domains/000000000000000000000000",
        &[],
        "",
        404,
        "application/problem+json; charset=utf-8",
        "\"detail\":\"Not Found\"",
    ),
    Case(
        "GET /domains/x",
        &["Accept: application/json"],
        "",
        404,
        "application/json; charset=utf-8",
        "\"title\":\"An error occurred\"",
    ),
    Case(
        "GET /accounts",
        &["Accept: application/json"],
        "",
        405,
        "application/json; charset=utf-8",
        "\"status\":405",
    ),
    Case(
        "PUT /messages",
        &["Accept: application/json"],
        "",
        405,
        "application/json; charset=utf-8",
        "\"status\":405",
    ),
    Case(
        "GET /messages/x/y",
        &["Accept: application/json"],
        "",
        404,
        "application/json; charset=utf-8",
        "Not Found",
    ),
    // No token.
    Case(
        "GET /me",
        &["Accept: application/json"],
        "",
        401,
        "application/json",
        "{\"code\":401,\"message\":\"JWT Token not found\"}",
    ),
    Case(
        "GET /me",
        &[],
        "",
        401,
        "application/json",
        "JWT Token not found",
    ),
    Case(
        "GET /me",
        &["Authorization: Bearer"],
        "",
        401,
        "application/json",
        "JWT Token not found",
    ),
    Case(
        "GET /me",
        &["Authorization: Basic eDp5"],
        "",
        401,
        "application/json",
        "JWT Token not found",
    ),
    Case(
        "GET /me",
        &["Authorization: Bearer x"],
        "",
        401,
        "application/json",
        "{\"code\":401,\"message\":\"Invalid JWT Token\"}",
    ),
    Case(
        "GET /messages",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    Case(
        "GET /messages/x",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    Case(
        "GET /messages/x/download",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    Case(
        "GET /messages/x/attachment/ATTACH000001",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    Case(
        "GET /sources/x",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    Case(
        "PATCH /messages/x",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    Case(
        "DELETE /messages/x",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    Case(
        "GET /accounts/x",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    Case(
        "DELETE /accounts/x",
        &["Authorization: Bearer mf_x"],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
    // What cannot be an account.
    Case(
        "POST /accounts",
        &["Content-Type: application/json"],
        "{",
        400,
        "application/problem+json; charset=utf-8",
        "Syntax error",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: application/json", "Accept: application/json"],
        "[]",
        400,
        "application/json; charset=utf-8",
        "Syntax error",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: text/plain"],
        "{}",
        415,
        "application/problem+json; charset=utf-8",
        "application/json",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: application/json"],
        "{}",
        422,
        "application/problem+json; charset=utf-8",
        "\"hydra:description\":\"address: This value should not be blank.\"",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: application/json", "Accept: application/json"],
        "{\"address\":\"a@mayfly.test\"}",
        422,
        "application/json; charset=utf-8",
        "\"violations\":[{\"propertyPath\":\"password\",\"message\":\"This value should not be blank.\"}]",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: application/json"],
        "{\"address\":7,\"password\":\"x\"}",
        422,
        "application/problem+json; charset=utf-8",
        "address: This value should be of type string.",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: application/json"],
        "{\"address\":\"a\",\"password\":\"x\"}",
        422,
        "application/problem+json; charset=utf-8",
        "address: This value is not a valid email address.",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: application/json"],
        "{\"address\":\"a@b.test\",\"password\":\"x\"}",
        422,
        "application/problem+json; charset=utf-8",
        "\"propertyPath\":\"address\"",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: application/json"],
        "{\"address\":\"a+b@mayfly.test\",\"password\":\"x\"}",
        422,
        "application/problem+json; charset=utf-8",
        "address: This has a tag",
    ),
    Case(
        "POST /accounts",
        &["Content-Type: application/json"],
        "{\"address\":\"postmaster@mayfly.test\",\"password\":\"x\"}",
        422,
        "application/problem+json; charset=utf-8",
        "address: This name is reserved.",
    ),
    Case(
        "POST /accounts",
        &[
            "Content-Type: application/json",
            "Sec-Fetch-Site: cross-site",
            "Accept: application/json",
        ],
        "{}",
        403,
        "application/json; charset=utf-8",
        "Pages of other sites",
    ),
    // No way in.
    Case(
        "POST /token",
        &["Content-Type: application/json"],
        "{\"address\":\"nobody@mayfly.test\",\"password\":\"x\"}",
        401,
        "application/json",
        "{\"code\":401,\"message\":\"Invalid credentials.\"}",
    ),
    Case(
        "POST /token",
        &["Content-Type: application/json"],
        "{\"address\":\"no address\",\"password\":\"x\"}",
        401,
        "application/json",
        "Invalid credentials.",
    ),
    Case(
        "POST /token",
        &["Content-Type: application/json", "Accept: application/json"],
        "{}",
        400,
        "application/json; charset=utf-8",
        "must be there",
    ),
    // The hub.
    Case(
        "GET /.well-known/mercure?topic=x",
        &["Accept: text/event-stream"],
        "",
        401,
        "application/json",
        "JWT Token not found",
    ),
    Case(
        "GET /.well-known/mercure?topic=x&authorization=y",
        &[],
        "",
        401,
        "application/json",
        "Invalid JWT Token",
    ),
];

#[test]
fn strangers_get_these_answers() {
    let gateway = start("");
    for Case(line, fields, body, status, kind, text) in STRANGERS {
        let answer = ask(&gateway, line, fields, body);
        let found = answer.text();
        assert_eq!(answer.status, *status, "{line} {fields:?}: {found}");
        let media_type = field(&answer, "content-type").unwrap_or_default();
        assert_eq!(media_type, *kind, "{line} {fields:?}");
        assert!(found.contains(text), "{line} {fields:?}: {found}");
    }
}

#[test]
fn what_a_request_goes_through_first_speaks_this_language_too() {
    let gateway = start("[http]\nrequests_per_minute = 4\nconnections_per_client_max = 0\n");
    let plain = "Accept: application/json";
    let large = "x".repeat(20_000);
    let kind = "Content-Type: application/json";
    let refused = ask(&gateway, "POST /accounts", &[plain, kind], &large);
    assert_eq!(refused.status, 413, "{}", refused.text());
    let media_type = |answer: &Answer| field(answer, "content-type").unwrap_or_default().to_owned();
    assert_eq!(media_type(&refused), "application/json; charset=utf-8");
    assert!(refused.text().contains("larger than allowed"));
    while ask(&gateway, "GET /domains", &[plain], "").status == 200 {}
    let refused = ask(&gateway, "GET /domains", &[plain], "");
    assert_eq!(refused.status, 429);
    assert_eq!(media_type(&refused), "application/json; charset=utf-8");
    let wait = field(&refused, "retry-after").expect("it says when to come back");
    assert!((1..=120).contains(&wait.parse::<u32>().expect("seconds")));
    assert!(field(&refused, "ratelimit").is_some());
    let detail = refused.field("detail");
    assert!(detail.contains("Too many requests"), "{detail}");
    let refused = ask(&gateway, "GET /.well-known/mercure?topic=x", &[plain], "");
    assert_eq!(refused.status, 429, "streams that do not open count");
    let ours = ask(&gateway, "GET /api/v1/info", &[plain], "");
    assert_eq!(media_type(&ours), "application/problem+json");
}

#[test]
fn nothing_is_there_while_the_switch_is_off_and_a_reload_turns_it() {
    let gateway = Gateway::start("");
    let none = ask(&gateway, "GET /nothing", &[], "");
    for line in [
        "GET /domains",
        "PUT /domains",
        "POST /accounts",
        "GET /messages",
        "GET /.well-known/mercure",
    ] {
        let answer = ask(&gateway, line, &["Accept: application/json"], "");
        assert_eq!(answer.timeless(), none.timeless(), "{line}");
    }
    gateway.reload(ON);
    gateway.await_metric("mayfly_config_reloads_total", "succeeded", 1);
    assert_eq!(ask(&gateway, "GET /domains", &[], "").status, 200);
    gateway.reload("");
    gateway.await_metric("mayfly_config_reloads_total", "succeeded", 2);
    assert_eq!(
        ask(&gateway, "GET /domains", &[], "").timeless(),
        none.timeless()
    );
}

#[test]
fn objects_have_what_json_ld_adds_only_where_it_was_asked_for() {
    let gateway = start("");
    let somebody = Somebody::new(&gateway, "somebody");
    somebody.gets(&gateway, "one");
    let get = |path: &str, accept| {
        let answer = somebody.ask(&gateway, &format!("GET {path}"), accept);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    };
    let message = somebody.messages(&gateway)[0]["id"].clone();
    let message = message.as_str().expect("a text");
    let id = &somebody.id;
    for (path, kind) in [
        ("/me".to_owned(), "Account"),
        (format!("/accounts/{id}"), "Account"),
        (format!("/messages/{message}"), "Message"),
        (format!("/sources/{message}"), "Source"),
    ] {
        let linked = get(&path, HYDRA);
        assert_eq!(linked["@type"], kind);
        assert_eq!(linked["@context"], format!("/contexts/{kind}"));
        let folder = format!("/{}s/", kind.to_lowercase());
        assert_eq!(
            linked["@id"],
            format!("{folder}{}", linked["id"].as_str().expect("a text"))
        );
        let plain = get(&path, PLAIN);
        let fields = plain.as_object().expect("an object");
        assert!(fields.keys().all(|name| !name.starts_with('@')), "{plain}");
        assert_eq!(
            fields.len() + 3,
            linked.as_object().expect("an object").len()
        );
    }
    let listed = get("/messages", HYDRA);
    let member = &listed["hydra:member"][0];
    assert_eq!(member["@id"], format!("/messages/{message}"));
    assert_eq!(member["accountId"], format!("/accounts/{id}"));
    assert_eq!(
        listed["hydra:view"],
        Value::Null,
        "one page is all there is"
    );
    let full = get(&format!("/messages/{message}"), PLAIN);
    assert_eq!(
        full["verifications"],
        json!({"tls": null, "spf": false, "dkim": false})
    );
    for name in ["retentionDate", "createdAt", "updatedAt"] {
        let date = full[name].as_str().expect("a date");
        assert!(
            date.ends_with("+00:00") && date.len() == 25,
            "{name}: {date}"
        );
    }
}
