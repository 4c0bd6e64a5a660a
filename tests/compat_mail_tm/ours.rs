//! What this API shares with ours: the same mailboxes, the same guard, the same silence.

use super::*;

/// Two accounts, and everything that the one may ask of the other's.
#[test]
fn what_is_somebody_elses_is_as_good_as_not_there() {
    let gateway = start("");
    let [one, other] = ["one", "other"].map(|name| Somebody::new(&gateway, name));
    other.gets(&gateway, "private");
    let message = other.messages(&gateway)[0]["id"].clone();
    let message = message.as_str().expect("a text");
    let none = "0".repeat(24);
    for (line, id) in [
        ("GET /accounts/ID", &*other.id),
        ("DELETE /accounts/ID", &other.id),
        ("GET /messages/ID", message),
        ("PATCH /messages/ID", message),
        ("DELETE /messages/ID", message),
        ("GET /messages/ID/download", message),
        ("GET /messages/ID/attachment/ATTACH000001", message),
        ("GET /sources/ID", message),
        ("GET /.well-known/mercure?topic=/accounts/ID", &other.id),
    ] {
        let theirs = one.ask(&gateway, &line.replace("ID", id), PLAIN);
        let nobodys = one.ask(&gateway, &line.replace("ID", &none), PLAIN);
        assert_eq!(theirs.status, 404, "{line}");
        assert_eq!(theirs.timeless(), nobodys.timeless(), "{line}");
    }
    assert_eq!(other.messages(&gateway).len(), 1);
    let own = other.ask(&gateway, &format!("GET /messages/{message}"), PLAIN);
    assert_eq!(own.status, 200);
    assert_eq!(own.json()["seen"], false);
}

#[test]
fn tokens_end_and_die_with_their_account_and_all_that_open_nothing_are_alike() {
    let gateway = start("[store]\naddress_quarantine = \"0s\"\n");
    let first = Somebody::new(&gateway, "somebody");
    let again = gateway.post(
        "/token",
        "{\"address\":\"SomeBody@Mayfly.test\",\"password\":\"secret\"}",
    );
    assert_eq!(again.field("id"), first.id, "an address has one form");
    assert_ne!(again.field("token"), first.token);
    let deleted = first.ask(&gateway, &format!("DELETE /accounts/{}", first.id), PLAIN);
    assert_eq!(deleted.status, 204);
    let second = Somebody::new(&gateway, "somebody");
    assert_ne!(second.id, first.id, "it is another account");
    let forged = Somebody {
        token: format!("{}A", &second.token[..second.token.len() - 1]),
        ..Somebody::new(&gateway, "another")
    };
    for line in ["GET /me", "GET /messages", "DELETE /accounts/x"] {
        let dead = first.ask(&gateway, line, PLAIN);
        assert_eq!(
            (dead.status, dead.json()["message"].as_str()),
            (401, Some("Invalid JWT Token"))
        );
        assert_eq!(
            dead.timeless(),
            forged.ask(&gateway, line, PLAIN).timeless()
        );
    }
    assert_eq!(second.ask(&gateway, "GET /me", PLAIN).status, 200);
}

#[test]
fn an_account_is_a_mailbox_and_a_token_of_ours_opens_its_own_here_too() {
    let gateway = start("");
    let (address, token) = gateway.create("native");
    let native = Somebody {
        address,
        id: String::new(),
        token,
    };
    native.gets(&gateway, "for both");
    assert_eq!(native.messages(&gateway)[0]["subject"], "for both");
    let login = format!("{{\"address\":\"{}\",\"password\":\"\"}}", native.address);
    assert_eq!(gateway.post("/token", &login).status, 400);
    let login = login.replace("\"\"}", "\"x\"}");
    assert_eq!(
        gateway.post("/token", &login).status,
        401,
        "it has no password"
    );
    let taken = gateway.post("/accounts", &login);
    assert_eq!(taken.status, 422, "{}", taken.text());
    let guest = Somebody::new(&gateway, "guest");
    assert_eq!(
        gateway.get("/api/v1/mailbox", &guest.token).status,
        404,
        "but not the other way"
    );
}

#[test]
fn whoever_creates_passes_the_same_guard() {
    let hash = mayfly::control::keys::hash(KEY.as_bytes());
    let gateway = start(&format!(
        "[http]\ncreations_per_minute = 2\nconnections_per_client_max = 0\n\
         [plans]\noffered = [{{ name = \"anonymous\", mailboxes_max = 2 }}, {{ name = \"more\", mailbox_bytes_max = \"1 MiB\" }}]\n\
         keys = [{{ plan = \"more\", hash = \"{hash}\" }}]\n"
    ));
    let create = |name: &str, key: &str| {
        let body = format!("{{\"address\":\"{name}@mayfly.test\",\"password\":\"x\"}}");
        let authorization = format!("Authorization: Bearer {key}");
        let fields = [
            &*authorization,
            "Content-Type: application/json",
            "Accept: application/json",
        ];
        ask(&gateway, "POST /accounts", &fields, &body)
    };
    assert_eq!(create("one", "from another server").status, 201);
    assert_eq!(create("two", "").status, 201);
    let refused = create("three", "");
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(field(&refused, "retry-after").is_some());
    let granted = create("three", KEY);
    assert_eq!(granted.status, 201, "{}", granted.text());
    assert_eq!(granted.json()["quota"], 1 << 20);
    gateway.await_metric("mayfly_http_creations_refused_total", "rate", 1);
}

const KEY: &str = "mfk_k3v5x2m7q4c6r2s3t5u3w5y7z2a2b4d6";

#[test]
fn where_work_is_asked_for_it_goes_into_a_field_of_its_own() {
    let gateway = start("[http]\nproof_of_work_bits = 1\nconnections_per_client_max = 0\n");
    let account = json!({"address": "worker@mayfly.test", "password": "x"});
    let refused = gateway.post("/accounts", &account.to_string());
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Show some work first"));
    let challenge = gateway.post("/api/v1/challenges", "").field("challenge");
    // Of one bit every second nonce is right.
    let solved = (0..64).any(|nonce: u32| {
        let mut account = account.clone();
        account["proof"] = json!({"challenge": challenge, "nonce": nonce.to_string()});
        gateway.post("/accounts", &account.to_string()).status == 201
    });
    assert!(solved);
}

#[test]
fn passwords_are_hashed_few_at_a_time_and_the_rest_is_told_to_come_back() {
    let gateway = Gateway::start(
        "[compatibility]\nmail_tm = true\npassword_memory = \"32 MiB\"\npassword_passes = 8\n\
         passwords_at_once = 1\npasswords_waiting_max = 0\n[http]\nconnections_per_client_max = 0\n",
    );
    let login = "{\"address\":\"nobody@mayfly.test\",\"password\":\"x\"}";
    let to = gateway.http;
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask = move || http::request(to, "POST", "/token", None, login);
        let asked = [(); 6].map(|()| scope.spawn(ask));
        asked.map(|it| it.join().expect("answered")).into()
    });
    let refused: Vec<&Answer> = answers.iter().filter(|it| it.status == 503).collect();
    assert!(!refused.is_empty(), "one was hashed, five came meanwhile");
    for answer in refused {
        assert!(field(answer, "retry-after").is_some(), "{}", answer.head);
    }
    assert!(answers.iter().any(|it| it.status == 401));
}
