//! The API's document against the API.

use crate::client::send;
use crate::house::{House, bearer, settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const JSON: &str = "Content-Type: application/json";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> Value {
    let text = fs::read_to_string(root().join("docs/openapi.json")).expect("it is there");
    serde_json::from_str(&text).expect("JSON")
}

/// Path, method and description of every operation.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").iter();
        methods.map(move |(method, it)| (path.as_str(), method.as_str(), it))
    });
    all.collect()
}

#[test]
fn the_document_is_served() {
    let house = House::new();
    let answer = send(house.public, "GET", "/api/v1/openapi.json", &[], "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let stored = fs::read(root().join("docs/openapi.json")).expect("it is there");
    assert!(answer.body == stored);
}

#[test]
fn all_that_is_routed_is_described_and_nothing_else() {
    let folder = root().join("src/control/api");
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("it can be read").path();
        let text = fs::read_to_string(&path).expect("text");
        for (_, behind) in text
            .match_indices(".route(\"")
            .map(|(at, it)| (at, &text[at + it.len()..]))
        {
            assert!(
                !behind.starts_with("/api/v1"),
                "{path:?}: name it in operations(), or it is not described"
            );
        }
    }
    let house = House::new();
    let (_, token) = house.create("{}");
    let document = document();
    for (path, method, _) in operations(&document) {
        let path = path.replace("{id}", "1").replace("{index}", "0");
        let method = method.to_uppercase();
        let allowed = send(house.public, "OPTIONS", &path, &[&bearer(&token)], "");
        let allow = allowed.field("allow").unwrap_or_default();
        assert!(
            allow.split(',').any(|it| it == method),
            "{method} {path}: {allow}"
        );
    }
}

#[test]
fn every_operation_is_explained() {
    let document = document();
    let mut ids = Vec::new();
    for (path, method, operation) in operations(&document) {
        for name in ["summary", "operationId"] {
            assert!(operation[name].is_string(), "{method} {path}: no {name}");
        }
        ids.push(operation["operationId"].to_string());
        assert_eq!(
            operation["tags"].as_array().map(Vec::len),
            Some(1),
            "{method} {path}"
        );
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{path} {parameter}");
            let example = parameter.get("example").is_some();
            let schema = &parameter["schema"];
            let bounded = ["pattern", "minimum", "enum"]
                .iter()
                .any(|it| schema.get(*it).is_some());
            assert!(example && bounded, "{path} {parameter}");
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(
        ids.len(),
        operations(&document).len(),
        "each has an id of its own"
    );
}

#[test]
fn bodies_have_the_fields_that_are_described_and_no_others() {
    let mut settings = settings();
    settings.webhooks.enabled = true;
    let house = House::with(settings);
    let (_, token) = house.create("{}");
    let document = document();
    let mut bodies = 0;
    for (path, method, operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) else {
            continue;
        };
        bodies += 1;
        let schema = &document["components"]["schemas"][name];
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let fields = schema["properties"].as_object().expect("properties");
        let ask = |body: Value| {
            let fields = [JSON, &bearer(&token)];
            let answer = send(
                house.public,
                &method.to_uppercase(),
                path,
                &fields,
                &body.to_string(),
            );
            let problem = answer.json();
            (
                answer.code(),
                problem["field"].as_str().unwrap_or_default().to_owned(),
            )
        };
        for field in fields.keys() {
            let (code, named) = ask(json!({ field: [[]] }));
            assert_eq!((code.as_str(), &named), ("bad-field", field), "{path}");
        }
        let mut all = schema["required"].as_array().into_iter().flatten();
        assert!(all.all(|it| fields.contains_key(it.as_str().expect("a name"))));
        let mut body = json!({ "nowhere": 1 });
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            body[name] = fields[name]["examples"][0].clone();
        }
        assert_eq!(
            ask(body),
            ("unknown-field".to_owned(), "nowhere".to_owned()),
            "{path}"
        );
    }
    assert!(bodies >= 2);
}

#[test]
fn the_server_says_what_it_offers() {
    let house = House::new();
    let answer = send(house.public, "GET", "/api/v1/info", &[], "");
    assert_eq!(answer.status, 200);
    let info = answer.json();
    assert_eq!(
        info["domains"],
        json!([{"domain": "mayfly.test", "domain_unicode": "mayfly.test"}])
    );
    assert_eq!(info["accept"], "created");
    assert_eq!(
        (&info["ttl_default"], &info["ttl_max"]),
        (&json!(3_600), &json!(86_400))
    );
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_page_of_the_api_runs_nothing_but_its_own_script() {
    let house = House::new();
    let page = send(house.public, "GET", "/api", &[], "");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
        form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
        trusted-types 'none'";
    assert_eq!(page.field("content-security-policy"), Some(policy));
    let text = String::from_utf8(page.body).expect("UTF-8");
    let loaded = ["href=\"/api/explorer.css\"", "src=\"/api/explorer.js\""];
    assert!(loaded.iter().all(|it| text.contains(it)));
    assert!(
        !text.contains("style=")
            && !text.contains("<style")
            && text.matches("<script").count() == 1
    );
    for (path, kind) in [
        ("/api/explorer.css", "text/css; charset=utf-8"),
        ("/api/explorer.js", "text/javascript; charset=utf-8"),
    ] {
        let file = send(house.public, "GET", path, &[], "");
        assert_eq!(
            (file.status, file.field("content-type")),
            (200, Some(kind)),
            "{path}"
        );
        assert!(file.body.len() < 16 << 10, "{path} is small");
        let text = String::from_utf8(file.body).expect("UTF-8");
        for markup in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "localStorage",
            "sessionStorage",
            "://",
        ] {
            assert!(!text.contains(markup), "{path} has {markup}");
        }
    }
}

#[test]
fn every_operation_stands_in_the_manual() {
    let manual = fs::read_to_string(root().join("docs/api.md")).expect("it is there");
    let document = document();
    for (path, method, _) in operations(&document) {
        let named = manual.contains(&format!("`{} {path}", method.to_uppercase()))
            || method == "get" && manual.contains(&format!("`{path}`"));
        assert!(named, "docs/api.md does not name {method} {path}");
    }
}

/// What stands in the document as the example of each problem, by its code.
fn problems(document: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let responses = document["components"]["responses"].as_object();
    for response in responses.expect("responses").values() {
        let examples = &response["content"]["application/problem+json"]["examples"];
        for (code, example) in examples.as_object().expect("examples") {
            found.insert(code.clone(), example["value"].clone());
        }
    }
    found
}

#[test]
fn problems_are_what_the_examples_say() {
    let house = House::new();
    let (address, token) = house.create("{\"local_part\": \"somebody\"}");
    house.deliver(&address, b"Subject: plain\r\n\r\n");
    let examples = problems(&document());
    let authorized = bearer(&token);
    let holder = [JSON, authorized.as_str()];
    let large = " ".repeat(20 << 10);
    let create = |code: &str, fields: &[&str], body: &str| {
        let answer = send(house.public, "POST", "/api/v1/mailboxes", fields, body);
        assert_eq!(answer.json(), examples[code], "{code}");
    };
    create("bad-body", &[JSON], "[]");
    create("bad-field", &[JSON], "{\"local_part\": \"\"}");
    create("body-too-large", &[JSON], &large);
    create("cross-origin", &["Origin: null"], "");
    create("not-json", &["Content-Type: text/plain"], "{}");
    create("taken", &[JSON], "{\"local_part\": \"somebody\"}");
    let ask = |code: &str, method: &str, path: &str, fields: &[&str], body: &str| {
        let answer = send(house.public, method, path, fields, body);
        assert_eq!(answer.json(), examples[code], "{code}");
    };
    let (mailbox, message) = ("/api/v1/mailbox", "/api/v1/messages");
    let stranger = ["Authorization: Bearer x"];
    let too_much = "{\"ttl\": 60, \"tll\": 60}";
    ask("method-not-allowed", "PUT", mailbox, &holder, "");
    ask("no-such-mailbox", "GET", mailbox, &stranger, "");
    ask("no-token", "GET", message, &[], "");
    ask("unknown-field", "PATCH", mailbox, &holder, too_much);
    for (code, more) in [
        ("bad-query", "?limit=0"),
        ("no-such-message", "/9"),
        ("no-such-part", "/1/html"),
        ("no-such-part", "/1/attachments/0"),
    ] {
        ask(code, "GET", &format!("{message}{more}"), &holder, "");
    }
}
