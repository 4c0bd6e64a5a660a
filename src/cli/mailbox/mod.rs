//! `mayfly mailbox`: a client of any mayfly, for people and for scripts.

mod access;
mod create;
mod list;
mod message;
mod read;
mod wait;
mod watch;

use super::output::{ended, print_data};
use super::{Exit, Failure};
use access::Connection;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
  CODE=$(mayfly mailbox new >/dev/null && sign-up && mayfly mailbox wait --code)

`new` keeps the token of its mailbox in a file that only you can read: --state, MAYFLY_STATE, or
mayfly/mailbox.json below XDG_STATE_HOME (~/.local/state). The other commands are about the mailbox of that
file, unless MAYFLY_TOKEN or --token-file gives the token of another. Tests that run at the same time
need a file each.

MAYFLY_SERVER  the server, http://127.0.0.1:8025 unless given
MAYFLY_TOKEN   the token of a mailbox
MAYFLY_KEY     a key of the operator's, for `new`
MAYFLY_STATE   where the last mailbox is kept

Exit codes: 0 all went well, 1 failure, 2 wrong arguments, 3 no such mailbox, message or part (or not any more),
4 nothing came in time.";

/// The arguments of `mayfly mailbox`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct MailboxArguments {
    /// What is to be done.
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Creates a mailbox, prints its address and keeps its token.
    New(create::NewArguments),
    /// Shows what happens to the mailbox as it happens, until it is gone.
    Watch(watch::WatchArguments),
    /// Waits for a message and prints its code, its link or its id, and nothing else.
    Wait(wait::WaitArguments),
    /// Shows a message.
    Read(read::ReadArguments),
    /// Lists the messages.
    List,
    /// Deletes a message, or erases the mailbox with all its mail.
    Delete {
        /// The message; without one the whole mailbox goes.
        id: Option<String>,
    },
}

/// Does what the arguments say.
#[must_use]
pub fn run(arguments: &MailboxArguments) -> Exit {
    let MailboxArguments { what, connection } = arguments;
    let done = match what {
        What::New(arguments) => create::run(connection, arguments),
        What::Watch(arguments) => watch::run(connection, arguments),
        What::Wait(arguments) => wait::run(connection, arguments),
        What::Read(arguments) => read::run(connection, arguments),
        What::List => list::run(connection),
        What::Delete { id } => access::delete(connection, id.as_deref()),
    };
    ended(done.map(|()| Exit::Fine), connection.json)
}

/// The longest time that can be given: a year. Times are added to a clock, which has an end.
const SPAN_MAX: Duration = Duration::from_secs(366 * 86_400);

/// A length of time: `90s`, `5m`, or a number of seconds.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let span = match text.parse() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => humantime::parse_duration(text)
            .map_err(|why| format!("{why}; write it like 90s or 5m"))?,
    };
    match span <= SPAN_MAX {
        true => Ok(span),
        false => Err("a year is the most".to_owned()),
    }
}

/// The number of a message or an event, as it stands in a path: digits and nothing else.
fn number(text: &str) -> Result<String, String> {
    match text.parse::<u64>() {
        Ok(number) => Ok(number.to_string()),
        Err(_) => Err("ids are numbers; `mayfly mailbox list` shows them".to_owned()),
    }
}

/// Where data goes: a file that only its owner may read, or stdout.
fn hand_over(data: &[u8], file: Option<&PathBuf>) -> Result<(), Failure> {
    match file {
        Some(path) => read::Target::file(path)?.write(data),
        None => print_data(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_the_settings_and_ids_are_numbers() {
        assert_eq!(span("90"), Ok(Duration::from_secs(90)));
        assert_eq!(span("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(span("18446744073709551615").is_err());
        assert!(span("soon").is_err_and(|why| why.contains("90s")));
        assert_eq!(number("07"), Ok("7".to_owned()));
        for wrong in ["", "-1", "../mailbox", "1?x", "99999999999999999999999"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
