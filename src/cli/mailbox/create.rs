//! `mayfly mailbox new`.

use super::access::{Connection, shown};
use super::span;
use crate::cli::http::{Call, Client};
use crate::cli::output::{print_data, tell};
use crate::cli::secret::Secret;
use crate::cli::state::{State, Taken};
use crate::cli::{Exit, Failure, harmless, work};
use axum::http::Method;
use clap::Args;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How often another challenge is asked for when one did not count.
const PROOFS_MAX: u32 = 3;

/// The most work that is done for a mailbox, in zero bits: some minutes on one CPU.
const BITS_MAX: u32 = 28;

/// What the mailbox shall be like.
#[derive(Args, Debug)]
pub(super) struct NewArguments {
    /// What stands before the @; made up unless given.
    #[arg(long, value_name = "LOCAL-PART")]
    name: Option<String>,
    /// One of the server's domains; its first unless given.
    #[arg(long)]
    domain: Option<String>,
    /// How long it shall live: 30m, 2h. The server may grant less.
    #[arg(long, value_parser = span)]
    ttl: Option<Duration>,
    /// How many messages it shall take, and then no more.
    #[arg(long, value_name = "NUMBER")]
    messages: Option<u32>,
    /// An age recipient (age1...): all mail is stored encrypted to it.
    #[arg(long, value_name = "RECIPIENT")]
    encrypt_to: Option<String>,
}

impl NewArguments {
    fn body(&self) -> Map<String, Value> {
        let fields = [
            ("local_part", self.name.as_ref().map(|name| json!(name))),
            ("domain", self.domain.as_ref().map(|domain| json!(domain))),
            ("ttl", self.ttl.map(|ttl| json!(ttl.as_secs()))),
            ("messages_max", self.messages.map(|most| json!(most))),
            (
                "encryption_key",
                self.encrypt_to.as_ref().map(|key| json!(key)),
            ),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Creates a mailbox and keeps its token.
pub(super) fn run(connection: &Connection, arguments: &NewArguments) -> Result<(), Failure> {
    let client = connection.client()?;
    let key = Secret::of_variable("MAYFLY_KEY")?;
    let place = connection.place().ok_or_else(|| {
        Failure::usage("there is no place for the mailbox's token")
            .because("neither XDG_STATE_HOME nor HOME is set")
            .fix("name a file with --state or MAYFLY_STATE")
    })?;
    // A mailbox whose token cannot be kept would be lost as soon as it is there.
    let draft = place.prepare()?;
    let created = create(&client, key.as_ref(), arguments.body())?;
    let text = |name: &str| created[name].as_str().unwrap_or_default().to_owned();
    let state = State {
        server: client.base().to_string(),
        address: text("address"),
        token: text("token"),
        recovery: text("recovery"),
        expires_at: text("expires_at"),
        taken: Taken::default(),
    };
    if state.address.is_empty() || state.token.is_empty() {
        let what = "the server's answer has no address or no token in it";
        return Err(Failure::new(Exit::Failure, "not-mayfly", what));
    }
    draft.keep(&state)?;
    if connection.json {
        return print_data((harmless::json(&created) + "\n").as_bytes());
    }
    print_data(format!("{}\n", harmless::line(&state.address)).as_bytes())?;
    tell(format_args!(
        "until {}; its token is in {}",
        harmless::line(&state.expires_at),
        shown(place.path())
    ));
    Ok(())
}

/// Creates a mailbox; shows some work first if the server asks for it.
fn create(
    client: &Client,
    key: Option<&Secret>,
    mut fields: Map<String, Value>,
) -> Result<Value, Failure> {
    let mut proofs = 0;
    loop {
        let call = Call {
            body: Some(Value::Object(fields.clone())),
            ..Call::new(Method::POST, "/api/v1/mailboxes", key)
        };
        match client.json(&call) {
            Err(why) if why.code == "proof-required" && proofs < PROOFS_MAX => {
                proofs += 1;
                fields.insert("proof".to_owned(), proof(client)?);
            }
            answered => return answered,
        }
    }
}

/// Does the work that the server asks for.
fn proof(client: &Client) -> Result<Value, Failure> {
    let asked = client.json(&Call::new(Method::POST, "/api/v1/challenges", None))?;
    let challenge = asked["challenge"].as_str().unwrap_or_default();
    let number = |name: &str| asked[name].as_u64().unwrap_or(0);
    let bits = u32::try_from(number("bits")).unwrap_or(u32::MAX);
    let too_much = |what: String| {
        Failure::new(Exit::Failure, "proof-required", what)
            .because("it asks for work before it creates a mailbox")
            .fix("show a key of the operator's (MAYFLY_KEY): then no work is asked for")
    };
    if bits > BITS_MAX {
        let what = format!("the server asks for more work than is done here ({bits} bits)");
        return Err(too_much(what));
    }
    tell(format_args!("working for the server: {bits} bits"));
    let time = Duration::from_secs(number("expires_in"));
    match work::solve(challenge, bits, time) {
        Some(nonce) => Ok(json!({ "challenge": challenge, "nonce": nonce })),
        None => Err(too_much(format!(
            "{bits} bits of work were not done in {} s",
            time.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_is_sent() {
        let mut arguments = NewArguments {
            name: None,
            domain: None,
            ttl: None,
            messages: None,
            encrypt_to: None,
        };
        assert_eq!(arguments.body(), Map::new());
        arguments.ttl = Some(Duration::from_secs(90));
        arguments.name = Some("demo".to_owned());
        let body = Value::Object(arguments.body());
        assert_eq!(body, json!({ "local_part": "demo", "ttl": 90 }));
    }
}
