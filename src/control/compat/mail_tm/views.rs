//! Messages as this API shows them.

use super::Secrets;
use super::asked::attachment_id;
use super::format::{Format, Kind, Linked, date};
use crate::clock::WallClock;
use crate::config::sections::Verifications;
use crate::control::views::messages::{Headers, Person, headers_of};
use crate::mail::Address;
use crate::reading::message::{Attachment, Glance, Reading};
use crate::store::{Entry, Sequence, TokenHash};
use serde::Serialize;
use serde_json::{Value, json};

/// Characters of a message's text that a list shows.
pub(super) const INTRO_CHARS: usize = 120;

/// A name and an address. Clients expect both.
#[derive(Clone, Serialize)]
struct Party {
    address: String,
    name: String,
}

impl From<Person> for Party {
    fn from(person: Person) -> Self {
        Self {
            address: person.address.unwrap_or_default(),
            name: person.name.unwrap_or_default(),
        }
    }
}

/// A message in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    #[serde(flatten)]
    linked: Option<Linked>,
    id: String,
    account_id: String,
    msgid: String,
    from: Party,
    to: Vec<Party>,
    subject: String,
    intro: String,
    seen: bool,
    is_deleted: bool,
    has_attachments: bool,
    size: usize,
    download_url: String,
    source_url: String,
    created_at: String,
    updated_at: String,
}

/// A message by itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    #[serde(flatten)]
    summary: Summary,
    cc: Vec<Party>,
    bcc: [Party; 0],
    flagged: bool,
    verifications: Value,
    retention: bool,
    retention_date: String,
    text: String,
    html: Vec<String>,
    attachments: Vec<Attached>,
}

/// A file in a message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attached {
    id: String,
    filename: String,
    content_type: String,
    disposition: &'static str,
    transfer_encoding: &'static str,
    related: bool,
    /// In KiB, begun ones included.
    size: usize,
    download_url: String,
}

/// What is left to say of a message that is gone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gone {
    #[serde(flatten)]
    linked: Option<Linked>,
    id: String,
    account_id: String,
    is_deleted: bool,
}

/// Whose messages are shown, and to whom.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) secrets: &'a Secrets,
    pub(super) holder: &'a TokenHash,
    pub(super) address: &'a Address,
    pub(super) format: Format,
    pub(super) wall: WallClock,
}

impl Shown<'_> {
    fn id(&self, message: Sequence) -> String {
        self.secrets.ids.message(self.holder, message)
    }

    fn account(&self) -> String {
        format!("/accounts/{}", self.secrets.ids.account(self.holder))
    }

    /// A message in a list.
    pub(super) fn listed(&self, entry: &Entry, glance: Option<Glance>) -> Summary {
        let headers = headers_of(&entry.message);
        let id = self.id(entry.sequence);
        let linked = self.format.listed(Kind::Message, &id);
        self.summary(entry, headers, glance.unwrap_or_default(), linked)
            .0
    }

    /// The same by itself, as events show it.
    pub(super) fn alone(&self, entry: &Entry, glance: Option<Glance>) -> Summary {
        let headers = headers_of(&entry.message);
        let id = self.id(entry.sequence);
        let linked = self.format.linked(Kind::Message, &id);
        self.summary(entry, headers, glance.unwrap_or_default(), linked)
            .0
    }

    /// A message that is gone.
    pub(super) fn gone(&self, message: Sequence) -> Gone {
        let id = self.id(message);
        Gone {
            linked: self.format.linked(Kind::Message, &id),
            id,
            account_id: self.account(),
            is_deleted: true,
        }
    }

    /// An account that is gone.
    pub(super) fn gone_account(&self, id: &str) -> Gone {
        Gone {
            linked: self.format.linked(Kind::Account, id),
            id: id.to_owned(),
            account_id: self.account(),
            is_deleted: true,
        }
    }

    /// A summary, and who else it says it was for.
    fn summary(
        &self,
        entry: &Entry,
        headers: Headers,
        glance: Glance,
        linked: Option<Linked>,
    ) -> (Summary, Vec<Party>) {
        let id = self.id(entry.sequence);
        let nobody = Party {
            address: String::new(),
            name: String::new(),
        };
        let mut to: Vec<Party> = headers.to.into_iter().map(Party::from).collect();
        if to.is_empty() {
            // A message need not say to whom it is; clients look at the first.
            to.push(Party {
                address: self.address.as_str().to_owned(),
                name: String::new(),
            });
        }
        let received = date(&self.wall, entry.message.received_at);
        let summary = Summary {
            linked,
            account_id: self.account(),
            msgid: headers
                .message_id
                .map_or_else(String::new, |id| format!("<{id}>")),
            from: headers.from.into_iter().next().map_or(nobody, Party::from),
            to,
            subject: headers.subject.unwrap_or_default(),
            intro: glance.intro,
            seen: entry.seen,
            is_deleted: false,
            has_attachments: glance.has_attachments,
            size: entry.message.body.len(),
            download_url: format!("/messages/{id}/download"),
            source_url: format!("/sources/{id}"),
            created_at: received.clone(),
            updated_at: received,
            id,
        };
        (summary, headers.cc.into_iter().map(Party::from).collect())
    }

    /// A message by itself, taken apart.
    pub(super) fn message(
        &self,
        entry: &Entry,
        reading: Reading,
        verifications: Verifications,
    ) -> Message {
        let id = self.id(entry.sequence);
        let glance = Glance {
            intro: reading.intro(INTRO_CHARS),
            has_attachments: !reading.attachments.is_empty(),
        };
        let linked = self.format.linked(Kind::Message, &id);
        let headers = headers_of(&entry.message);
        let (summary, cc) = self.summary(entry, headers, glance, linked);
        let html = reading.html.map(|html| html.clean);
        let attachments = reading.attachments.iter();
        Message {
            summary,
            cc,
            bcc: [],
            flagged: false,
            verifications: verified(entry, verifications),
            retention: true,
            retention_date: date(&self.wall, entry.expires_at),
            text: reading.text,
            html: html.into_iter().collect(),
            attachments: attachments.map(|it| attached(&id, it)).collect(),
        }
    }
}

/// What is known of how a message came. Nobody here looks at SPF or DKIM.
fn verified(entry: &Entry, how: Verifications) -> Value {
    match how {
        Verifications::List => json!([]),
        Verifications::Object => {
            let unnamed = json!({"name": "", "standardName": "", "version": "TLS"});
            let tls = if entry.message.tls {
                unnamed
            } else {
                Value::Null
            };
            json!({"tls": tls, "spf": false, "dkim": false})
        }
    }
}

fn attached(message: &str, attachment: &Attachment) -> Attached {
    let id = attachment_id(attachment.index);
    Attached {
        filename: attachment.name.clone(),
        content_type: attachment.kind.clone(),
        disposition: if attachment.is_inline {
            "inline"
        } else {
            "attachment"
        },
        transfer_encoding: attachment.transfer_encoding,
        related: attachment.content_id.is_some(),
        size: attachment.size.div_ceil(1 << 10),
        download_url: format!("/messages/{message}/attachment/{id}"),
        id,
    }
}
