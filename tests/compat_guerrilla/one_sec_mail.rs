//! The API of 1secmail.

use super::*;

#[test]
fn one_sec_mail_shows_public_mailboxes_as_the_service_did() {
    let gateway = start();
    gateway.create("held");
    mail(
        &gateway,
        "held@mayfly.test",
        "Subject: somebody's\r\n\r\nno",
    );
    mail(&gateway, "u+tag@open.test", MAIL);
    mail(&gateway, "u@open.test", "Subject: plain\r\n\r\n1 < 2");
    check_names(&gateway);
    check_messages(&gateway);
    check_what_is_not_there(&gateway);
}

fn ask(action: &str) -> String {
    format!("/api/v1/?action={action}")
}

/// The same for the mailbox that there is.
fn of(action: &str, rest: &str) -> String {
    ask(&format!("{action}&login=u&domain=open.test{rest}"))
}

fn check_names(gateway: &Gateway) {
    let made = get(gateway, &ask("genRandomMailbox&count=3")).json();
    let made: Vec<&str> = made
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let domains: Vec<&str> = made.iter().filter_map(|it| it.split('@').nth(1)).collect();
    assert_eq!(domains, ["open.test", "wide.test", "open.test"]);
    mail(gateway, made[1], "Subject: first\r\n\r\nx");
}

fn check_messages(gateway: &Gateway) {
    let list = get(gateway, &of("getMessages", "")).json();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert_eq!(kinds(&list[1]), "date:s from:s id:n subject:s");
    assert_eq!(list[0]["subject"], "plain", "the newest first");
    assert_eq!(list[1]["from"], "ann@a.test");
    assert_eq!(list[1]["subject"], "one \u{fc}");
    let date = list[1]["date"].as_str().expect("text");
    let shape: String = date
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00 00:00:00");

    let read = get(gateway, &of("readMessage", "&id=1")).json();
    assert_eq!(
        kinds(&read),
        "attachments:[] body:s date:s from:s htmlBody:s id:n subject:s textBody:s"
    );
    assert_eq!(
        read["attachments"],
        json!([{ "filename": "a b.txt", "contentType": "text/plain", "size": 8 }])
    );
    assert_eq!(read["textBody"], "Your code is 482913.");
    let html = read["htmlBody"].as_str().expect("text");
    assert!(
        html.contains("<b>482913</b>") && !html.contains("steal"),
        "{html}"
    );
    assert_eq!(read["body"], read["htmlBody"]);
    let plain = get(gateway, &of("readMessage", "&id=2")).json();
    assert_eq!(
        (&plain["body"], &plain["htmlBody"]),
        (&json!("1 < 2\n"), &json!(""))
    );

    let file = get(gateway, &of("download", "&id=1&file=a+b.txt"));
    assert_eq!((file.status, file.text().as_str()), (200, "attached"));
    assert!(
        file.head.contains("application/octet-stream"),
        "{}",
        file.head
    );
}

fn check_what_is_not_there(gateway: &Gateway) {
    let missing = || json!("Message not found");
    check(
        gateway,
        &[
            (
                &ask("getDomainList"),
                200,
                json!(["open.test", "wide.test"]),
            ),
            (
                &ask("getMessages&login=nobody&domain=open.test"),
                200,
                json!([]),
            ),
            (
                &ask("getMessages&login=held&domain=mayfly.test"),
                200,
                json!([]),
            ),
            (
                &ask("getMessages&login=admin&domain=open.test"),
                200,
                json!([]),
            ),
            (
                &ask("getMessages&login=u%40open.test&domain="),
                200,
                json!([]),
            ),
            (
                &ask("readMessage&login=held&domain=mayfly.test&id=1"),
                404,
                missing(),
            ),
            (&of("readMessage", "&id=3"), 404, missing()),
            (&of("readMessage", "&id=-1"), 404, missing()),
            (&of("readMessage", ""), 404, missing()),
            (&of("download", "&id=9&file=a+b.txt"), 404, missing()),
            (
                &of("download", "&id=1&file=b.txt"),
                404,
                json!("File not found"),
            ),
        ],
    );
    for bad in [
        &ask(""),
        "/api/v1/",
        &ask("erase"),
        &ask("getMessages&login=u"),
    ] {
        let answer = get(gateway, bad);
        assert_eq!(
            (answer.status, answer.field("code").as_str()),
            (400, "bad-query"),
            "{bad}"
        );
    }
    let many = format!("/api/v1/?{}", "a=1&".repeat(1_100));
    assert_eq!(get(gateway, &many).status, 400);
    let posted = request(gateway.http, "POST", "/api/v1/", None, "");
    assert_eq!(posted.status, 405);
}
