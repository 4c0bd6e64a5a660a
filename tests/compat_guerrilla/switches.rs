//! What is off is not there.

use super::*;

#[test]
fn what_is_off_is_not_there_and_a_reload_turns_it() {
    let gateway = Gateway::start("");
    let nothing = get(&gateway, "/nowhere");
    let paths = [
        "/ajax.php?f=get_email_address",
        "/inbox?get_att=",
        "/api/v1/?action=getDomainList",
        "/api/v1/mailbox/u",
        "/serve/mailbox/u/1/html",
        "/api/v1/monitor/messages",
    ];
    for path in paths {
        assert_eq!(get(&gateway, path).timeless(), nothing.timeless(), "{path}");
    }
    let help = get(&gateway, "/").text();
    assert!(help.contains("mayfly") && !help.contains("api_token"));
    // Such domains are there without such APIs, and nothing of ours opens what is in them.
    gateway.reload(SETTINGS);
    gateway.await_metric("mayfly_config_reloads_total", "result=\"succeeded\"", 1);
    for path in paths {
        assert_ne!(get(&gateway, path).timeless(), nothing.timeless(), "{path}");
    }
    assert!(get(&gateway, "/").text().contains("api_token"));
    // Each core hears of it in its own time.
    gateway::poll(|| {
        let reply = gateway.deliver("u@open.test", "Subject: x\r\n\r\ny");
        reply.starts_with("250").then_some(()).ok_or(reply)
    });
    assert_eq!(
        get(&gateway, "/api/v1/mailbox/u")
            .json()
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let off = SETTINGS.replace(
        "public_domains = [\"open.test\", \"wide.test\"]",
        "public_domains = [\"wide.test\"]",
    );
    gateway.reload(&off);
    gateway.await_metric("mayfly_config_reloads_total", "result=\"succeeded\"", 2);
    check(&gateway, &[("/api/v1/mailbox/u@open.test", 200, json!([]))]);
}
