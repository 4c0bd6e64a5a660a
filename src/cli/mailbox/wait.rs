//! `mayfly mailbox wait`: for a test that needs a code, and nothing but the code.

use super::access::{Connection, Mailbox};
use super::{message, number, span};
use crate::cli::output::print_data;
use crate::cli::state::Taken;
use crate::cli::{Exit, Failure, harmless};
use clap::Args;
use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, Instant};

/// How long one call waits at most. Proxies give up on calls that last.
const CALL: Duration = Duration::from_secs(25);

/// How long to wait before a server that was there, and is not now, is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// For what, from whom, since when and how long.
#[derive(Args, Debug)]
pub(super) struct WaitArguments {
    #[command(flatten)]
    want: Want,
    /// Gives up after this time, with exit code 4.
    #[arg(long, value_parser = span, default_value = "60s")]
    timeout: Duration,
    /// Only messages whose sender has this in their name or address, in any case.
    #[arg(long, value_name = "TEXT")]
    from: Option<String>,
    /// Only messages with this in their subject, in any case.
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Only messages that came after this one: an id, the cursor of a list, `start` or `now`. Unless given: after the last one
    /// that was handed out for the same (a code, a link, itself) from the mailbox that is kept; from the start of any other.
    #[arg(long, value_name = "ID", value_parser = since)]
    since: Option<Since>,
}

#[derive(Args, Clone, Copy, Debug)]
#[group(multiple = false)]
struct Want {
    /// For a one-time code: prints it.
    #[arg(long)]
    code: bool,
    /// For a verification link: prints it.
    #[arg(long)]
    link: bool,
    /// For any message: prints its id (the default).
    #[arg(long)]
    message: bool,
}

/// What is wanted of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Code,
    Link,
    Message,
}

/// After which message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Since {
    Now,
    Id(String),
}

fn since(text: &str) -> Result<Since, String> {
    match text {
        "now" => Ok(Since::Now),
        "start" => Ok(Since::Id("0".to_owned())),
        text => number(text)
            .map(Since::Id)
            .map_err(|_| "an id, the cursor of a list, start or now".to_owned()),
    }
}

impl Kind {
    const fn of(want: Want) -> Self {
        match want {
            Want { code: true, .. } => Self::Code,
            Want { link: true, .. } => Self::Link,
            _ => Self::Message,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Link => "link",
            Self::Message => "message",
        }
    }

    /// What a message has of it.
    fn of_message(self, found: &Value) -> Option<&str> {
        match self {
            Self::Code => message::surest(found, "codes", "code"),
            Self::Link => message::surest(found, "links", "url"),
            Self::Message => found["id"].as_str(),
        }
    }

    /// Whether nobody has looked for it in this message as a list shows it.
    fn is_unknown(self, found: &Value) -> bool {
        let list = match self {
            Self::Code => "codes",
            Self::Link => "links",
            Self::Message => return false,
        };
        found[list].is_null() && found["encrypted"] != true
    }

    fn place(self, taken: &mut Taken) -> &mut Option<String> {
        match self {
            Self::Code => &mut taken.code,
            Self::Link => &mut taken.link,
            Self::Message => &mut taken.message,
        }
    }
}

/// What came and was not what was wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Passed {
    others: u32,
    without: u32,
    encrypted: u32,
}

impl Passed {
    /// What is known of those that came.
    fn describe(self, kind: Kind) -> String {
        let mut parts = Vec::new();
        let mut part = |count: u32, what: fmt::Arguments<'_>| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        part(
            self.others,
            format_args!("from others or about something else"),
        );
        part(self.without, format_args!("without a {}", kind.word()));
        part(
            self.encrypted,
            format_args!("encrypted, so that nobody could look"),
        );
        match parts.is_empty() {
            true => "no message came".to_owned(),
            false => format!("messages came: {}", parts.join(", ")),
        }
    }
}

impl WaitArguments {
    /// Whether a message is from whom and about what was asked for.
    fn fits(&self, found: &Value) -> bool {
        let has = |text: &Value, part: &str| {
            let text = text.as_str().unwrap_or_default().to_lowercase();
            text.contains(&part.to_lowercase())
        };
        let from = &found["from"];
        self.from
            .as_ref()
            .is_none_or(|part| has(&from["name"], part) || has(&from["address"], part))
            && self
                .subject
                .as_ref()
                .is_none_or(|part| has(&found["subject"], part))
    }
}

/// Waits for a message and prints what is wanted of it.
pub(super) fn run(connection: &Connection, arguments: &WaitArguments) -> Result<(), Failure> {
    let began = Instant::now();
    let mut mailbox = connection.mailbox()?;
    mailbox.client = mailbox.client.patient_for(arguments.timeout);
    let kind = Kind::of(arguments.want);
    let mut waiting = Waiting {
        cursor: baseline(&mailbox, arguments, kind)?,
        passed: Passed::default(),
        deadline: began + arguments.timeout,
        was_there: false,
    };
    let (found, value) = waiting.find(&mailbox, arguments, kind)?;
    let id = found["id"].as_str().map(str::to_owned);
    mailbox.note(|state| *kind.place(&mut state.taken) = id)?;
    let printed = match connection.json {
        true => harmless::json(&json!({ "kind": kind.word(), "value": value, "message": found })),
        false => harmless::line(&value).into_owned(),
    };
    print_data(format!("{printed}\n").as_bytes())
}

/// The message after which the wait begins.
fn baseline(mailbox: &Mailbox, arguments: &WaitArguments, kind: Kind) -> Result<String, Failure> {
    let kept = || {
        let (_, state) = mailbox.kept.as_ref()?;
        kind.place(&mut state.taken.clone()).clone()
    };
    match &arguments.since {
        Some(Since::Id(id)) => Ok(id.clone()),
        Some(Since::Now) => {
            let answer = mailbox.get("/api/v1/mailbox")?;
            Ok(answer["cursor"].as_str().unwrap_or("0").to_owned())
        }
        None => Ok(kept().unwrap_or_else(|| "0".to_owned())),
    }
}

struct Waiting {
    cursor: String,
    passed: Passed,
    deadline: Instant,
    /// Whether the server has answered before.
    was_there: bool,
}

impl Waiting {
    /// The first message that has what is wanted, and that.
    fn find(
        &mut self,
        mailbox: &Mailbox,
        arguments: &WaitArguments,
        kind: Kind,
    ) -> Result<(Value, String), Failure> {
        loop {
            let page = self.next_page(mailbox)?;
            let is_empty = page.is_empty();
            for found in page {
                if let Some(value) = self.judge(mailbox, arguments, kind, &found)? {
                    return Ok((found, value));
                }
            }
            // What is there already is looked through, however little time there is.
            if is_empty && Instant::now() >= self.deadline {
                let what = format!(
                    "no {} in {}",
                    kind.word(),
                    humantime::format_duration(arguments.timeout)
                );
                return Err(Failure::new(Exit::TimedOut, "timed-out", what)
                    .because(self.passed.describe(kind))
                    .fix("a longer --timeout; `mayfly mailbox list` shows what there is"));
            }
        }
    }

    /// What is there, or comes within the time that is left.
    fn next_page(&mut self, mailbox: &Mailbox) -> Result<Vec<Value>, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let wait = left.min(CALL);
        // The server takes whole seconds.
        let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let path = format!("/api/v1/messages?cursor={}&wait={secs}s", self.cursor);
        let call = crate::cli::http::Call {
            wait,
            ..crate::cli::http::Call::get(&path, Some(&mailbox.token))
        };
        let mut page = match mailbox.client.json(&call) {
            // It may be on its way back, or something between us is.
            Err(why) if why.code == "unreachable" && self.was_there && left > PAUSE => {
                mailbox.client.pause(PAUSE);
                return Ok(Vec::new());
            }
            answered => answered?,
        };
        self.was_there = true;
        if let Some(cursor) = page["cursor"].as_str() {
            cursor.clone_into(&mut self.cursor);
        }
        Ok(page["messages"]
            .as_array_mut()
            .map(std::mem::take)
            .unwrap_or_default())
    }

    /// What is wanted, if this message has it.
    fn judge(
        &mut self,
        mailbox: &Mailbox,
        arguments: &WaitArguments,
        kind: Kind,
        found: &Value,
    ) -> Result<Option<String>, Failure> {
        if !arguments.fits(found) {
            self.passed.others += 1;
            return Ok(None);
        }
        let whole = match (kind.is_unknown(found), found["id"].as_str()) {
            // Lists do not look into everything; the message itself always tells.
            (true, Some(id)) => match mailbox.get(&format!("/api/v1/messages/{id}")) {
                // It is gone, or cannot be taken apart.
                Err(why) if ["no-such-message", "unreadable"].contains(&why.code.as_str()) => None,
                answered => Some(answered?),
            },
            _ => None,
        };
        let value = kind.of_message(whole.as_ref().unwrap_or(found));
        if value.is_none() {
            match found["encrypted"] == true {
                true => self.passed.encrypted += 1,
                false => self.passed.without += 1,
            }
        }
        Ok(value.map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(from: Option<&str>, subject: Option<&str>) -> WaitArguments {
        WaitArguments {
            want: Want {
                code: true,
                link: false,
                message: false,
            },
            timeout: Duration::ZERO,
            from: from.map(str::to_owned),
            subject: subject.map(str::to_owned),
            since: None,
        }
    }

    #[test]
    fn filters_go_by_sender_and_subject_in_any_case() {
        let found = json!({ "from": { "name": "Harbour", "address": "hello@harbour.test" }, "subject": "Your Ünique code" });
        for (from, subject, fits) in [
            (None, None, true),
            (Some("HELLO@"), None, true),
            (Some("harbour"), Some("üNIQUE"), true),
            (Some("elsewhere"), None, false),
            (None, Some("invoice"), false),
            (Some("harbour"), Some("invoice"), false),
        ] {
            assert_eq!(
                arguments(from, subject).fits(&found),
                fits,
                "{from:?} {subject:?}"
            );
        }
        let bare = json!({ "from": null, "subject": null });
        assert!(arguments(None, None).fits(&bare) && !arguments(Some("a"), None).fits(&bare));
    }

    #[test]
    fn what_nobody_looked_for_is_looked_for() {
        let table = [
            (json!({ "codes": null, "encrypted": false }), true),
            (json!({ "codes": null, "encrypted": true }), false),
            (json!({ "codes": [], "encrypted": false }), false),
        ];
        for (found, unknown) in table {
            assert_eq!(Kind::Code.is_unknown(&found), unknown, "{found}");
            assert!(!Kind::Message.is_unknown(&found));
        }
    }

    #[test]
    fn a_baseline_is_an_id_or_a_word() {
        assert_eq!(since("now"), Ok(Since::Now));
        assert_eq!(since("start"), Ok(Since::Id("0".to_owned())));
        assert_eq!(since("12"), Ok(Since::Id("12".to_owned())));
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn who_waited_in_vain_is_told_what_came_instead() {
        let nothing = Passed::default();
        assert_eq!(nothing.describe(Kind::Code), "no message came");
        let some = Passed {
            others: 2,
            without: 1,
            encrypted: 0,
        };
        assert_eq!(
            some.describe(Kind::Code),
            "messages came: 2 from others or about something else, 1 without a code"
        );
    }
}
