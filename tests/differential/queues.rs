//! What a server has accepted: read where it keeps it, never from what it said.

use super::gateway::{Gateway, request};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A message for one recipient, as its envelope has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Envelope {
    pub(crate) sender: String,
    pub(crate) recipient: String,
}

/// Where a server keeps its mail.
pub(crate) enum Queue {
    Mayfly(Box<Gateway>, Vec<String>),
    /// One file for each message, made of records.
    Postfix(Files),
    /// Two files for each message; the one that ends in `-H` has the envelope.
    Exim(Files),
    /// A folder for each message and in it a file for each recipient.
    OpenSmtpd(Files),
}

/// The files of a queue below a folder.
pub(crate) struct Files {
    folder: PathBuf,
    known: BTreeSet<PathBuf>,
}

impl Files {
    pub(crate) fn below(folder: PathBuf) -> Self {
        let mut files = Self {
            folder,
            known: BTreeSet::new(),
        };
        files.fresh();
        files
    }

    /// The files that have come since the last time.
    fn fresh(&mut self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.folder, &mut found);
        found.retain(|path| self.known.insert(path.clone()));
        found
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

impl Queue {
    /// Everything that has been accepted since the last time.
    pub(crate) fn accepted(&mut self) -> Vec<Envelope> {
        let mut all = match self {
            Self::Mayfly(gateway, tokens) => from_mayfly(gateway, tokens),
            Self::Postfix(files) => each(files, |_| true, postfix),
            Self::Exim(files) => each(files, |name| name.ends_with("-H"), exim),
            Self::OpenSmtpd(files) => each(files, |name| name != "message", opensmtpd),
        };
        all.sort();
        all
    }
}

fn each(
    files: &mut Files,
    wanted: fn(&str) -> bool,
    read: fn(&[u8]) -> Vec<Envelope>,
) -> Vec<Envelope> {
    let mut paths = files.fresh();
    paths.retain(|path| wanted(&path.file_name().unwrap_or_default().to_string_lossy()));
    paths
        .iter()
        .flat_map(|path| read(&fs::read(path).expect("the queue can be read")))
        .collect()
}

/// Over the API; what was seen is deleted.
fn from_mayfly(gateway: &Gateway, tokens: &[String]) -> Vec<Envelope> {
    let mailboxes = tokens
        .iter()
        .map(|token| (gateway.http, "/api/v1/messages", Some(token.as_str())))
        .chain([(gateway.operator, "/postmaster/messages", None)]);
    let mut all = Vec::new();
    for (at, path, token) in mailboxes {
        let list = request(at, "GET", path, token, "").json();
        for message in list["messages"].as_array().expect("a list") {
            let one = format!("{path}/{}", message["id"].as_str().expect("an id"));
            let envelope = request(at, "GET", &one, token, "").json()["envelope"].clone();
            let text = |name: &str| envelope[name].as_str().unwrap_or_default().to_owned();
            all.push(Envelope {
                sender: text("from"),
                recipient: text("to"),
            });
            let deleted = request(at, "DELETE", &one, token, "");
            assert_eq!(deleted.status, 204, "{}", deleted.text());
        }
    }
    all
}

/// A record is a letter, a length in groups of seven bits with the lowest first, and as many bytes.
fn postfix(bytes: &[u8]) -> Vec<Envelope> {
    let (mut sender, mut recipients) = (String::new(), Vec::new());
    let mut rest = bytes;
    while let Some((kind, behind)) = rest.split_first() {
        let (mut length, mut used) = (0, 0);
        for byte in behind {
            length |= usize::from(byte & 0x7f) << (7 * used);
            used += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let value = String::from_utf8_lossy(&behind[used..used + length]).into_owned();
        match kind {
            b'S' => sender = value,
            b'R' => recipients.push(value),
            _ => {}
        }
        rest = &behind[used + length..];
    }
    addressed(&sender, recipients)
}

/// The sender stands in angle brackets on the third line; the recipients end at the first empty line and stand behind
/// their number, the only line of a number alone.
fn exim(bytes: &[u8]) -> Vec<Envelope> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut lines = text.lines();
    let sender = lines.nth(2).expect("a sender");
    let sender = sender.trim_start_matches('<').trim_end_matches('>');
    let recipients = lines
        .skip_while(|line| line.parse::<u32>().is_err())
        .skip(1)
        .take_while(|line| !line.is_empty());
    addressed(sender, recipients.map(str::to_owned).collect())
}

fn opensmtpd(bytes: &[u8]) -> Vec<Envelope> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let sender = field("sender:");
    // It writes the null sender as an address without either part.
    addressed(
        if sender == "@" { "" } else { &sender },
        vec![field("dest:")],
    )
}

fn addressed(sender: &str, recipients: Vec<String>) -> Vec<Envelope> {
    recipients
        .into_iter()
        .map(|recipient| Envelope {
            sender: sender.to_owned(),
            recipient,
        })
        .collect()
}
