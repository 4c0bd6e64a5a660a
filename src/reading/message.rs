//! A whole message, taken apart for somebody who reads it.

#![forbid(unsafe_code)]

use super::Limits;
use super::codes::{Findings, Given, find};
use super::decode::{self, tidy};
use super::fields::{Disposition, Field};
use super::html::{self, Anchor, Html, Image, Remote};
use super::names::safe_name;
use super::structure::{Part, Structure};
use std::borrow::Cow;

/// The longest Content-ID that is shown.
const CONTENT_ID_BYTES_MAX: usize = 255;

/// What people see of a message.
#[derive(Debug, Default)]
pub struct Reading {
    /// The text; made of the HTML if there is only that. Of a message without either, empty.
    pub text: String,
    /// The HTML, if there is any.
    pub html: Option<Html>,
    /// Everything that is not shown, in the order of the message.
    pub attachments: Vec<Attachment>,
    /// One-time codes and verification links.
    pub findings: Findings,
    /// Whether a limit left something out; the source has it.
    pub is_truncated: bool,
    /// Whether the message breaks the rules of MIME.
    pub is_malformed: bool,
}

/// A part that is handed out as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its number among the attachments, from 0.
    pub index: usize,
    /// A name that is safe to save it under.
    pub name: String,
    /// The media type that the sender says it has.
    pub kind: String,
    /// Its size in bytes, decoded.
    pub size: usize,
    /// How it is written down in the message: `8bit`, `base64` or `quoted-printable`.
    pub transfer_encoding: &'static str,
    /// By what the HTML may refer to it.
    pub content_id: Option<String>,
    /// Whether it belongs into the text and not beside it.
    pub is_inline: bool,
}

/// Takes a whole message apart.
#[must_use]
pub fn read(raw: &[u8], limits: &Limits) -> Reading {
    Taken::apart(raw, limits).reading()
}

/// Looks only for codes and links.
#[must_use]
pub fn scan(raw: &[u8], limits: &Limits) -> Findings {
    Taken::apart(raw, limits).findings()
}

/// The text alone.
#[must_use]
pub fn text(raw: &[u8], limits: &Limits) -> String {
    let taken = Taken::apart(raw, limits);
    let html = taken.html(None, Remote::Blocked);
    taken.text(html.as_ref()).0.into_owned()
}

/// What a list shows of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// How its text begins, in one line.
    pub intro: String,
    /// Whether anything is attached.
    pub has_attachments: bool,
}

/// Looks at how a message begins: `chars_max` characters of its text, with white space drawn together.
#[must_use]
pub fn glance(raw: &[u8], limits: &Limits, chars_max: usize) -> Glance {
    let taken = Taken::apart(raw, limits);
    let (plain, _) = taken.plain();
    let text = match plain.filter(|plain| !plain.trim().is_empty()) {
        Some(plain) => plain,
        // Only now: HTML is dearer.
        None => {
            let html = taken.html(None, Remote::Blocked);
            taken.text(html.as_ref()).0.into_owned()
        }
    };
    Glance {
        intro: in_one_line(&text, chars_max),
        has_attachments: taken.attached().next().is_some(),
    }
}

/// How a text begins, with white space drawn together.
fn in_one_line(text: &str, chars_max: usize) -> String {
    let (mut line, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        let between = usize::from(length > 0);
        if length + between >= chars_max {
            break;
        }
        line.extend(std::iter::repeat_n(' ', between));
        length += between;
        let room = chars_max - length;
        length += word.chars().count().min(room);
        line.extend(word.chars().take(room));
    }
    line
}

impl Reading {
    /// How the text begins, in one line.
    #[must_use]
    pub fn intro(&self, chars_max: usize) -> String {
        in_one_line(&self.text, chars_max)
    }
}

/// The HTML alone, as a document of its own; `None` if the message has none.
#[must_use]
pub fn document(raw: &[u8], limits: &Limits, remote: Remote) -> Option<String> {
    let taken = Taken::apart(raw, limits);
    let mut images = Images::new(&taken);
    let html = taken.html(Some(&mut |id| images.find(id)), remote)?;
    let begins = DOCUMENT_BEGINS.replace("{images}", images_from(remote));
    Some(format!("{begins}{}{DOCUMENT_ENDS}", html.clean))
}

/// What a policy says about where images come from.
#[must_use]
pub const fn images_from(remote: Remote) -> &'static str {
    match remote {
        Remote::Blocked => "data:",
        Remote::Shown => "data: https:",
    }
}

/// The policy stands in the document too, for pages that show it without its header fields. Mail is written for
/// white paper; long words and wide images stay inside it.
const DOCUMENT_BEGINS: &str = "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
    img-src {images}; form-action 'none'; base-uri 'none'\">\
    <meta name=\"referrer\" content=\"no-referrer\">\
    <meta name=\"viewport\" content=\"width=device-width\"><title>Message</title>\
    <style>:root{color-scheme:only light;background:#fff}\
    body{margin:16px;font:15px/1.5 system-ui,sans-serif;color:#1d2522;overflow-wrap:anywhere}\
    img{max-width:100%;height:auto}</style></head><body>\n";
const DOCUMENT_ENDS: &str = "\n</body></html>\n";

/// All fields of the header, in order.
#[must_use]
pub fn fields(raw: &[u8]) -> Vec<Field> {
    super::fields::Header::at(raw, 0, |_| false).all(raw)
}

/// One attachment: what it is, and its bytes.
#[must_use]
pub fn attachment(raw: &[u8], limits: &Limits, index: usize) -> Option<(Attachment, Vec<u8>)> {
    let taken = Taken::apart(raw, limits);
    let part = taken.attached().nth(index)?;
    let bytes = part
        .about
        .encoding
        .decode(&raw[part.body.clone()])
        .into_owned();
    Some((described(index, part, bytes.len()), bytes))
}

/// Looks at every attachment and its bytes, in the order of the message, in one walk.
pub fn each_attachment(raw: &[u8], limits: &Limits, mut look: impl FnMut(&Attachment, &[u8])) {
    for (index, part) in Taken::apart(raw, limits).attached().enumerate() {
        let bytes = part.about.encoding.decode(&raw[part.body.clone()]);
        look(&described(index, part, bytes.len()), &bytes);
    }
}

fn described(index: usize, part: &Part, size: usize) -> Attachment {
    let about = &part.about;
    let content_id = about.content_id.as_deref().filter(|id| !id.is_empty());
    Attachment {
        index,
        name: safe_name(about.name.as_deref(), index, &about.kind),
        kind: about.kind.clone(),
        size,
        transfer_encoding: about.encoding.name(),
        content_id: content_id
            .map(|id| id[..id.floor_char_boundary(CONTENT_ID_BYTES_MAX)].to_owned()),
        is_inline: about.disposition == Some(Disposition::Inline)
            || about.disposition.is_none() && content_id.is_some(),
    }
}

/// Whether a part is shown, and not handed out as a file. Text with a name is a file if there is something to be shown before it.
pub(super) fn is_shown(part: &Part, any_before: bool) -> bool {
    let is_text = matches!(&*part.about.kind, "text/plain" | "text/html");
    let is_file = part.about.disposition == Some(Disposition::Attachment)
        || part.about.name.is_some() && any_before;
    is_text && !is_file
}

/// A message whose parts are known.
struct Taken<'a> {
    raw: &'a [u8],
    limits: &'a Limits,
    structure: Structure,
    /// For each part whether it is shown, and not handed out as a file.
    shown: Vec<bool>,
}

impl<'a> Taken<'a> {
    fn apart(raw: &'a [u8], limits: &'a Limits) -> Self {
        let structure = Structure::of(raw, limits);
        let mut any = false;
        let shown = |part: &Part| {
            let shown = is_shown(part, any);
            any |= shown;
            shown
        };
        let shown = structure.parts.iter().map(shown).collect();
        Self {
            raw,
            limits,
            structure,
            shown,
        }
    }

    fn shown(&self) -> impl Iterator<Item = &Part> {
        let parts = self.structure.parts.iter().zip(&self.shown);
        parts.filter_map(|(part, shown)| shown.then_some(part))
    }

    fn attached(&self) -> impl Iterator<Item = &Part> {
        let parts = self.structure.parts.iter().zip(&self.shown);
        parts.filter_map(|(part, shown)| (!shown).then_some(part))
    }

    /// The text of a part, cut to about `bytes_max`, and whether it was cut.
    fn text_of(&self, part: &Part, bytes_max: usize) -> (String, bool) {
        let about = &part.about;
        let raw = &self.raw[part.body.clone()];
        let written = about.encoding.written_length(bytes_max).min(raw.len());
        let bytes = about.encoding.decode(&raw[..written]);
        let mut text = decode::text(&bytes, about.charset.as_deref());
        let is_cut = written < raw.len() || text.len() > bytes_max;
        text.truncate(text.floor_char_boundary(bytes_max));
        (text, is_cut)
    }

    /// The plain parts, if there are any; and whether something was cut.
    fn plain(&self) -> (Option<String>, bool) {
        let mut plain: Option<String> = None;
        let mut is_cut = false;
        for part in self.shown().filter(|part| part.about.kind == "text/plain") {
            let so_far = plain.as_ref().map_or(0, String::len);
            let room = self.limits.text_bytes_max.as_usize().saturating_sub(so_far);
            let (text, cut) = self.text_of(part, room);
            is_cut |= cut;
            let plain = plain.get_or_insert_default();
            if !plain.is_empty() && !plain.ends_with('\n') {
                plain.push('\n');
            }
            plain.push_str(&tidy(&text));
        }
        (plain, is_cut)
    }

    /// The HTML parts as one, plain ones between them included.
    fn html(&self, images: Option<&mut dyn FnMut(&str) -> Image>, remote: Remote) -> Option<Html> {
        self.shown().find(|part| part.about.kind == "text/html")?;
        let mut whole = String::new();
        let mut is_cut = false;
        for part in self.shown() {
            let room = self
                .limits
                .html_bytes_max
                .as_usize()
                .saturating_sub(whole.len());
            if part.about.kind == "text/html" {
                let (text, cut) = self.text_of(part, room);
                whole.push_str(&text);
                is_cut |= cut;
            } else if !part.is_alternative {
                let (text, cut) = self.text_of(part, room / 2);
                whole.push_str("<div style=\"white-space:pre-wrap\">");
                html::escape_into(&text, &mut whole);
                whole.push_str("</div>");
                is_cut |= cut;
            }
        }
        let mut html = html::read(&whole, self.limits, images, remote);
        html.is_truncated |= is_cut;
        Some(html)
    }

    /// The text as people see it, and whether it was cut.
    fn text<'t>(&self, html: Option<&'t Html>) -> (Cow<'t, str>, bool) {
        match (self.plain(), html) {
            ((Some(plain), is_cut), None) => (Cow::Owned(plain), is_cut),
            ((Some(plain), is_cut), Some(_)) if !plain.trim().is_empty() => {
                (Cow::Owned(plain), is_cut)
            }
            (_, Some(html)) => (Cow::Borrowed(&html.text), html.is_truncated),
            // Nothing is a part of text: perhaps there is no part at all.
            ((None, _), None) if self.structure.parts.is_empty() => {
                let source = &self.raw[..self.raw.len().min(self.limits.text_bytes_max.as_usize())];
                let text = tidy(&String::from_utf8_lossy(source));
                (Cow::Owned(text), source.len() < self.raw.len())
            }
            ((None, _), None) => (Cow::Borrowed(""), false),
        }
    }

    fn found(&self, text: &str, html: Option<&Html>) -> Findings {
        let subject = self
            .structure
            .header
            .text(self.raw, "Subject")
            .unwrap_or_default();
        let anchors: &[Anchor] = html.map_or(&[], |html| &html.anchors);
        let links: Vec<(&str, &str, usize)> = anchors
            .iter()
            .map(|anchor| (&*anchor.url, &*anchor.text, anchor.offset))
            .collect();
        find(&Given {
            subject: &subject,
            text,
            html: html.map(|html| &*html.text).filter(|html| *html != text),
            links: &links,
        })
    }

    fn findings(&self) -> Findings {
        let html = self.html(None, Remote::Blocked);
        self.found(&self.text(html.as_ref()).0, html.as_ref())
    }

    fn reading(&self) -> Reading {
        let mut images = Images::new(self);
        let html = self.html(Some(&mut |id| images.find(id)), Remote::Blocked);
        let (text, is_cut) = self.text(html.as_ref());
        let findings = self.found(&text, html.as_ref());
        let size = |part: &Part| {
            part.about
                .encoding
                .decode(&self.raw[part.body.clone()])
                .len()
        };
        let attachments = self.attached().enumerate();
        Reading {
            attachments: attachments
                .map(|(index, part)| described(index, part, size(part)))
                .collect(),
            is_truncated: self.structure.is_truncated
                || is_cut
                || html.as_ref().is_some_and(|html| html.is_truncated),
            is_malformed: self.structure.is_malformed,
            text: text.into_owned(),
            findings,
            html,
        }
    }
}

/// Finds the images that HTML refers to, and pays for them.
struct Images<'t, 'a> {
    taken: &'t Taken<'a>,
    bytes_left: usize,
}

impl<'t, 'a> Images<'t, 'a> {
    fn new(taken: &'t Taken<'a>) -> Self {
        Self {
            taken,
            bytes_left: taken.limits.inline_bytes_max.as_usize(),
        }
    }

    fn find(&mut self, id: &str) -> Image {
        let id = percent_decoded(id);
        let mut attached = self.taken.attached().enumerate();
        let found = attached.find(|(_, part)| part.about.content_id.as_deref() == Some(&id));
        let Some((index, part)) = found else {
            return Image::Unknown;
        };
        let encoding = part.about.encoding;
        if part.body.len() > encoding.written_length(self.bytes_left) {
            return Image::Attachment(index);
        }
        let bytes = encoding.decode(&self.taken.raw[part.body.clone()]);
        let fits = bytes.len() <= self.bytes_left;
        // Paid for even if it is no image, or looking would be free.
        self.bytes_left = self.bytes_left.saturating_sub(bytes.len());
        match html::image_kind(&bytes) {
            Some(kind) if fits => {
                let text = data_encoding::BASE64.encode(&bytes);
                Image::Data(format!("data:{kind};base64,{text}"))
            }
            _ => Image::Attachment(index),
        }
    }
}

/// `cid:` URLs are percent-encoded (RFC 2392).
fn percent_decoded(id: &str) -> String {
    let mut bytes = Vec::with_capacity(id.len());
    let mut rest = id.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        rest = after;
        if *first == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            bytes.push((high << 4 | low) as u8);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
