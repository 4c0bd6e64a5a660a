//! Who may create a mailbox, how many, and after how much work.

use crate::client::{Answer, send};
use crate::house::{House, bearer, settings};
use mayfly::control::Settings;
use mayfly::control::keys::{ApiKey, hash};
use mayfly::metrics::process::CreationRefused;
use mayfly::policy::network::Network;
use mayfly::policy::plans::Plan;
use mayfly::settings::{Bytes, Span};
use serde_json::{Value, json};
use std::time::Duration;

const JSON: &str = "Content-Type: application/json";
const PATH: &str = "/api/v1/mailboxes";

fn create(house: &House, fields: &[&str], body: &Value) -> Answer {
    let fields = [&[JSON], fields].concat();
    send(house.public, "POST", PATH, &fields, &body.to_string())
}

/// Settings with a plan `team` and a key for it, and two domains, of which the second is for that plan.
fn with_plan(plan: Plan) -> (Settings, ApiKey) {
    let mut settings = settings();
    settings.recipients.domains = vec!["mayfly.test".to_owned(), "team.test".to_owned()];
    settings.plans.offered.push(Plan {
        name: "team".to_owned(),
        domains: vec!["team.test".to_owned()],
        ..plan
    });
    let key = ApiKey::draw();
    assert!(settings.keys.add(hash(key.reveal().as_bytes()), "team"));
    (settings, key)
}

fn refused(house: &House, why: CreationRefused) -> u64 {
    house.metrics.http_creations_refused.of(why).value()
}

#[test]
fn a_key_grants_what_its_plan_says_and_others_get_what_all_get() {
    let (settings, key) = with_plan(Plan {
        ttl_max: Some(Span::secs(7 * 24 * 3600)),
        mailbox_messages_max: Some(2),
        mailbox_bytes_max: Some(Bytes::mib(1)),
        ..Plan::default()
    });
    let house = House::with(settings);
    let key = bearer(key.reveal());
    let week = json!({ "ttl": "8 days" });
    let made = create(&house, &[&key], &week);
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(
        (&made["plan"], &made["expires_in"]),
        (&json!("team"), &json!(7 * 24 * 3600))
    );
    let token = made["token"].as_str().expect("a token");
    let shown = house.get("/api/v1/mailbox", token).json();
    assert_eq!(shown["plan"], "team");
    let patched = send(
        house.public,
        "PATCH",
        "/api/v1/mailbox",
        &[JSON, &bearer(token)],
        &week.to_string(),
    );
    assert_eq!(
        patched.json()["expires_in"],
        7 * 24 * 3600,
        "the grant stays with the mailbox"
    );
    let few = create(&house, &[&key], &json!({ "messages_max": 3 }));
    assert_eq!(
        (few.code().as_str(), &few.json()["field"]),
        ("bad-field", &json!("messages_max"))
    );

    let plain = create(&house, &[], &week).json();
    assert_eq!(
        (&plain["plan"], &plain["expires_in"]),
        (&Value::Null, &json!(24 * 3600))
    );
}

#[test]
fn a_domain_of_a_plan_is_as_good_as_none_to_others() {
    let (mut settings, key) = with_plan(Plan::default());
    settings.recipients.subdomains = true;
    let house = House::with(settings);
    let key = bearer(key.reveal());
    let foreign = create(&house, &[], &json!({ "domain": "nowhere.test" }));
    for domain in ["team.test", "TEAM.test.", "below.team.test"] {
        let body = json!({ "domain": domain });
        let answer = create(&house, &[], &body);
        assert_eq!(
            (&answer.head, &answer.body),
            (&foreign.head, &foreign.body),
            "{domain}"
        );
        assert_eq!(create(&house, &[&key], &body).status, 201, "{domain}");
    }
    let info = send(house.public, "GET", "/api/v1/info", &[], "").json();
    assert_eq!(info["domains"][0]["domain"], "mayfly.test");
    assert_eq!(info["domains"].as_array().map(Vec::len), Some(1));
    let theirs = create(&house, &[&key], &json!({})).json();
    assert!(
        theirs["address"]
            .as_str()
            .expect("one")
            .ends_with("@mayfly.test")
    );
}

#[test]
fn nobody_creates_at_a_public_domain() {
    let (mut settings, key) = with_plan(Plan::default());
    settings.recipients.subdomains = true;
    settings
        .recipients
        .domains
        .insert(0, "open.test".to_owned());
    settings.recipients.public_domains = vec!["open.test".to_owned(), "*.mayfly.test".to_owned()];
    let house = House::with(settings.clone());
    let key = bearer(key.reveal());
    for domain in ["open.test", "OPEN.test.", "a.mayfly.test"] {
        for keys in [&[][..], &[key.as_str()]] {
            for local_part in [json!("demo"), Value::Null] {
                let body = json!({ "domain": domain, "local_part": local_part });
                let answer = create(&house, keys, &body);
                assert_eq!(answer.code(), "bad-field", "{body}");
                let said = answer.json();
                assert_eq!(said["field"], "domain", "{body}");
                let detail = said["detail"].as_str().expect("a sentence");
                assert!(detail.starts_with("This domain is public"), "{detail}");
            }
        }
    }
    let info = send(house.public, "GET", "/api/v1/info", &[], "").json();
    assert_eq!(info["domains"].as_array().map(Vec::len), Some(1));
    let made = create(&house, &[], &json!({})).json();
    let address = made["address"].as_str().expect("one");
    assert!(address.ends_with("@mayfly.test"), "{address}");

    settings.recipients.domains.truncate(1);
    settings.recipients.public_domains.truncate(1);
    let house = House::with(settings);
    let answer = create(&house, &[], &json!({}));
    assert_eq!(answer.json()["field"], "domain", "there is no other");
}

#[test]
fn where_all_domains_belong_to_plans_nobody_creates_without_a_key() {
    let (mut settings, key) = with_plan(Plan::default());
    settings.recipients.domains = vec!["team.test".to_owned()];
    let house = House::with(settings);
    let answer = create(&house, &[], &json!({}));
    assert_eq!(
        (answer.code().as_str(), &answer.json()["field"]),
        ("bad-field", &json!("domain"))
    );
    let made = create(&house, &[&bearer(key.reveal())], &json!({}));
    assert!(
        made.json()["address"]
            .as_str()
            .expect("one")
            .ends_with("@team.test")
    );
}

#[test]
fn a_wrong_key_gets_the_same_answer_whatever_is_wrong() {
    let (settings, key) = with_plan(Plan::default());
    let house = House::with(settings);
    let (_, token) = house.create("{}");
    let wrong = create(&house, &[&bearer(ApiKey::draw().reveal())], &json!({}));
    assert_eq!((wrong.status, wrong.code().as_str()), (401, "wrong-key"));
    assert_eq!(wrong.field("www-authenticate"), Some("Bearer"));
    let right = key.reveal();
    for field in [
        bearer(&token),
        bearer(""),
        bearer(&right.to_uppercase()),
        bearer(&right[..right.len() - 1]),
        bearer(&format!("{right}a")),
        bearer(&hash(right.as_bytes()).to_string()),
        format!("Authorization: Basic {right}"),
        format!("Authorization: {right}"),
        format!("{0}\r\n{0}", bearer(right)),
    ] {
        let answer = create(&house, &[&field], &json!({}));
        assert_eq!((&answer.head, &answer.body), (&wrong.head, &wrong.body));
    }
    assert_eq!(refused(&house, CreationRefused::Key), 10);
    let with = create(&house, &[&bearer(right)], &json!({}));
    assert_eq!(with.status, 201);
    let text = format!("{}{}", with.head, String::from_utf8_lossy(&with.body));
    assert!(!text.contains(right), "no answer has a key in it");
}

#[test]
fn a_plan_has_so_many_mailboxes_and_one_that_ends_makes_room() {
    let (settings, key) = with_plan(Plan {
        mailboxes_max: 2,
        ..Plan::default()
    });
    let other = ApiKey::draw();
    let mut settings = settings;
    settings.keys.add(hash(other.reveal().as_bytes()), "team");
    settings.budget.address_quarantine = Span(Duration::ZERO);
    let house = House::with(settings);
    let make = |key: &ApiKey, name: &str| {
        create(
            &house,
            &[&bearer(key.reveal())],
            &json!({ "local_part": name }),
        )
    };
    let first = make(&key, "one");
    assert_eq!(make(&key, "two").status, 201);
    let third = make(&key, "three");
    assert_eq!(
        (third.status, third.code().as_str()),
        (429, "too-many-mailboxes")
    );
    assert_eq!(
        make(&other, "two").code(),
        "taken",
        "whose place is free again"
    );
    assert_eq!(make(&other, "four").status, 201, "each key has its own");
    let token = first.json()["token"].as_str().expect("one").to_owned();
    send(
        house.public,
        "DELETE",
        "/api/v1/mailbox",
        &[&bearer(&token)],
        "",
    );
    assert_eq!(make(&key, "three").status, 201);
    let (address, _) = ("two@mayfly.test", ());
    house.at(address, |shard, now| {
        shard.expire(now.plus(Duration::from_secs(90_000)), usize::MAX);
    });
    assert_eq!(make(&key, "five").status, 201, "one has expired");
    assert_eq!(make(&other, "six").status, 201);
    assert_eq!(refused(&house, CreationRefused::Mailboxes), 1);
}

#[test]
fn those_without_a_key_may_have_a_plan_too() {
    let mut settings = settings();
    settings.plans.offered.push(Plan {
        name: "anonymous".to_owned(),
        ttl_max: Some(Span::secs(900)),
        mailboxes_max: 1,
        ..Plan::default()
    });
    let house = House::with(settings);
    let info = send(house.public, "GET", "/api/v1/info", &[], "").json();
    assert_eq!(
        (&info["ttl_max"], &info["ttl_default"]),
        (&json!(900), &json!(900))
    );
    let made = create(&house, &[], &json!({})).json();
    assert_eq!(
        (&made["plan"], &made["expires_in"]),
        (&json!("anonymous"), &json!(900))
    );
    assert_eq!(create(&house, &[], &json!({})).code(), "too-many-mailboxes");
}

#[test]
fn creations_are_counted_by_client_and_by_key() {
    let (mut settings, key) = with_plan(Plan {
        creations_per_minute: Some(4),
        ..Plan::default()
    });
    settings.http.creations_per_minute = 2;
    settings.http.trusted_proxies = vec![Network::LOOPBACK_V4];
    let house = House::with(settings);
    let from = |client: &str, fields: &[&str], body: Value| {
        let client = format!("X-Forwarded-For: {client}");
        create(&house, &[&[client.as_str()], fields].concat(), &body)
    };
    let plain = |client: &str| from(client, &[], json!({}));
    assert_eq!(plain("192.0.2.1").status, 201);
    assert_eq!(
        from("192.0.2.1", &[], json!({ "ttl": -1 })).status,
        422,
        "does not count"
    );
    assert_eq!(plain("192.0.2.1").status, 201);
    let third = plain("192.0.2.1");
    assert_eq!(
        (third.status, third.code().as_str()),
        (429, "too-many-creations")
    );
    let secs: u64 = third
        .field("retry-after")
        .expect("set")
        .parse()
        .expect("seconds");
    assert!((1..=120).contains(&secs));
    assert_eq!(plain("192.0.2.2").status, 201, "another client");
    let key = bearer(key.reveal());
    for client in ["192.0.2.1", "192.0.2.3", "192.0.2.4", "192.0.2.5"] {
        assert_eq!(
            from(client, &[&key], json!({})).status,
            201,
            "a key has its own count"
        );
    }
    assert_eq!(
        from("192.0.2.6", &[&key], json!({})).code(),
        "too-many-creations"
    );
    assert_eq!(refused(&house, CreationRefused::Rate), 2);
    let other = "{\"local_part\": \"held\"}";
    house.at("held@mayfly.test", |_, _| ());
    assert_eq!(
        from("192.0.2.9", &[], serde_json::from_str(other).expect("JSON")).status,
        201
    );
    assert_eq!(
        from("192.0.2.9", &[], serde_json::from_str(other).expect("JSON")).status,
        409
    );
    assert_eq!(
        plain("192.0.2.9").status,
        429,
        "names are not tried without end"
    );
}

/// Solves a challenge as a client would.
fn solve(challenge: &Value) -> Value {
    let text = challenge["challenge"].as_str().expect("a challenge");
    let bits = u32::try_from(challenge["bits"].as_u64().expect("bits")).expect("few");
    assert_eq!(challenge["algorithm"], "sha-256");
    let mut nonces = 0..u64::MAX;
    let nonce = nonces.find(|nonce| {
        let digest = hash(format!("{text}:{nonce}").as_bytes()).0;
        let first = digest[..8]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        first.leading_zeros() >= bits
    });
    json!({ "challenge": text, "nonce": nonce.expect("found").to_string() })
}

#[test]
fn where_work_is_asked_for_each_proof_is_good_for_one_mailbox() {
    let (mut settings, key) = with_plan(Plan::default());
    settings.http.proof_of_work_bits = 10;
    let house = House::with(settings);
    let info = send(house.public, "GET", "/api/v1/info", &[], "").json();
    assert_eq!(info["proof_of_work_bits"], 10);
    let missing = create(&house, &[], &json!({}));
    assert_eq!(
        (missing.status, missing.code().as_str()),
        (403, "proof-required")
    );
    assert_eq!(missing.json()["challenge"], "/api/v1/challenges");
    let challenge = || {
        let answer = send(house.public, "POST", "/api/v1/challenges", &[], "");
        assert_eq!(answer.status, 200);
        answer.json()
    };
    let given = challenge();
    assert_eq!(
        (&given["bits"], &given["expires_in"]),
        (&json!(10), &json!(300))
    );
    let proof = solve(&given);
    let made = create(&house, &[], &json!({ "proof": proof }));
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        create(&house, &[], &json!({ "proof": proof })).code(),
        "proof-required"
    );

    // What is wrong with the request is told before work is asked for, and costs none.
    let proof = solve(&challenge());
    let reserved = json!({ "proof": proof, "local_part": "postmaster" });
    assert_eq!(create(&house, &[], &reserved).code(), "bad-field");
    let chosen = json!({ "proof": proof, "local_part": "mine" });
    assert_eq!(create(&house, &[], &chosen).status, 201);
    let taken = json!({ "proof": solve(&challenge()), "local_part": "mine" });
    assert_eq!(create(&house, &[], &taken).code(), "taken");
    assert_eq!(
        create(&house, &[], &taken).code(),
        "proof-required",
        "to ask costs as well"
    );

    for proof in [
        json!({ "challenge": "mfc_aaaa", "nonce": "1" }),
        json!({ "challenge": challenge()["challenge"], "nonce": "" }),
        json!({ "challenge": proof["challenge"], "nonce": proof["challenge"] }),
    ] {
        assert_eq!(
            create(&house, &[], &json!({ "proof": proof })).code(),
            "proof-required"
        );
    }
    for proof in [
        json!("x"),
        json!({}),
        json!({ "challenge": 1, "nonce": "1" }),
        json!({ "challenge": "a", "nonce": "b", "more": "c" }),
    ] {
        let answer = create(&house, &[], &json!({ "proof": proof }));
        assert_eq!(
            (answer.code().as_str(), &answer.json()["field"]),
            ("bad-field", &json!("proof"))
        );
    }
    let with_key = create(&house, &[&bearer(key.reveal())], &json!({}));
    assert_eq!(with_key.status, 201, "a key is proof enough");
    assert_eq!(refused(&house, CreationRefused::Proof), 6);
}

#[test]
fn where_no_work_is_asked_for_a_proof_does_no_harm() {
    let house = House::new();
    let given = send(house.public, "POST", "/api/v1/challenges", &[], "").json();
    assert_eq!(given["bits"], 0);
    let made = create(&house, &[], &json!({ "proof": solve(&given) }));
    assert_eq!(made.status, 201);
}
