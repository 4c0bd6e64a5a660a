//! `mayfly mailbox list`.

use super::access::{Connection, Mailbox};
use super::message;
use crate::cli::Failure;
use crate::cli::harmless;
use crate::cli::output::{Terminal, print_data, tell};
use serde_json::{Value, json};

/// The most pages that are asked for: a thousand messages for each of a hundred and more than any mailbox holds.
const PAGES_MAX: usize = 10_000;

/// Lists every message, oldest first.
pub(super) fn run(connection: &Connection) -> Result<(), Failure> {
    let mailbox = connection.mailbox()?;
    let (messages, cursor) = all(&mailbox)?;
    if connection.json {
        let list = json!({ "messages": messages, "cursor": cursor });
        return print_data((harmless::json(&list) + "\n").as_bytes());
    }
    if messages.is_empty() {
        tell("the mailbox is empty");
    }
    let terminal = Terminal::of_stdout();
    let lines: Vec<String> = messages
        .iter()
        .map(|message| message::in_one_line(message, terminal) + "\n")
        .collect();
    print_data(lines.concat().as_bytes())
}

/// Every message, and the cursor behind the last.
pub(super) fn all(mailbox: &Mailbox) -> Result<(Vec<Value>, String), Failure> {
    let mut messages = Vec::new();
    let mut cursor = "0".to_owned();
    for _ in 0..PAGES_MAX {
        let mut page = mailbox.get(&format!("/api/v1/messages?cursor={cursor}"))?;
        let found = page["messages"]
            .as_array_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        if let Some(next) = page["cursor"].as_str() {
            next.clone_into(&mut cursor);
        }
        if found.is_empty() {
            break;
        }
        messages.extend(found);
    }
    Ok((messages, cursor))
}
