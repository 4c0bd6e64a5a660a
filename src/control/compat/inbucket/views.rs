//! Messages as Inbucket writes them.

use crate::control::app::App;
use crate::control::compat::form::encoded;
use crate::control::compat::public::Named;
use crate::control::views::messages::{Person, headers_of};
use crate::reading::Limits;
use crate::reading::fields::Field;
use crate::reading::message::{self, Reading};
use crate::store::Entry;
use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a list and a monitor show of a message.
#[derive(Serialize)]
pub(super) struct Header {
    mailbox: String,
    id: String,
    from: String,
    to: Vec<String>,
    subject: String,
    date: String,
    #[serde(rename = "posix-millis")]
    posix_millis: i64,
    size: usize,
    seen: bool,
}

/// A message.
#[derive(Serialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    about: Header,
    body: Body,
    header: BTreeMap<String, Vec<String>>,
    attachments: Vec<File>,
}

#[derive(Serialize)]
struct Body {
    text: String,
    html: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    filename: String,
    content_type: String,
    download_link: String,
    view_link: String,
    md5: String,
}

/// A message taken apart, with what only this API asks for.
pub(super) struct Parts {
    reading: Reading,
    fields: Vec<Field>,
    /// Of each attachment, in order.
    sums: Vec<String>,
}

impl Parts {
    pub(super) fn of(raw: &[u8], limits: &Limits) -> Self {
        let mut sums = Vec::new();
        message::each_attachment(raw, limits, |_, bytes| {
            sums.push(HEXLOWER.encode(&Md5::digest(bytes)));
        });
        Self {
            reading: message::read(raw, limits),
            fields: message::fields(raw),
            sums,
        }
    }
}

impl Header {
    /// A message of the mailbox with this name.
    pub(super) fn new(mailbox: &str, entry: &Entry, app: &App) -> Self {
        let headers = headers_of(&entry.message);
        let (wall, received_at) = (app.cores.wall(), entry.message.received_at);
        Self {
            mailbox: mailbox.to_owned(),
            id: entry.sequence.0.to_string(),
            from: headers.from.first().map(written).unwrap_or_default(),
            to: headers.to.iter().map(written).collect(),
            subject: headers.subject.unwrap_or_default(),
            date: wall.rfc3339_millis(received_at),
            posix_millis: wall.unix_micros(received_at).div_euclid(1_000),
            size: entry.message.body.len(),
            seen: entry.seen,
        }
    }
}

impl Whole {
    /// The same with what is in it. `host` is where whoever asks has found us: links lead there.
    pub(super) fn new(mailbox: &Named, entry: &Entry, parts: Parts, host: &str, app: &App) -> Self {
        let place = format!(
            "http://{host}/serve/mailbox/{}/{}/attach",
            mailbox.in_a_path(),
            entry.sequence.0
        );
        let files = parts.reading.attachments.into_iter().zip(parts.sums);
        Self {
            about: Header::new(&mailbox.name, entry, app),
            body: Body {
                text: parts.reading.text,
                html: parts.reading.html.map(|it| it.clean).unwrap_or_default(),
            },
            header: by_name(parts.fields),
            attachments: files
                .map(|(file, md5)| {
                    let link = format!("{place}/{}/{}", file.index, encoded(&file.name));
                    File {
                        filename: file.name,
                        content_type: file.kind,
                        download_link: link.clone(),
                        view_link: link,
                        md5,
                    }
                })
                .collect(),
        }
    }
}

/// `Name <u@example.com>`, or what there is of it.
fn written(person: &Person) -> String {
    let address = person.address.as_ref().map(|it| format!("<{it}>"));
    let parts = [person.name.clone(), address];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(" ")
}

/// All values of each field, unfolded and not decoded.
fn by_name(fields: Vec<Field>) -> BTreeMap<String, Vec<String>> {
    let mut header: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in fields {
        let lines: Vec<&str> = field.raw.lines().map(str::trim).collect();
        let values = header.entry(canonical(&field.name)).or_default();
        values.push(lines.join(" ").trim().to_owned());
    }
    header
}

/// A name of a field as Go writes it: `Message-Id`.
fn canonical(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        let rest = letters.map(|letter| letter.to_ascii_lowercase());
        first.into_iter().chain(rest).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_called_as_go_calls_them_and_keep_all_their_values() {
        let raw = b"SUBJECT: =?utf-8?q?=C3=BC?=\r\n folded\r\nmessage-ID: <1@a.test>\r\n\
            received: one\r\nReceived: two\r\n\r\nbody";
        let header = by_name(message::fields(raw));
        let values = |name: &str| header[name].join("|");
        assert_eq!(values("Subject"), "=?utf-8?q?=C3=BC?= folded");
        assert_eq!(values("Message-Id"), "<1@a.test>");
        assert_eq!(values("Received"), "one|two");
        assert_eq!(header.len(), 3);
    }

    #[test]
    fn people_are_written_with_what_is_known_of_them() {
        let person = |name: Option<&str>, address: Option<&str>| Person {
            name: name.map(ToOwned::to_owned),
            address: address.map(ToOwned::to_owned),
        };
        assert_eq!(
            written(&person(Some("J B"), Some("j@a.test"))),
            "J B <j@a.test>"
        );
        assert_eq!(written(&person(None, Some("j@a.test"))), "<j@a.test>");
        assert_eq!(written(&person(Some("J"), None)), "J");
    }
}
