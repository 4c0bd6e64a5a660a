//! The API of GuerrillaMail.

use super::*;
use crate::gateway::http::answer;
use crate::gateway::{PATIENCE, poll};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

/// A call with GET; says the status and the JSON.
fn call(gateway: &Gateway, query: &str) -> Value {
    let answer = get(gateway, &format!("/ajax.php?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()
}

/// A call in a session.
fn call_as(gateway: &Gateway, sid: &str, query: &str) -> Value {
    call(gateway, &format!("{query}&sid_token={sid}"))
}

/// A session with a chosen name; says its `sid_token`.
fn session(gateway: &Gateway, name: &str) -> String {
    let set = call(gateway, &format!("f=set_email_user&email_user={name}"));
    assert_eq!(set["email_addr"], format!("{name}@mayfly.test"), "{set}");
    text(&set["sid_token"])
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// A request as it is, with these fields of the head.
fn raw(gateway: &Gateway, method: &str, path: &str, fields: &[&str], body: &str) -> Answer {
    let fields: String = fields.iter().map(|it| format!("{it}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        gateway.http,
        body.len()
    );
    answer(gateway.http, request.as_bytes())
}

const NO_SESSION: &str = "auth-session-not-initialized";

fn codes(view: &Value) -> String {
    assert_eq!(view["auth"]["success"], false, "{view}");
    text(&view["auth"]["error_codes"][0])
}

#[test]
fn every_function_answers_with_the_types_that_clients_read() {
    let gateway = start();
    let first = call(&gateway, "f=get_email_address&ip=127.0.0.1&agent=x&lang=en");
    assert_eq!(
        kinds(&first),
        "alias:s alias_error:s auth:{} email_addr:s email_timestamp:n sid_token:s site:s site_id:n"
    );
    assert_eq!(first["auth"], json!({ "success": true, "error_codes": [] }));
    let sid = session(&gateway, "types");
    mail(&gateway, "types@mayfly.test", MAIL);
    mail(
        &gateway,
        "types@mayfly.test",
        "Reply-To: <r@a.test>\r\nSubject: <b>\"two\"\r\n\r\n'a' <b>",
    );
    check_list(&gateway, &sid);
    check_mails(&gateway, &sid);
    check_pages(&gateway, &sid);
    check_ends(&gateway, &sid);
}

fn check_list(gateway: &Gateway, sid: &str) {
    let list = call_as(gateway, sid, "f=check_email&seq=0");
    assert_eq!(
        kinds(&list),
        "alias:s auth:{} count:s email:s list:[] sid_token:s stats:{} ts:n"
    );
    assert_eq!(
        (&list["count"], &list["email"]),
        (&json!("2"), &json!("types@mayfly.test"))
    );
    assert_eq!(
        kinds(&list["stats"]),
        "created_addresses:n received_emails:s sequence_mail:s total:s total_per_hour:s"
    );
    assert_eq!(
        kinds(&list["list"][0]),
        "att:s mail_date:s mail_excerpt:s mail_from:s mail_id:s mail_read:s mail_size:s mail_subject:s mail_timestamp:s"
    );
    let newest = &list["list"][0];
    assert_eq!(newest["mail_subject"], "&lt;b&gt;&quot;two&quot;");
    assert_eq!(newest["mail_excerpt"], "&#039;a&#039; &lt;b&gt;");
    assert_eq!(
        (&newest["mail_id"], &newest["mail_read"], &newest["att"]),
        (&json!("3"), &json!("0"), &json!("0"))
    );
    let oldest = &list["list"][1];
    assert_eq!(
        (&oldest["mail_id"], &oldest["att"]),
        (&json!("2"), &json!("1"))
    );
    assert_eq!(oldest["mail_subject"], "one \u{fc}");
}

fn check_mails(gateway: &Gateway, sid: &str) {
    let whole = call_as(gateway, sid, "f=fetch_email&email_id=2");
    assert_eq!(
        kinds(&whole),
        "att:s att_info:[] auth:{} content_type:s mail_body:s mail_date:s mail_excerpt:s mail_from:s mail_id:s mail_read:s \
         mail_recipient:s mail_size:s mail_subject:s mail_timestamp:s ref_mid:s reply_to:s sid_token:s size:s source_id:s \
         source_mail_id:s"
    );
    assert_eq!(
        whole["att_info"],
        json!([{ "f": "a b.txt", "t": "text/plain", "p": "1" }])
    );
    let body = text(&whole["mail_body"]);
    assert!(
        body.contains("<b>482913</b>") && !body.contains("steal"),
        "{body}"
    );
    assert!(
        body.contains("src=\"/res.php?r=1&n=img&q=https%3A%2F%2Ft.test%2Fp.gif%3Fa%3D1%26b%3D2\""),
        "{body}"
    );
    assert_eq!(whole["mail_read"], "1");
    let plain = call_as(gateway, sid, "f=fetch_email&email_id=3");
    assert_eq!(
        (&plain["mail_body"], &plain["reply_to"]),
        (&json!("'a' &lt;b&gt;<br>\n"), &json!("r@a.test"))
    );
    for none in ["1", "0", "4", "-1", "x", "", "99999999999999999999"] {
        assert_eq!(
            call_as(gateway, sid, &format!("f=fetch_email&email_id={none}")),
            json!(false),
            "{none}"
        );
    }
}

/// The ids of a list.
fn ids(gateway: &Gateway, sid: &str, query: &str) -> String {
    let list = call_as(gateway, sid, query);
    let mails = list["list"].as_array().expect("a list");
    let ids: Vec<String> = mails.iter().map(|it| text(&it["mail_id"])).collect();
    ids.join(" ")
}

fn check_pages(gateway: &Gateway, sid: &str) {
    for (query, expected) in [
        ("f=check_email", "3 2"),
        ("f=check_email&seq=1", "3 2"),
        ("f=check_email&seq=2", "3"),
        ("f=check_email&seq=3", ""),
        ("f=check_email&seq=18446744073709551615", ""),
        ("f=get_email_list&offset=0", "3 2"),
        ("f=get_email_list&offset=1", "2"),
        ("f=get_email_list&offset=99", ""),
        ("f=get_older_list&seq=3", "2"),
        ("f=get_older_list&seq=4&limit=1", "3"),
        ("f=get_older_list&seq=0", ""),
    ] {
        assert_eq!(ids(gateway, sid, query), expected, "{query}");
    }
}

fn check_ends(gateway: &Gateway, sid: &str) {
    let file = get(
        gateway,
        &format!("/inbox?get_att=&lang=en&email_id=2&part_id=1&sid_token={sid}"),
    );
    assert_eq!((file.status, file.text().as_str()), (200, "attached"));
    assert!(
        file.head.contains("content-disposition: attachment"),
        "{}",
        file.head
    );

    let extended = call_as(gateway, sid, "f=extend");
    assert_eq!(
        kinds(&extended),
        "affected:n auth:{} email_timestamp:n expired:b sid_token:s"
    );
    assert_eq!(
        (&extended["affected"], &extended["expired"]),
        (&json!(1), &json!(false))
    );
    let deleted = call_as(
        gateway,
        sid,
        "f=del_email&email_ids[]=2&email_ids%5B%5D=99&email_ids[0]=x",
    );
    assert_eq!(
        (kinds(&deleted).as_str(), &deleted["deleted_ids"]),
        ("auth:{} deleted_ids:[] sid_token:s", &json!(["2"]))
    );
    assert_eq!(ids(gateway, sid, "f=check_email"), "3");
    assert_eq!(
        call_as(gateway, sid, "f=forget_me&email_addr=types@mayfly.test"),
        json!(true)
    );
    assert_eq!(codes(&call_as(gateway, sid, "f=check_email")), NO_SESSION);
    let ended = call_as(gateway, sid, "f=extend");
    assert_eq!(
        (&ended["affected"], &ended["expired"]),
        (&json!(0), &json!(true))
    );
}

#[test]
fn a_session_is_a_parameter_or_a_cookie_and_nobody_elses() {
    let gateway = start();
    let made = raw(&gateway, "GET", "/ajax.php?f=get_email_address", &[], "");
    let address = made.field("email_addr");
    let cookie = made
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.expect("a cookie");
    let (pair, about) = cookie.split_once("; ").expect("with attributes");
    assert_eq!(about, "Path=/; HttpOnly; SameSite=Strict");
    assert_eq!(pair, format!("PHPSESSID={}", made.field("sid_token")));
    let kind = "Content-Type: application/x-www-form-urlencoded; charset=UTF-8";
    let cookies = format!("Cookie: SUBSCR=x; {pair}; a=b");
    // The same with the cookie, as a form, and with the query and the form put together.
    for (method, path, fields, body) in [
        (
            "GET",
            "/ajax.php?f=get_email_address".to_owned(),
            vec![cookies.as_str()],
            String::new(),
        ),
        (
            "POST",
            "/ajax.php".to_owned(),
            vec![cookies.as_str(), kind],
            "f=get_email_address".to_owned(),
        ),
        (
            "POST",
            "/ajax.php?f=extend".to_owned(),
            vec![kind],
            format!("f=get_email_address&sid_token={}", made.field("sid_token")),
        ),
        (
            "GET",
            format!(
                "/ajax.php?f=get_email_address&sid_token={}",
                made.field("sid_token")
            ),
            vec![],
            String::new(),
        ),
        // What is no session does not hide one.
        (
            "GET",
            "/ajax.php?f=get_email_address&sid_token=x".to_owned(),
            vec![cookies.as_str()],
            String::new(),
        ),
    ] {
        let answer = raw(&gateway, method, &path, &fields, &body);
        assert_eq!(answer.field("email_addr"), address, "{method} {path}");
        assert_ne!(
            answer.field("sid_token"),
            made.field("sid_token"),
            "each answer has a new one"
        );
    }
    let none = raw(
        &gateway,
        "GET",
        "/ajax.php?f=get_email_address",
        &["Cookie: PHPSESSID=x"],
        "",
    );
    assert_ne!(none.field("email_addr"), address);
    what_is_no_session_opens_nothing(&gateway, &made.field("sid_token"));
}

fn what_is_no_session_opens_nothing(gateway: &Gateway, sid: &str) {
    let wrong: String = sid.chars().rev().collect();
    for sid in ["", "x", &wrong] {
        for f in [
            "check_email",
            "get_email_list",
            "get_older_list",
            "fetch_email",
            "del_email",
            "forget_me",
            "extend",
        ] {
            let said = call_as(gateway, sid, &format!("f={f}"));
            assert_eq!(codes(&said), NO_SESSION, "{f} {sid}");
        }
    }
}

#[test]
fn errors_are_said_in_the_words_of_the_service() {
    let gateway = start();
    for (path, status) in [
        ("/inbox", 404),
        ("/inbox?get_att=&email_id=2&part_id=1", 404),
        ("/inbox?get_att=&email_id=2&part_id=1&sid_token=x", 404),
        ("/ajax.php", 400),
        ("/ajax.php?f=send_email", 400),
    ] {
        let answer = get(&gateway, path);
        assert_eq!(answer.status, status, "{path}");
        codes(&answer.json());
    }
    // Pages of other sites ask for nothing, cookie or not.
    for field in [
        "Origin: http://elsewhere.test",
        "Sec-Fetch-Site: cross-site",
    ] {
        for (method, path) in [
            ("GET", "/ajax.php?f=get_email_address"),
            ("POST", "/ajax.php?f=get_email_address"),
            ("GET", "/inbox?get_att=&email_id=2&part_id=1"),
        ] {
            let answer = raw(&gateway, method, path, &[field], "");
            assert_eq!(
                (answer.status, codes(&answer.json()).as_str()),
                (403, "cross-origin")
            );
        }
    }
}

#[test]
fn a_name_in_use_is_refused_and_its_holder_comes_back_to_it() {
    let gateway = start();
    gateway.create("ours");
    let mine = session(&gateway, "mine");
    for name in [
        "mine",
        "MINE",
        "mine@mayfly.test",
        "ours",
        "admin",
        "mine%2Btag",
        "a+b",
        "",
        "a@b@c",
        "%00",
    ] {
        let set = call(
            &gateway,
            &format!("f=set_email_user&email_user={name}&site=guerrillamail.com"),
        );
        assert_ne!(set["alias_error"], "", "{name}");
        let address = text(&set["email_addr"]);
        assert!(
            address.ends_with("@mayfly.test") && !address.starts_with("mine@"),
            "{name} {address}"
        );
        // It stays with the address that it has.
        let sid = text(&set["sid_token"]);
        let again = call_as(
            &gateway,
            &sid,
            &format!("f=set_email_user&email_user={name}"),
        );
        assert_eq!(again["email_addr"], address, "{name}");
    }
    whoever_holds_two_turns_from_one_to_the_other(&gateway, &mine);
}

fn whoever_holds_two_turns_from_one_to_the_other(gateway: &Gateway, mine: &str) {
    let other = session(gateway, "other");
    let back = call_as(gateway, mine, "f=set_email_user&email_user=second");
    let both = text(&back["sid_token"]);
    mail(gateway, "mine@mayfly.test", "Subject: mine\r\n\r\nx");
    assert_eq!(call_as(gateway, &both, "f=check_email")["count"], "0");
    let back = call_as(gateway, &both, "f=set_email_user&email_user=Mine");
    assert_eq!(
        (&back["email_addr"], &back["alias_error"]),
        (&json!("mine@mayfly.test"), &json!(""))
    );
    let both = text(&back["sid_token"]);
    assert_eq!(call_as(gateway, &both, "f=check_email")["count"], "1");
    assert_eq!(
        call_as(gateway, &other, "f=fetch_email&email_id=2"),
        json!(false)
    );
    // The other one is forgotten by its name.
    assert_eq!(
        call_as(gateway, &both, "f=forget_me&email_addr=second@mayfly.test"),
        json!(true)
    );
    assert_eq!(call_as(gateway, &both, "f=check_email")["count"], "1");
    let second = call(gateway, "f=set_email_user&email_user=second");
    assert_ne!(second["alias_error"], "", "it rests");
}

#[test]
fn a_public_name_is_everybodys_and_is_not_held() {
    let gateway = start();
    mail(&gateway, "u@open.test", MAIL);
    for query in ["email_user=u&site=open.test", "email_user=u@open.test"] {
        let set = call(&gateway, &format!("f=set_email_user&{query}"));
        assert_eq!(
            (&set["email_addr"], &set["alias_error"]),
            (&json!("u@open.test"), &json!(""))
        );
        let sid = text(&set["sid_token"]);
        assert_eq!(call_as(&gateway, &sid, "f=check_email")["count"], "1");
        let extended = call_as(&gateway, &sid, "f=extend");
        assert_eq!(
            (&extended["affected"], &extended["expired"]),
            (&json!(0), &json!(false))
        );
        let whole = call_as(&gateway, &sid, "f=fetch_email&email_id=2");
        assert_eq!(whole["mail_recipient"], "u");
        assert_eq!(
            get(
                &gateway,
                &format!("/inbox?get_att=&email_id=2&part_id=1&sid_token={sid}")
            )
            .text(),
            "attached"
        );
    }
    let empty = call(&gateway, "f=set_email_user&email_user=nobody@open.test");
    let sid = text(&empty["sid_token"]);
    assert_eq!(call_as(&gateway, &sid, "f=check_email")["count"], "0");
    assert_eq!(
        call_as(&gateway, &sid, "f=fetch_email&email_id=2"),
        json!(false)
    );
    let reserved = call(&gateway, "f=set_email_user&email_user=admin@open.test");
    assert_ne!(reserved["alias_error"], "");
    let drawn = call(&gateway, "f=get_email_address&site=open.test");
    assert!(
        text(&drawn["email_addr"]).ends_with("@mayfly.test"),
        "what is made up is held"
    );
}

#[test]
fn sessions_end_and_creations_are_counted_as_ours_are() {
    let key = mayfly::control::keys::ApiKey::draw();
    let hash = mayfly::control::keys::hash(key.reveal().as_bytes());
    let settings = format!(
        "{SETTINGS}guerrilla_session_idle = \"1s\"\n[http]\ncreations_per_minute = 3\n\
         [plans]\noffered = [{{ name = \"team\", creations_per_minute = 1 }}]\nkeys = [{{ plan = \"team\", hash = \"{hash}\" }}]\n"
    );
    let gateway = Gateway::start(&settings);
    let sid = session(&gateway, "short");
    assert_eq!(call_as(&gateway, &sid, "f=check_email")["count"], "0");
    poll(|| {
        let said = call_as(&gateway, &sid, "f=check_email");
        match said["auth"]["success"] == false {
            true => Ok(()),
            false => Err("it goes on".to_owned()),
        }
    });
    for _ in 0..2 {
        call(&gateway, "f=get_email_address");
    }
    let refused = get(&gateway, "/ajax.php?f=get_email_address");
    assert_eq!(
        (refused.status, codes(&refused.json()).as_str()),
        (429, "too-many-creations")
    );
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    let shown = |key: &str| {
        let field = format!("Authorization: ApiToken {key}");
        raw(
            &gateway,
            "GET",
            "/ajax.php?f=get_email_address",
            &[&field],
            "",
        )
    };
    assert_eq!(shown(key.reveal()).status, 200);
    assert_eq!(shown(key.reveal()).status, 429, "of this key");
    assert_eq!(codes(&shown("mfk_wrong").json()), "auth-token-invalid");
    assert_eq!(
        codes(&shown("none").json()),
        "too-many-creations",
        "what others call a token is none"
    );
}

#[test]
fn guerrillamail_api_lives_a_life() {
    python("session.py", &start());
}

#[test]
fn guerrillamail_client_creates_lists_fetches_and_forgets() {
    let gateway = start();
    let path = clients().join("client/debug/compat-guerrilla-client");
    let mut client = program(path.to_str().expect("a path"))
        .arg(format!("http://{}", gateway.http))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{why} (tests/setup builds it)"));
    let mut stdin = client.stdin.take().expect("piped");
    let mut stdout = BufReader::new(client.stdout.take().expect("piped"));
    let mut ask = |words: &str| -> Value {
        writeln!(stdin, "{words}").expect("it reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|why| panic!("{words}: {why} in {line:?}"))
    };
    assert_eq!(ask("create crab"), "crab@mayfly.test");
    assert_eq!(ask("list"), json!([]));
    mail(&gateway, "crab@mayfly.test", MAIL);
    assert_eq!(
        ask("list"),
        json!([["2", "ann@a.test", "one \u{fc}", "Your code is 482913."]])
    );
    let fetched = ask("fetch 2");
    assert_eq!(fetched["files"], json!([["a b.txt", "text/plain", "1"]]));
    assert_eq!(
        (&fetched["count"], &fetched["has_token"]),
        (&json!(1), &json!(true))
    );
    assert!(text(&fetched["body"]).contains("<b>482913</b>"));
    assert_eq!(ask("attachment 2 0"), "attached");
    assert!(ask("fetch 3")["error"].is_string());
    assert_eq!(ask("forget"), true);
    assert!(ask("list")["error"].is_string());
    drop(stdin);
    let ended = gateway::tools::wait(&mut client, PATIENCE);
    assert!(ended.success());
}
