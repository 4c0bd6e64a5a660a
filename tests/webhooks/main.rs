//! Webhooks: real mail comes to the real binary, and real machines are called.

#![cfg(feature = "server")]

#[path = "../gateway/mod.rs"]
mod gateway;
mod manual;
mod receiver;

use gateway::{Answer, Gateway, Ports, request, tools};
use receiver::{Call, Receiver, authority, is_quiet};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;

/// Webhooks that may call this machine, and do not wait long.
const ON: &str = "[webhooks]\nenabled = true\nallow_http = true\nports = []\n\
    allow_networks = [\"127.0.0.0/8\", \"::1\"]\nretry_wait = \"10ms\"\n";

const WEBHOOK: &str = "/api/v1/mailbox/webhook";
const TEST: &str = "/api/v1/mailbox/webhook/test";

const MAIL: &str = "From: Harbour <hello@harbour.test>\r\nSubject: Your code is 482913\r\n\r\n\
    Your verification code: 482913\r\n";

fn put(gateway: &Gateway, token: &str, url: &str) -> Answer {
    let body = serde_json::json!({ "url": url }).to_string();
    request(gateway.http, "PUT", WEBHOOK, Some(token), &body)
}

/// Names a webhook; returns its secret.
fn name(gateway: &Gateway, token: &str, url: &str) -> String {
    let answer = put(gateway, token, url);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.field("secret")
}

fn mail(gateway: &Gateway, to: &str) {
    let reply = gateway.deliver(to, MAIL);
    assert!(reply.starts_with("250"), "{reply}");
}

fn test(gateway: &Gateway, token: &str) -> Value {
    let answer = request(gateway.http, "POST", TEST, Some(token), "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// What the library of the specification says of these calls.
fn verify(calls: &[Value]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/agents/bin/python");
    assert!(python.exists(), "tests/setup installs what is missing");
    let mut command = tools::program(python.to_str().expect("text"));
    command.arg(root.join("tests/agents/verify.py"));
    let lines: Vec<String> = calls.iter().map(ToString::to_string).collect();
    let said = tools::succeed(&mut command, &(lines.join("\n") + "\n"));
    said.lines().map(ToOwned::to_owned).collect()
}

/// The same call with something changed.
fn forged(call: &Call, change: impl FnOnce(&mut Call)) -> Call {
    let mut forged = call.clone();
    change(&mut forged);
    forged
}

#[test]
fn mail_that_comes_is_told_signed_and_tried_again() {
    let (gateway, receiver) = (Gateway::start(ON), Receiver::start());
    let (address, token) = gateway.create("called");
    let secret = name(&gateway, &token, &receiver.url("/third"));
    mail(&gateway, &address);
    let calls: Vec<Call> = (0..3).map(|_| receiver.next()).collect();
    let listed = gateway.list(&token);
    for (call, attempt) in calls.iter().zip(1..) {
        let told = call.json();
        assert_eq!(told["type"], "message.received");
        assert_eq!(told["data"]["attempt"], attempt);
        assert_eq!(told["data"]["mailbox"], *address);
        assert_eq!(told["data"]["message"], listed[0]);
        assert_eq!(told["data"]["message"]["codes"][0]["code"], "482913");
        assert_eq!(told["data"]["delivery_id"], call.field("webhook-id"));
        assert_eq!(call.field("webhook-id"), calls[0].field("webhook-id"));
        assert_eq!(call.field("content-type"), "application/json");
        assert_eq!(call.field("host"), receiver.address.to_string());
        assert!(call.field("user-agent").starts_with("mayfly/"));
    }
    let wrong_secret = put(&gateway, &token, &receiver.url("/third")).field("secret");
    let of_others = forged(&calls[0], |it| it.body.insert(0, ' '));
    let later = forged(&calls[0], |it| {
        let secs: u64 = it.field("webhook-timestamp").parse().expect("a number");
        it.fields
            .insert("webhook-timestamp".to_owned(), (secs + 1).to_string());
    });
    let verdicts = verify(&[
        calls[0].signed_with(&secret),
        calls[2].signed_with(&secret),
        calls[0].signed_with(&wrong_secret),
        of_others.signed_with(&secret),
        later.signed_with(&secret),
    ]);
    assert_eq!(verdicts, ["good", "good", "bad", "bad", "bad"]);
    assert_eq!(manual::verdicts(&calls[1], &secret), [true; 3]);
    for wrong in [&of_others, &later] {
        assert_eq!(manual::verdicts(wrong, &secret), [false; 3]);
    }
    gateway.await_metric("mayfly_webhook_attempts_total", "\"delivered\"", 1);
    gateway.await_metric("mayfly_webhook_attempts_total", "\"status\"", 2);
    gateway.await_metric("mayfly_webhook_waiting_deliveries", "", 0);
}

#[test]
fn a_test_says_how_a_call_ends_and_nothing_is_followed_or_read() {
    let settings = format!("{ON}timeout = \"1s\"\n");
    let (gateway, receiver) = (Gateway::start(&settings), Receiver::start());
    let (_, token) = gateway.create("tested");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}/", closed.local_addr().expect("bound"));
    drop(closed);
    for (url, result) in [
        (receiver.url("/ok"), "delivered"),
        (receiver.url("/endless"), "delivered"),
        (receiver.url("/wrong"), "status"),
        (receiver.url("/redirect"), "status"),
        (receiver.url("/gone"), "gone"),
        (receiver.url("/slow"), "timeout"),
        (receiver.url("/nonsense"), "protocol"),
        // It speaks first, and not TLS.
        (format!("https://{}/", gateway.smtp), "tls"),
        (nobody, "connect"),
        ("http://nobody.invalid/".to_owned(), "name"),
    ] {
        let secret = name(&gateway, &token, &url);
        let tested = test(&gateway, &token);
        assert_eq!(tested["result"], result, "{url}");
        assert_eq!(tested["delivered"], result == "delivered", "{url}");
        if result == "delivered" {
            let call = receiver.next();
            assert_eq!(call.json()["type"], "webhook.test");
            assert_eq!(call.json()["data"]["message"], Value::Null);
            assert_eq!(verify(&[call.signed_with(&secret)]), ["good"]);
        }
    }
    let paths: BTreeSet<String> = receiver.others().into_iter().map(|it| it.path).collect();
    assert!(!paths.contains("/ok/redirected"), "a redirect was followed");
    assert_eq!(gateway.delete(WEBHOOK, &token).status, 204);
    for method in ["GET", "DELETE"] {
        let answer = request(gateway.http, method, WEBHOOK, Some(&token), "");
        assert_eq!(answer.field("code"), "no-such-webhook");
    }
}

#[test]
fn nobody_inside_is_called() {
    let settings = "[webhooks]\nenabled = true\nallow_http = true\nports = []\n";
    let gateway = Gateway::start(settings);
    let (address, token) = gateway.create("outside");
    let inside = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = inside.local_addr().expect("bound").port();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0x7f000001:{port}/"),
        "https://10.0.0.1/".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "ftp://a.test/".to_owned(),
        "https://user:secret@a.test/".to_owned(),
        "not a URL".to_owned(),
    ] {
        let answer = put(&gateway, &token, &url);
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (422, "bad-field"),
            "{url}"
        );
    }
    // A name is judged when it is known where it leads.
    name(&gateway, &token, &format!("http://localhost:{port}/"));
    assert_eq!(test(&gateway, &token)["result"], "forbidden");
    mail(&gateway, &address);
    gateway.await_metric("mayfly_webhook_dropped_total", "\"forbidden\"", 1);
    assert!(is_quiet(&inside), "somebody was called");
}

#[test]
fn the_slow_and_the_dead_delay_nobody() {
    let settings = format!(
        "{ON}timeout = \"1s\"\nattempts_max = 3\nbreaker_failures = 2\nbreaker_rest = \"1h\"\nqueue_per_url_max = 5\n"
    );
    let (gateway, slow, well) = (
        Gateway::start(&settings),
        Receiver::start(),
        Receiver::start(),
    );
    let (slow_box, slow_token) = gateway.create("slow");
    let (well_box, well_token) = gateway.create("well");
    name(&gateway, &slow_token, &slow.url("/slow"));
    name(&gateway, &well_token, &well.url("/ok"));
    for _ in 0..8 {
        mail(&gateway, &slow_box);
    }
    gateway.await_metric("mayfly_webhook_dropped_total", "\"url_queue\"", 3);
    mail(&gateway, &well_box);
    assert_eq!(well.next().json()["data"]["mailbox"], *well_box);
    // Then nobody asks the slow one any more.
    gateway.await_metric("mayfly_webhook_urls", "\"open\"", 1);
    let turns = "mayfly_webhook_breaker_transitions_total";
    assert_eq!(gateway.metric(turns, "from=\"closed\",to=\"open\""), 1);
    mail(&gateway, &well_box);
    assert_eq!(well.next().path, "/ok");
    // What waits for it goes with its mailbox.
    gateway.await_metric("mayfly_webhook_running_attempts", "", 0);
    let waiting = gateway.metric("mayfly_webhook_waiting_deliveries", "");
    assert!(waiting > 0);
    assert_eq!(gateway.delete("/api/v1/mailbox", &slow_token).status, 204);
    gateway.await_metric("mayfly_webhook_waiting_deliveries", "", 0);
    let vanished = gateway.metric("mayfly_webhook_dropped_total", "\"vanished\"");
    assert_eq!(vanished, waiting);
}

#[test]
fn what_is_deleted_is_not_told_and_webhooks_end_with_the_token() {
    let settings = format!("{ON}breaker_failures = 1\nbreaker_rest = \"1h\"\n");
    let (gateway, receiver) = (Gateway::start(&settings), Receiver::start());
    let made = gateway.post("/api/v1/mailboxes", "{\"local_part\":\"told\"}");
    let (address, token) = (made.field("address"), made.field("token"));
    name(&gateway, &token, &receiver.url("/wrong"));
    mail(&gateway, &address);
    gateway.await_metric("mayfly_webhook_urls", "\"open\"", 1);
    mail(&gateway, &address);
    gateway.await_metric("mayfly_webhook_waiting_deliveries", "", 2);
    assert_eq!(gateway.delete("/api/v1/messages/1", &token).status, 204);
    gateway.await_metric("mayfly_webhook_waiting_deliveries", "", 1);
    let ticket = format!("{{\"recovery\":\"{}\"}}", made.field("recovery"));
    let recovered = gateway.post("/api/v1/mailbox/recover", &ticket);
    gateway.await_metric("mayfly_webhook_waiting_deliveries", "", 0);
    let token = recovered.field("token");
    let answer = gateway.get(WEBHOOK, &token);
    assert_eq!(answer.field("code"), "no-such-webhook");
    // 410 ends a webhook by itself.
    name(&gateway, &token, &receiver.url("/gone"));
    mail(&gateway, &address);
    gateway.await_metric("mayfly_webhook_dropped_total", "\"gone\"", 1);
    gateway::poll(|| match gateway.get(WEBHOOK, &token).status {
        404 => Ok(()),
        status => Err(format!("it is still there: {status}")),
    });
    // A mailbox that nobody has, and one whose time is up, are the same.
    let nobody = put(&gateway, "mf_nobody", &receiver.url("/ok"));
    assert_eq!(nobody.field("code"), "no-such-mailbox");
}

#[test]
fn tls_is_asked_for_the_name_that_was_given() {
    let (certificate, tls) = authority();
    let receiver = Receiver::start_with(Some(tls));
    let file = std::env::temp_dir().join(format!("mayfly-webhooks-{}.pem", std::process::id()));
    std::fs::write(&file, certificate).expect("written");
    let variables = [("SSL_CERT_FILE", file.to_str().expect("text"))];
    let gateway = Gateway::try_start(Ports::FREE, ON, &variables).expect("it starts");
    let (address, token) = gateway.create("secured");
    let port = receiver.address.port();
    // The certificate is for the name and not for the address.
    name(&gateway, &token, &format!("https://127.0.0.1:{port}/ok"));
    assert_eq!(test(&gateway, &token)["result"], "tls");
    let secret = name(&gateway, &token, &format!("https://localhost:{port}/ok"));
    mail(&gateway, &address);
    let call = receiver.next();
    assert_eq!(call.field("host"), format!("localhost:{port}"));
    assert_eq!(verify(&[call.signed_with(&secret)]), ["good"]);
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn a_domain_has_a_webhook_of_its_own() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let receiver = Receiver::start();
    let file = std::env::temp_dir().join(format!("mayfly-secret-{}", std::process::id()));
    std::fs::write(&file, format!("{SECRET}\n")).expect("written");
    let settings = format!(
        "{ON}[[webhooks.domains]]\ndomain = \"hooked.test\"\nurl = \"{}\"\nsecret_file = {file:?}\n\
         [recipients]\ndomains = [\"mayfly.test\", \"hooked.test\"]\naccept = \"any\"\n",
        receiver.url("/ok/domain")
    );
    let gateway = Gateway::start(&settings);
    mail(&gateway, "nobody@mayfly.test");
    mail(&gateway, "anybody@hooked.test");
    let call = receiver.next();
    assert_eq!(call.json()["data"]["mailbox"], "anybody@hooked.test");
    assert_eq!(verify(&[call.signed_with(SECRET)]), ["good"]);
    // The holder of a mailbox there may have their own beside it.
    let fields = "{\"local_part\":\"somebody\",\"domain\":\"hooked.test\"}";
    let (address, token) = gateway.create_with(fields);
    name(&gateway, &token, &receiver.url("/ok/own"));
    mail(&gateway, &address);
    let paths: BTreeSet<String> = (0..2).map(|_| receiver.next().path).collect();
    assert_eq!(paths, ["/ok/domain", "/ok/own"].map(str::to_owned).into());
    assert!(receiver.others().is_empty());
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn turned_off_nobody_is_called() {
    let gateway = Gateway::start("");
    let (_, token) = gateway.create("off");
    let info = request(gateway.http, "GET", "/api/v1/info", None, "").json();
    assert_eq!(info["webhooks"], false);
    let answer = put(&gateway, &token, "https://a.test/");
    assert_eq!(
        (answer.status, &*answer.field("code")),
        (403, "webhooks-off")
    );
    let (gateway, receiver) = (
        Gateway::start(&format!(
            "{ON}breaker_failures = 1\nbreaker_rest = \"1h\"\n"
        )),
        Receiver::start(),
    );
    let (address, token) = gateway.create("turned-off");
    name(&gateway, &token, &receiver.url("/wrong"));
    mail(&gateway, &address);
    gateway.await_metric("mayfly_webhook_waiting_deliveries", "", 1);
    gateway.reload(&ON.replace("enabled = true", "enabled = false"));
    gateway.await_metric("mayfly_config_reloads_total", "succeeded", 1);
    mail(&gateway, &address);
    gateway.await_metric("mayfly_webhook_dropped_total", "\"off\"", 2);
    assert_eq!(gateway.metric("mayfly_webhook_waiting_deliveries", ""), 0);
}
