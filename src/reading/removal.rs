//! Parts taken out of a message, with a note in the place of each.
//!
//! Who decides which parts go is somebody else. The rest of the message stays byte for byte as it is; what is put in its place is
//! a part of plain text, so a message that was valid stays so.

#![forbid(unsafe_code)]

use super::Limits;
use super::fields::line;
use super::message::is_shown;
use super::names::safe_name;
use super::structure::{Part, Structure};
use std::fmt::Write as _;

/// A part that may be taken out.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The names that it is given, decoded and safe.
    pub names: &'a [String],
    /// The media type that it is said to have.
    pub said: &'a str,
    /// Its bytes, decoded.
    pub bytes: &'a [u8],
    /// Whether it is shown as text of the message.
    pub is_shown: bool,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Parts were taken out; here is what is left.
    Changed(Vec<u8>),
    /// It has more parts, or deeper ones, than are looked at.
    TooComplex,
    /// Nothing was taken out.
    Unchanged,
}

/// Takes out each part for which `why` gives a reason, which is told in its place.
pub fn remove(
    raw: &[u8],
    limits: &Limits,
    mut why: impl FnMut(&Seen<'_>) -> Option<String>,
) -> Outcome {
    let structure = Structure::of(raw, limits);
    if structure.is_truncated {
        return Outcome::TooComplex;
    }
    let mut changed = Vec::new();
    let mut copied = 0;
    // A note is shown, so a part behind it may be a file now that was the text of the message before.
    let mut any_before = false;
    for (number, part) in structure.parts.iter().enumerate() {
        let about = &part.about;
        let names: Vec<String> = [&about.name, &about.other_name]
            .into_iter()
            .flatten()
            .map(|name| safe_name(Some(name), number, &about.kind))
            .collect();
        let bytes = about.encoding.decode(&raw[part.body.clone()]);
        let is_shown = is_shown(part, any_before);
        let seen = Seen {
            names: &names,
            said: &about.kind,
            bytes: &bytes,
            is_shown,
        };
        let why = why(&seen);
        any_before |= is_shown || why.is_some();
        let Some(why) = why else { continue };
        let note = note(&seen, number, &why);
        changed.extend_from_slice(&raw[copied..part.start]);
        if part.start == 0 {
            kept_header(raw, part, &mut changed);
        }
        changed.extend_from_slice(&note);
        copied = part.body.end.max(part.header_end);
    }
    if copied == 0 {
        return Outcome::Unchanged;
    }
    changed.extend_from_slice(&raw[copied..]);
    Outcome::Changed(changed)
}

/// The header of a message that is all one part, without what was said of that part.
fn kept_header(raw: &[u8], part: &Part, out: &mut Vec<u8>) {
    let mut at = 0;
    let mut is_kept = false;
    let mut has_version = false;
    while at < part.header_end {
        let (range, next) = line(raw, at);
        let text = &raw[range];
        if text.is_empty() {
            break;
        }
        let is_named = |name: &[u8]| {
            text.get(..name.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        };
        if text[0] != b' ' && text[0] != b'\t' {
            is_kept = !is_named(b"content-");
            has_version |= is_named(b"mime-version:");
        }
        if is_kept {
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        at = next;
    }
    if !has_version {
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
}

/// A part of plain text that says what was here: its header, and its body with a line end.
fn note(seen: &Seen<'_>, number: usize, why: &str) -> Vec<u8> {
    let name = match seen.names {
        [] => safe_name(None, number, seen.said),
        names => names.join("; "),
    };
    // Each line begins with words of ours, so none can be taken for a boundary.
    let mut text = String::from("This attachment was removed when the message arrived.\r\n");
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "Name: {name}\r\nType: {}\r\nSize: {} bytes\r\nReason: {why}\r\n",
        seen.said,
        seen.bytes.len()
    );
    let (encoding, body) = match text.is_ascii() && text.lines().all(|line| line.len() <= 900) {
        true => ("7bit", text),
        false => ("base64", in_base64(text.as_bytes())),
    };
    format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// In lines of 76 letters (RFC 2045 section 6.8).
fn in_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(57) {
        data_encoding::BASE64.encode_append(chunk, &mut text);
        text.push_str("\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::message;

    /// Takes out what is attached and is called, or said to be, like this.
    fn without(raw: &[u8], word: &str) -> Outcome {
        remove(raw, &Limits::default(), |seen| {
            let is_meant = seen.names.iter().any(|name| name.contains(word)) || seen.said == word;
            is_meant.then(|| "a test".to_owned())
        })
    }

    fn changed(raw: &[u8], word: &str) -> Vec<u8> {
        match without(raw, word) {
            Outcome::Changed(changed) => changed,
            other => panic!("{other:?}"),
        }
    }

    const MIXED: &[u8] = b"From: a@b\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        pre\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\n\
        Content-Type: application/zip; name=\"a.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n\
        --b\r\nContent-Type: image/png; name=c.png\r\n\r\nPNG\r\n--b--\r\nepi\r\n";

    #[test]
    fn a_note_stands_where_the_part_was_and_the_rest_is_as_it_was() {
        let text = String::from_utf8(changed(MIXED, "zip")).expect("text");
        let (before, rest) = text
            .split_once("Content-Type: text/plain; charset=utf-8\r\n")
            .expect("a note");
        let whole = std::str::from_utf8(MIXED).expect("text");
        assert!(
            whole.starts_with(before) && before.ends_with("Hello\r\n--b\r\n"),
            "{text}"
        );
        let (note, after) = rest.split_once("\r\n--b\r\n").expect("a delimiter");
        assert!(whole.ends_with(after) && after.contains("PNG"), "{text}");
        assert!(
            note.contains(
                "Name: a.zip\r\nType: application/zip\r\nSize: 4 bytes\r\nReason: a test\r\n"
            ),
            "{note}"
        );
        let read = message::read(text.as_bytes(), &Limits::default());
        assert!(!read.is_malformed);
        assert!(
            read.text.contains("Hello") && read.text.contains("Name: a.zip"),
            "{}",
            read.text
        );
        assert_eq!(read.attachments.len(), 1);
        assert_eq!(without(MIXED, "pdf"), Outcome::Unchanged);
    }

    #[test]
    fn a_message_that_is_all_attachment_becomes_the_note() {
        let raw = "From: a@b\r\nContent-Type: application/pdf;\r\n name=\"\u{e4}.pdf\"\r\nsubject: s\r\n\
            CONTENT-TRANSFER-ENCODING: base64\r\nContent-Disposition: attachment\r\n\r\nJVBERg==\r\n";
        let text = String::from_utf8(changed(raw.as_bytes(), "pdf")).expect("text");
        assert!(
            text.starts_with(
                "From: a@b\r\nsubject: s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain;"
            ),
            "{text}"
        );
        assert!(text.is_ascii(), "{text}");
        let read = message::read(text.as_bytes(), &Limits::default());
        assert!(read.attachments.is_empty() && !read.is_malformed);
        assert!(
            read.text
                .contains("Name: \u{e4}.pdf\nType: application/pdf\nSize: 4 bytes"),
            "{}",
            read.text
        );
    }

    #[test]
    fn both_names_count_in_every_way_of_writing_them() {
        for fields in [
            "Content-Disposition: attachment; filename=x.bad\r\n",
            "Content-Type: text/plain; name=x.bad\r\nContent-Disposition: attachment; filename=x.txt\r\n",
            "Content-Disposition: attachment; filename*=utf-8''%78.%62ad\r\n",
            "Content-Disposition: attachment; filename*0=x.; filename*1=bad\r\n",
            "Content-Disposition: attachment; filename=\"=?utf-8?b?eC5iYWQ=?=\"\r\n",
            "Content-Type: application/x; name=\"=?utf-8?q?x=2Ebad?=\"\r\n",
        ] {
            let raw = format!("{fields}\r\nbody\r\n");
            let text = changed(raw.as_bytes(), "x.bad");
            assert!(
                String::from_utf8_lossy(&text).contains("Reason: a test"),
                "{fields}"
            );
        }
    }

    #[test]
    fn broken_parts_go_whole() {
        // No empty line between header and body, no closing line, a part at the very end.
        let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b; name=x.bad\r\n--b\r\n\r\ntext\r\n\
            --b\r\nContent-Type: a/b; name=y.bad\r\n\r\nrest";
        let text = String::from_utf8(changed(raw, "bad")).expect("text");
        assert_eq!(text.matches("Reason: a test").count(), 2, "{text}");
        assert!(
            !text.contains("rest") && text.contains("\r\n--b\r\n\r\ntext\r\n--b\r\n"),
            "{text}"
        );
        assert_eq!(without(text.as_bytes(), "bad"), Outcome::Unchanged);
    }

    #[test]
    fn what_is_beyond_the_limits_is_not_judged() {
        let limits = Limits {
            parts_max: 3,
            ..Limits::default()
        };
        let keep = |_: &Seen<'_>| None;
        assert_eq!(remove(MIXED, &limits, keep), Outcome::TooComplex);
    }
}
