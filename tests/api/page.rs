//! The web page and its frame over the wire: what is served, under which policy, and what a ticket opens.

use crate::client::{Answer, send};
use crate::house::{House, bearer};
use serde_json::json;

const HTML: &str = "Subject: x\r\nContent-Type: text/html\r\n\r\n\
    <p>Hello</p><img src=http://t.test/a.gif><img src=//t.test/b.gif><script>x</script>\r\n";
const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
const JSON: &str = "Content-Type: application/json";

fn get(house: &House, path: &str, fields: &[&str]) -> Answer {
    send(house.public, "GET", path, fields, "")
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).expect("UTF-8")
}

/// All of an answer, to the byte.
fn whole(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, &answer.head, text(answer))
}

/// A mailbox with this mail in it: address and token.
fn with_mail(house: &House, mail: &str) -> String {
    let (address, token) = house.create("");
    house.deliver(&address, mail.as_bytes());
    token
}

fn view(house: &House, token: &str, id: &str, body: &str) -> Answer {
    let path = format!("/api/v1/messages/{id}/view");
    send(house.public, "POST", &path, &[JSON, &bearer(token)], body)
}

fn ticket(house: &House, token: &str, body: &str) -> String {
    let answer = view(house, token, "1", body);
    assert_eq!(answer.status, 200, "{}", text(&answer));
    assert_eq!(answer.json()["expires_in"], 60);
    answer.json()["url"].as_str().expect("a path").to_owned()
}

#[test]
fn browsers_get_the_page_and_programs_a_few_lines() {
    let house = House::new();
    for fields in [&[][..], &["Accept: */*"], &["Accept: application/json"]] {
        let help = get(&house, "/", fields);
        assert_eq!(
            help.field("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(help.field("vary"), Some("accept"));
        assert!(text(&help).contains("curl -X POST"));
    }
    let page = get(&house, "/", &[BROWSER]);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("vary", "accept"),
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        ),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(page.field(name), Some(value));
    }
    let tag = page.field("etag").expect("a tag").to_owned();
    let known = format!("If-None-Match: {tag}");
    let again = get(&house, "/", &[BROWSER, &known]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(
        again.field("content-security-policy"),
        page.field("content-security-policy")
    );
    assert_eq!(again.field("etag"), Some(tag.as_str()));
    // The operator's side has no page.
    let operator = send(house.operator, "GET", "/", &[BROWSER], "");
    assert_eq!(
        operator.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
}

#[test]
fn the_files_of_the_page_may_be_kept_for_ever() {
    let house = House::new();
    let page = get(&house, "/", &[BROWSER]);
    let paths = text(&page)
        .split('"')
        .filter(|it| it.starts_with("/assets/"));
    let paths: Vec<&str> = paths.collect();
    assert!(paths.len() >= 4);
    for path in &paths {
        let file = get(&house, path, &[]);
        assert_eq!(file.status, 200, "{path}");
        let kept = "public, max-age=31536000, immutable";
        assert_eq!(file.field("cache-control"), Some(kept));
        assert_eq!(file.field("x-content-type-options"), Some("nosniff"));
    }
    let folder = paths[0].rsplit_once('/').expect("a folder").0;
    let german = get(&house, &format!("{folder}/lang/de.txt"), &[]);
    assert_eq!(
        german.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    for path in [
        format!("{folder}/other.js"),
        format!("{folder}/../page.css"),
        format!("{folder}/lang/"),
        "/assets/000000000000000000000000/app.js".to_owned(),
    ] {
        let answer = get(&house, &path, &[]);
        assert_eq!(answer.code(), "no-such-resource", "{path}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn l3_a_view_has_the_strictest_fields() {
    let house = House::new();
    let token = with_mail(&house, HTML);
    for (body, images) in [
        ("", "data:"),
        ("{}", "data:"),
        ("{\"remote\": true}", "data: https:"),
    ] {
        let frame = get(&house, &ticket(&house, &token, body), &[]);
        let policy = format!(
            "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
             style-src 'unsafe-inline'; img-src {images}; font-src data:; form-action 'none'; \
             base-uri 'none'; frame-ancestors 'self'"
        );
        for (name, value) in [
            ("content-security-policy", policy.as_str()),
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(frame.field(name), Some(value), "{body}");
        }
        let shown = text(&frame);
        assert!(!shown.contains("<script"), "{shown}");
        let remote = body.contains("true");
        assert_eq!(
            shown.contains(" src=\"https://t.test/a.gif\""),
            remote,
            "{shown}"
        );
        assert_eq!(
            shown.contains(" src=\"https://t.test/b.gif\""),
            remote,
            "{shown}"
        );
        assert_eq!(shown.contains("data-remote"), !remote, "{shown}");
    }
}

#[test]
fn what_a_ticket_does_not_open_is_not_there() {
    let house = House::new();
    let token = with_mail(&house, HTML);
    let nothing = get(&house, "/nothing", &[]);
    let opened = ticket(&house, &token, "");
    let other = House::new();
    let foreign = ticket(&other, &with_mail(&other, HTML), "");
    let plain = with_mail(&house, "Subject: x\r\n\r\ntext\r\n");
    let without_html = ticket(&house, &plain, "");
    let changed = format!("{}A", &opened[..opened.len() - 1]);
    for path in [
        &opened[..opened.len() - 1],
        &opened[..20],
        &format!("{opened}A"),
        &format!("{opened}%00"),
        &changed.replace('A', "B"),
        &foreign,
        &without_html,
        "/view/x",
        "/view/%2e%2e",
        &format!("/view/{token}"),
    ] {
        let answer = get(&house, path, &[]);
        assert_eq!(whole(&answer), whole(&nothing), "{path}");
    }
    // It is no token, and opens nothing else; nor is a token a ticket.
    let secret = opened.strip_prefix("/view/").expect("a path");
    assert_eq!(
        house.get("/api/v1/mailbox", secret).code(),
        "no-such-mailbox"
    );
    assert_eq!(get(&house, &opened, &[]).status, 200, "more than once");
    let labels = send(house.operator, "GET", "/metrics", &[], "");
    assert!(text(&labels).contains("route=\"frame\"") && !text(&labels).contains(secret));
    let path = "/api/v1/messages/1";
    let deleted = send(house.public, "DELETE", path, &[&bearer(&token)], "");
    assert_eq!(deleted.status, 204);
    assert_eq!(whole(&get(&house, &opened, &[])), whole(&nothing));
}

#[test]
fn a_view_is_asked_for_strictly() {
    let house = House::new();
    let token = with_mail(&house, HTML);
    for (id, body, status, code) in [
        ("2", "", 404, "no-such-message"),
        ("x", "", 404, "no-such-message"),
        ("1", "{\"remote\": 1}", 422, "bad-field"),
        ("1", "{\"remotely\": true}", 422, "unknown-field"),
        ("1", "[]", 400, "bad-body"),
    ] {
        let answer = view(&house, &token, id, body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{id} {body}"
        );
    }
    assert_eq!(view(&house, "mf_wrong", "1", "").code(), "no-such-mailbox");
    let nobody = send(house.public, "POST", "/api/v1/messages/1/view", &[], "");
    assert_eq!(nobody.code(), "no-token");
    assert_eq!(
        view(&house, &token, "1", "{\"remote\": null}").json()["expires_in"],
        json!(60)
    );
}
