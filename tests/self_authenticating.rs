//! Addresses that prove themselves, over real sockets: guesses are refused where they come in, in the words for any
//! mailbox that is not there.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Gateway, Ports, request};
use mayfly::edge::address_keys;
use mayfly::policy::self_authenticating::{Keys, mint};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

const DOMAIN: &str = "mayfly.test";
const UNKNOWN: &str = "550 5.1.1 No such mailbox here\r\n";
const ACCEPTED: &str = "250 2.1.5 Ok\r\n";

/// A file with a secret, gone at the end.
struct Secret(PathBuf);

impl Secret {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mayfly-{name}-{}", std::process::id()));
        std::fs::write(&path, text).expect("written");
        Self(path)
    }

    fn keys(&self) -> Keys {
        address_keys::load(std::slice::from_ref(&self.0), None).expect("sound")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn settings(mode: &str, accept: &str, secret: &Secret) -> String {
    format!(
        "[recipients]\nself_authenticating = \"{mode}\"\naccept = \"{accept}\"\nself_authenticating_keys = [{:?}]\n",
        secret.0
    )
}

/// A local part that is good for a few minutes, or was.
fn minted(keys: &Keys, nonce: u64, minutes: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
    mint(
        keys,
        DOMAIN,
        nonce,
        now.as_secs().saturating_add_signed(60 * minutes),
    )
}

/// The same with its last letter changed.
fn forged(local: &str) -> String {
    let other = if local.ends_with('a') { "b" } else { "a" };
    format!("{}{other}", &local[..local.len() - 1])
}

/// The replies to these recipients.
fn replies(client: &mut Client, locals: &[&str]) -> Vec<String> {
    client.ask("MAIL FROM:<>", "250");
    let replies = locals.iter().map(|local| {
        client.say(&format!("RCPT TO:<{local}@{DOMAIN}>"));
        client.reply()
    });
    let replies = replies.collect();
    client.ask("RSET", "250");
    replies
}

fn greeted(gateway: &Gateway) -> Client {
    let mut client = Client::connect(gateway.smtp);
    client.expect("220");
    client.ask("EHLO client.example", "250");
    client
}

#[test]
fn only_what_was_given_away_gets_mail() {
    let secret = Secret::new("only", "a secret of more than thirty-two bytes\n");
    let gateway = Gateway::start(&settings("only", "any", &secret));
    let keys = secret.keys();
    let [good, late] = [(1, 10), (2, -10)].map(|(nonce, minutes)| minted(&keys, nonce, minutes));
    let mut client = greeted(&gateway);
    let found = replies(
        &mut client,
        &[
            &good,
            &good.to_uppercase(),
            &format!("{good}+shop"),
            "postmaster",
            &late,
            &forged(&good),
            &good[1..],
            "somebody",
        ],
    );
    let (passed, refused) = found.split_at(4);
    assert!(passed.iter().all(|reply| reply == ACCEPTED), "{passed:?}");
    assert!(refused.iter().all(|reply| reply == UNKNOWN), "{refused:?}");
    let here = mayfly::mail::Address::parse(format!("{good}@{DOMAIN}")).expect("an address");
    gateway.deliver(here.as_str(), "Subject: made by mail\r\n\r\nbody\r\n");
    gateway.await_metric("mayfly_store_messages", "", 1);
}

#[test]
fn guesses_are_refused_and_counted_before_anybody_is_asked() {
    let secret = Secret::new("offered", &"k".repeat(64));
    let limits = "[clients]\nexempt = []\nfailed_recipients_per_minute_max = 3\n";
    let gateway = Gateway::start(&(settings("offered", "created", &secret) + limits));
    let genuine = minted(&secret.keys(), 1, 10);
    let (ordinary, _) = gateway.create_with("{\"local_part\":\"somebody\"}");
    assert_eq!(ordinary, format!("somebody@{DOMAIN}"));
    let mut client = greeted(&gateway);
    // Genuine, and nobody has created it; forged; ordinary and there.
    let found = replies(&mut client, &[&genuine, &forged(&genuine), "somebody"]);
    assert_eq!(found, [UNKNOWN, UNKNOWN, ACCEPTED]);
    client.ask("MAIL FROM:<>", "250");
    let mut guesses = (0..10).map(|_| {
        client.say(&format!("RCPT TO:<{}@{DOMAIN}>", forged(&genuine)));
        client.reply()
    });
    let refused = guesses.find(|reply| reply != UNKNOWN);
    let refused = refused.expect("this client guesses too much");
    assert!(
        refused.starts_with("421 4.7.0 Too many unknown recipients"),
        "{refused}"
    );
    assert!(gateway.metric("mayfly_client_limits_hit_total", "failed_recipients") > 0);
}

#[test]
fn a_secret_that_is_none_stops_the_start() {
    let secret = Secret::new("short", "too short");
    let settings = settings("only", "any", &secret);
    let said = Gateway::try_start(Ports::FREE, &settings, &[])
        .err()
        .expect("no start");
    assert!(said.contains("openssl rand -base64 32"), "{said}");
}

#[test]
fn the_api_gives_such_addresses_away_and_holds_to_their_end() {
    let secret = Secret::new("api", &"k".repeat(40));
    let more = "[store]\nmailbox_ttl_max = \"1h\"\n";
    let gateway = Gateway::start(&(settings("offered", "created", &secret) + more));
    let info = gateway.get("/api/v1/info", "").json();
    assert_eq!(info["self_authenticating"], true);
    assert_eq!(info["self_authenticating_only"], false);
    let create = |gateway: &Gateway, fields: &str| gateway.post("/api/v1/mailboxes", fields);
    let made = create(&gateway, "{\"self_authenticating\":true,\"ttl\":\"10m\"}");
    assert_eq!(made.status, 201, "{}", made.text());
    let (address, token) = (made.field("address"), made.field("token"));
    assert_eq!(made.json()["expires_in"], 600);
    gateway.deliver(&address.to_uppercase(), "Subject: s\r\n\r\nbody\r\n");
    assert_eq!(gateway.list(&token).len(), 1);
    // One that was made elsewhere with the same secret, and has five minutes left.
    let local = minted(&secret.keys(), 9, 5);
    let made = create(
        &gateway,
        &format!("{{\"local_part\":\"{local}\",\"ttl\":\"50m\"}}"),
    );
    let granted = made.json()["expires_in"].as_u64().expect("seconds");
    assert!((240..=360).contains(&granted), "{granted}");
    let token = made.field("token");
    let longer = request(
        gateway.http,
        "PATCH",
        "/api/v1/mailbox",
        Some(&token),
        "{\"ttl\":\"50m\"}",
    );
    let granted = longer.json()["expires_in"].as_u64().expect("seconds");
    assert!((240..=360).contains(&granted), "{granted}");
    let forged = forged(&local);
    refused(
        &gateway,
        &format!("{{\"local_part\":\"{forged}\"}}"),
        "local_part",
    );
    let both = "{\"local_part\":\"x\",\"self_authenticating\":true}";
    refused(&gateway, both, "self_authenticating");
}

/// A creation that is refused for one of its fields.
fn refused(gateway: &Gateway, fields: &str, field: &str) {
    let answer = gateway.post("/api/v1/mailboxes", fields);
    let found = (answer.status, answer.field("field"));
    assert_eq!(found, (422, field.to_owned()), "{fields}");
}

#[test]
fn the_mode_is_changed_without_a_restart() {
    let secret = Secret::new("mode", &"m".repeat(40));
    let mut gateway = Gateway::start(&settings("drawn", "created", &secret));
    let is_proof = |address: &str| address.matches('.').count() == 3;
    assert!(is_proof(&gateway.create_with("{}").0));
    assert!(!is_proof(
        &gateway.create_with("{\"self_authenticating\":false}").0
    ));
    assert!(!is_proof(&gateway.create("chosen").0));
    gateway.reload(&settings("only", "created", &secret));
    assert!(gateway.read_until(|line| line.contains("reloaded")));
    refused(
        &gateway,
        "{\"self_authenticating\":false}",
        "self_authenticating",
    );
    refused(&gateway, "{\"local_part\":\"x\"}", "local_part");
    assert!(is_proof(&gateway.create_with("{}").0));
    gateway.reload("");
    assert!(gateway.read_until(|line| line.contains("reloaded")));
    refused(
        &gateway,
        "{\"self_authenticating\":true}",
        "self_authenticating",
    );
    assert!(!is_proof(&gateway.create_with("{}").0));
}
