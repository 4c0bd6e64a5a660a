//! `mayfly mailbox watch`: what happens to a mailbox, as it happens.

use super::access::{Connection, Mailbox};
use super::{message, number, span};
use crate::cli::http::Call;
use crate::cli::output::{Ink, Terminal, print_data, tell};
use crate::cli::sse::{Event, Reader};
use crate::cli::{Exit, Failure, harmless};
use clap::Args;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A stream that says nothing for so long is dead: mayfly shows a sign of life every few seconds (`http.heartbeat`).
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// The longest wait before coming back.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// From when on, and how patient.
#[derive(Args, Debug)]
pub(super) struct WatchArguments {
    /// Begins after this message or event (0: with all that the mailbox holds); with what comes from now on unless given.
    #[arg(long, value_name = "ID", value_parser = number)]
    since: Option<String>,
    /// Ends after so many events.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How long a server that cannot be reached is tried again.
    #[arg(long, value_parser = span, default_value = "5m")]
    give_up_after: Duration,
}

/// Shows events until the mailbox is gone.
pub(super) fn run(connection: &Connection, arguments: &WatchArguments) -> Result<(), Failure> {
    let mailbox = connection.mailbox()?;
    let answer = mailbox.get("/api/v1/mailbox")?;
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    let since = arguments.since.clone();
    let mut reader = Reader::from(since.unwrap_or_else(|| text("cursor").to_owned()));
    if !connection.json {
        tell(format_args!(
            "watching {} until {}; Ctrl-C ends it",
            harmless::line(text("address")),
            harmless::line(text("expires_at"))
        ));
    }
    let mut screen = Screen {
        json: connection.json,
        terminal: Terminal::of_stdout(),
        left: arguments.count.unwrap_or(u64::MAX),
    };
    let mut lost: Option<(Instant, u32)> = None;
    loop {
        match follow(&mailbox, &mut reader, &mut screen, &mut lost) {
            Ok(Over::All) => return Ok(()),
            Ok(Over::Broken) => {}
            Err(why) if why.code == "unreachable" => {
                let (since, _) = lost.get_or_insert_with(|| (Instant::now(), 0));
                if since.elapsed() >= arguments.give_up_after {
                    return Err(why);
                }
            }
            Err(why) => return Err(why),
        }
        reader.reconnect();
        let (_, times) = lost.get_or_insert_with(|| (Instant::now(), 0));
        let pause = backoff(*times, reader.retry);
        *times = times.saturating_add(1);
        tell(format_args!(
            "the stream broke off; on again in {} s",
            pause.as_secs_f32().ceil()
        ));
        mailbox.client.pause(pause);
    }
}

/// How long to wait before the next attempt: what the server asked for, twice as long each time.
fn backoff(times: u32, retry: Option<Duration>) -> Duration {
    let first = retry
        .unwrap_or(Duration::from_secs(1))
        .max(Duration::from_millis(100));
    first.saturating_mul(1 << times.min(10)).min(PAUSE_MAX)
}

/// How a stream ended.
enum Over {
    /// The mailbox is gone, or as many events as were asked for have come.
    All,
    /// The connection is.
    Broken,
}

/// Shows what one stream says, to its end.
fn follow(
    mailbox: &Mailbox,
    reader: &mut Reader,
    screen: &mut Screen,
    lost: &mut Option<(Instant, u32)>,
) -> Result<Over, Failure> {
    let last_id = reader.last_id.clone();
    let call = Call {
        last_event_id: last_id.as_deref(),
        ..Call::get("/api/v1/events", Some(&mailbox.token))
    };
    let mut stream = mailbox.client.open(&call)?;
    // It was silent, or it ended: either way it is opened anew.
    while let Ok(Some(bytes)) = stream.next(SILENCE_MAX) {
        *lost = None;
        let events = reader.take(&bytes).map_err(|why| {
            Failure::new(
                Exit::Failure,
                "not-mayfly",
                format!("this is no stream of events: {}", why.0),
            )
        })?;
        for event in events {
            screen.show(&event)?;
            screen.left -= 1;
            if event.name == "closed" || screen.left == 0 {
                return Ok(Over::All);
            }
        }
    }
    Ok(Over::Broken)
}

/// How events are shown.
#[derive(Clone, Copy)]
struct Screen {
    json: bool,
    terminal: Terminal,
    /// How many more events are shown.
    left: u64,
}

impl Screen {
    fn show(self, event: &Event) -> Result<(), Failure> {
        let line = match self.json {
            true => as_json(event),
            false => self.in_words(event),
        };
        print_data(format!("{line}\n").as_bytes())
    }

    fn in_words(self, event: &Event) -> String {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let text = |name: &str| data[name].as_str().map(harmless::line).unwrap_or_default();
        let note = |text: String| self.terminal.paint(Ink::Dim, &text);
        match event.name.as_str() {
            "message" => message::in_one_line(&data, self.terminal),
            "removed" => note(format!("{:>4}  is gone", text("id"))),
            "expires-soon" => note(format!("      the mailbox ends at {}", text("expires_at"))),
            "closed" => note("      the mailbox is gone, or has a new token".to_owned()),
            "reset" => note(
                "      not all that was missed is known any more: mayfly mailbox list".to_owned(),
            ),
            other => note(format!("      {}", harmless::line(other))),
        }
    }
}

/// One event as one line of JSON.
fn as_json(event: &Event) -> String {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    harmless::json(&json!({ "event": event.name, "id": event.id, "data": data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_in_vain_waits_longer_each_time() {
        let secs = Duration::from_secs;
        let waits: Vec<_> = (0..6).map(|times| backoff(times, Some(secs(3)))).collect();
        assert_eq!(waits, [3, 6, 12, 24, 30, 30].map(secs));
        assert_eq!(backoff(0, None), secs(1));
        assert_eq!(backoff(u32::MAX, Some(Duration::ZERO)), secs(30));
    }

    #[test]
    fn events_are_words_for_people_and_lines_for_programs() {
        let screen = Screen {
            json: false,
            terminal: Terminal {
                is_terminal: true,
                colours: false,
            },
            left: 1,
        };
        let event = |name: &str, data: &str| Event {
            name: name.to_owned(),
            data: data.to_owned(),
            id: Some("2".to_owned()),
        };
        let table = [
            ("removed", "{\"id\":\"1\"}", "   1  is gone"),
            (
                "closed",
                "{}",
                "      the mailbox is gone, or has a new token",
            ),
            ("\u{1b}[2J", "{}", "      \u{fffd}[2J"),
        ];
        for (name, data, words) in table {
            assert_eq!(screen.in_words(&event(name, data)), words);
        }
        let line = as_json(&event("removed", "{\"id\":\"1\"}"));
        assert_eq!(line, r#"{"data":{"id":"1"},"event":"removed","id":"2"}"#);
    }
}
