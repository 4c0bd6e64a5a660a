//! `mayfly mailbox read`.

use super::access::{Connection, Mailbox};
use super::{hand_over, list, message, number};
use crate::cli::http::Call;
use crate::cli::output::{Terminal, written};
use crate::cli::{Exit, Failure, harmless};
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// Which message, and what of it.
#[derive(Args, Debug)]
pub(super) struct ReadArguments {
    /// The message; the newest unless given.
    #[arg(value_parser = number)]
    id: Option<String>,
    #[command(flatten)]
    part: Part,
    /// Writes to this file, which only you can read, instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct Part {
    /// The source, byte for byte.
    #[arg(long)]
    raw: bool,
    /// The text alone.
    #[arg(long)]
    text: bool,
    /// The HTML, sanitised.
    #[arg(long)]
    html: bool,
    /// Every field of the header, decoded.
    #[arg(long)]
    headers: bool,
    /// An attachment, by its number.
    #[arg(long, value_name = "NUMBER")]
    attachment: Option<u32>,
}

/// Where a part is written to as it comes.
#[derive(Debug)]
pub(super) enum Target {
    File(File),
    /// Nobody obeys control characters there.
    Plain,
    /// They must be made harmless.
    Terminal,
}

impl Target {
    fn new(output: Option<&PathBuf>) -> Result<Self, Failure> {
        match output {
            Some(path) => Self::file(path),
            None if Terminal::of_stdout().is_terminal => Ok(Self::Terminal),
            None => Ok(Self::Plain),
        }
    }

    /// A file that nobody else may read, unless it is there already.
    pub(super) fn file(path: &PathBuf) -> Result<Self, Failure> {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path);
        opened.map(Self::File).map_err(|why| {
            let what = format!("cannot write {}: {why}", path.display());
            Failure::new(Exit::Failure, "unwritten", what)
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::File(file) => written(file.write_all(bytes)),
            Self::Plain | Self::Terminal => {
                let mut out = io::stdout().lock();
                written(out.write_all(bytes).and_then(|()| out.flush()))
            }
        }
    }
}

/// Shows a message, or hands out a part of it.
pub(super) fn run(connection: &Connection, arguments: &ReadArguments) -> Result<(), Failure> {
    let mailbox = connection.mailbox()?;
    let id = match &arguments.id {
        Some(id) => id.clone(),
        None => newest(&mailbox)?,
    };
    let base = format!("/api/v1/messages/{id}");
    let output = arguments.output.as_ref();
    let Part {
        raw,
        text,
        html,
        headers,
        attachment,
    } = arguments.part;
    if raw {
        return stream(&mailbox, &format!("{base}/raw"), Target::new(output)?);
    }
    if text {
        return stream(&mailbox, &format!("{base}/text"), Target::new(output)?);
    }
    if html {
        return stream(&mailbox, &format!("{base}/html"), Target::new(output)?);
    }
    if let Some(index) = attachment {
        let target = Target::new(output)?;
        if matches!(target, Target::Terminal) {
            return Err(Failure::usage("an attachment is not for a terminal").fix("--output FILE"));
        }
        return stream(&mailbox, &format!("{base}/attachments/{index}"), target);
    }
    let path = if headers {
        format!("{base}/headers")
    } else {
        base
    };
    let answer = mailbox.get(&path)?;
    let shown = match (connection.json, headers) {
        (true, _) => harmless::json(&answer) + "\n",
        (false, true) => fields(&answer),
        (false, false) => message::page(&answer, Terminal::of_stdout()),
    };
    hand_over(shown.as_bytes(), output)
}

fn newest(mailbox: &Mailbox) -> Result<String, Failure> {
    let (messages, _) = list::all(mailbox)?;
    let newest = messages.last().and_then(|message| message["id"].as_str());
    newest.map(str::to_owned).ok_or_else(|| {
        Failure::new(Exit::NotFound, "no-such-message", "the mailbox is empty")
            .fix("mayfly mailbox wait --message")
    })
}

/// Hands a part on. A terminal gets it when it is whole, so that no character is cut in two.
fn stream(mailbox: &Mailbox, path: &str, mut target: Target) -> Result<(), Failure> {
    let call = Call::get(path, Some(&mailbox.token));
    if let Target::Terminal = target {
        let bytes = mailbox.client.bytes(&call)?;
        let text = String::from_utf8_lossy(&bytes);
        return target.write(harmless::lines(&text).as_bytes());
    }
    mailbox
        .client
        .open(&call)?
        .each(|bytes| target.write(bytes))
}

/// Every field of a header, one to a line.
fn fields(answer: &Value) -> String {
    let mut shown = String::new();
    for field in answer["headers"].as_array().into_iter().flatten() {
        let [name, value] = ["name", "value"].map(|part| field[part].as_str().unwrap_or_default());
        let _ = writeln!(shown, "{}: {}", harmless::line(name), harmless::line(value));
    }
    shown
}
