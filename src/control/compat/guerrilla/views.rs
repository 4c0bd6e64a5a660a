//! Answers as GuerrillaMail writes them.
//!
//! Its clients are strict about types: what a message says of itself is text, even its numbers; times of an address
//! are numbers. Some put what they get into a page, so what is text in a message is escaped here, and what is HTML
//! has been made harmless.

use crate::clock::Instant;
use crate::control::app::App;
use crate::control::compat::form::encoded;
use crate::control::views::messages::headers_of;
use crate::mail::Address;
use crate::reading::html;
use crate::reading::message::{Glance, Reading};
use crate::store::Entry;
use serde_json::{Value, json};

/// How long an address lives as its clients see it: they add an hour to the time that they are told.
pub(super) const LIFE_SECS: u64 = 3_600;

/// How much of a message's text is shown in a list, in characters.
pub(super) const EXCERPT_CHARS_MAX: usize = 160;

/// What stands for the id of a message: ours and one more. The service begins with a message of its own, which has
/// number 1, and some clients ask only for what came after that.
pub(super) const fn mail_id(entry: &Entry) -> u64 {
    entry.sequence.0 + 1
}

/// The number that a client should add an hour to, to get the end of an address.
pub(super) fn timestamp(app: &App, expires_at: Option<Instant>) -> u64 {
    let wall = app.cores.wall();
    match expires_at {
        Some(end) => wall.unix_secs(end).saturating_sub(LIFE_SECS),
        None => wall.unix_secs(app.cores.now()),
    }
}

/// The current address.
pub(super) fn address(address: &Address, timestamp: u64, alias_error: &str) -> Value {
    json!({
        "email_addr": address.as_str(),
        "email_timestamp": timestamp,
        "alias": address.local(),
        "alias_error": alias_error,
        "site_id": 1,
        "site": address.domain(),
    })
}

/// A list of messages.
pub(super) fn list(mails: &[Value], count: usize, address: &Address, timestamp: u64) -> Value {
    json!({
        "list": mails,
        "count": count.to_string(),
        "email": address.as_str(),
        "alias": address.local(),
        "ts": timestamp,
        // What a server counts is its operator's business.
        "stats": {
            "sequence_mail": "0",
            "created_addresses": 0,
            "received_emails": "0",
            "total": "0",
            "total_per_hour": "0",
        },
    })
}

/// A message in a list.
pub(super) fn mail(app: &App, entry: &Entry, glance: Option<&Glance>) -> Value {
    let headers = headers_of(&entry.message);
    let from = headers.from.into_iter().next();
    let from = from.and_then(|from| from.address).unwrap_or_default();
    let excerpt = glance.map_or("", |glance| &glance.intro);
    let has_attachments = glance.is_some_and(|glance| glance.has_attachments);
    let (wall, received_at) = (app.cores.wall(), entry.message.received_at);
    let date = wall.rfc3339(received_at);
    json!({
        "mail_id": mail_id(entry).to_string(),
        "mail_from": escaped(&from),
        "mail_subject": escaped(&headers.subject.unwrap_or_default()),
        "mail_excerpt": escaped(excerpt),
        "mail_timestamp": wall.unix_secs(received_at).to_string(),
        "mail_read": if entry.seen { "1" } else { "0" },
        "mail_date": date.get(11..19).unwrap_or_default(),
        "att": if has_attachments { "1" } else { "0" },
        "mail_size": entry.message.body.len().to_string(),
    })
}

/// A message with what is in it.
pub(super) fn whole(app: &App, entry: &Entry, address: &Address, reading: Reading) -> Value {
    let glance = Glance {
        intro: reading.intro(EXCERPT_CHARS_MAX),
        has_attachments: !reading.attachments.is_empty(),
    };
    let mut view = mail(app, entry, Some(&glance));
    let headers = headers_of(&entry.message);
    let reply_to = headers.reply_to.into_iter().next();
    let reply_to = reply_to.and_then(|it| it.address).unwrap_or_default();
    let body = match &reading.html {
        Some(found) => with_named_images(&found.clean),
        None => html::of_text(&reading.text),
    };
    let files: Vec<Value> = reading
        .attachments
        .iter()
        .map(|file| json!({ "f": file.name, "t": file.kind, "p": (file.index + 1).to_string() }))
        .collect();
    let more = json!({
        "mail_recipient": address.local(),
        "reply_to": escaped(&reply_to),
        "content_type": "text/html",
        "mail_body": body,
        "source_id": "1",
        "source_mail_id": mail_id(entry).to_string(),
        "ref_mid": "",
        "att": files.len().to_string(),
        "att_info": files,
        "size": entry.message.body.len().to_string(),
    });
    add(&mut view, more);
    view
}

/// Adds fields to an object.
pub(super) fn add(view: &mut Value, more: Value) {
    if let (Value::Object(view), Value::Object(more)) = (view, more) {
        view.extend(more);
    }
}

/// Text that does no harm in a page, in quotes or not.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#039;"),
            other => out.push(other),
        }
    }
    out
}

/// Where the address of an image stands that is not loaded.
const NOT_LOADED: &str = " data-remote=\"";

/// Harmless HTML in which images from elsewhere have the form that the service gives them: a path of its own with their
/// address in it, from which clients make the address again. Nothing answers there.
fn with_named_images(clean: &str) -> String {
    let mut out = String::with_capacity(clean.len());
    let mut rest = clean;
    while let Some((before, after)) = rest.split_once(NOT_LOADED) {
        out.push_str(before);
        let Some((url, after)) = after.split_once('"') else {
            out.push_str(NOT_LOADED);
            rest = after;
            continue;
        };
        let url = url.replace("&amp;", "&");
        out.push_str(" src=\"/res.php?r=1&n=img&q=");
        out.push_str(&encoded(&url));
        out.push('"');
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_from_elsewhere_become_paths_that_name_them() {
        for (clean, named) in [
            ("", ""),
            ("<p>no image</p>", "<p>no image</p>"),
            (
                "<img alt=\"a\" data-remote=\"https://t.test/p.gif?a=1&amp;b=2\"><b>x</b>",
                "<img alt=\"a\" src=\"/res.php?r=1&n=img&q=https%3A%2F%2Ft.test%2Fp.gif%3Fa%3D1%26b%3D2\"><b>x</b>",
            ),
            ("a data-remote=\"b", "a data-remote=\"b"),
        ] {
            assert_eq!(with_named_images(clean), named);
        }
    }

    #[test]
    fn nothing_that_is_escaped_ends_what_is_around_it() {
        assert_eq!(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#039;");
        assert_eq!(
            html::of_text("a <b>\n\"c\" & d\n"),
            "a &lt;b&gt;<br>\n&quot;c&quot; &amp; d<br>\n"
        );
    }
}
