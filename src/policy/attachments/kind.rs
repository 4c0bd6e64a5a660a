//! What a file really is, by its bytes: a small table of what matters to mail, not of all that there is.
//!
//! A file can be two things at once, and nobody can say what each program takes it for. The table asks for the dangerous first.
//! Nothing is unpacked.

#![forbid(unsafe_code)]

use crate::settings::choices;
use memchr::memmem;

choices! {
    /// What a file can be.
    pub enum Kind {
        /// Several files in one: ZIP, RAR, 7z, gzip, xz, bzip2, zstd, tar, CAB, ARJ, ACE, TNEF, disk images.
        Archive = "archive",
        /// A program: Windows, Linux, macOS, Android, Java, WebAssembly.
        Executable = "executable",
        /// HTML or SVG, which may carry scripts. Not the message's own text.
        Html = "html",
        /// An office document with macros.
        Macros = "macros",
        /// A message inside of the message. It is not looked into.
        Message = "message",
        /// A script for an interpreter (`#!`).
        Script = "script",
        /// A Windows shortcut, a help file, a OneNote section: documents whose use is to run something.
        Shortcut = "shortcut",
    }
}

impl Kind {
    /// In words, as the subject of a sentence.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Archive => "archives are",
            Self::Executable => "programs are",
            Self::Html => "files of HTML or SVG are",
            Self::Macros => "documents with macros are",
            Self::Message => "messages inside of messages are",
            Self::Script => "scripts are",
            Self::Shortcut => "shortcuts are",
        }
    }
}

/// First bytes, and what they are a sign of.
const SIGNS: &[(&[u8], Kind)] = &[
    (b"\x7fELF", Kind::Executable),
    (b"\xfe\xed\xfa\xce", Kind::Executable),
    (b"\xfe\xed\xfa\xcf", Kind::Executable),
    (b"\xce\xfa\xed\xfe", Kind::Executable),
    (b"\xcf\xfa\xed\xfe", Kind::Executable),
    // Java classes, and programs for several kinds of Mac.
    (b"\xca\xfe\xba\xbe", Kind::Executable),
    (b"\xca\xfe\xba\xbf", Kind::Executable),
    (b"dex\n", Kind::Executable),
    (b"\0asm", Kind::Executable),
    (b"#!", Kind::Script),
    (b"\xef\xbb\xbf#!", Kind::Script),
    (b"L\0\0\0\x01\x14\x02\0", Kind::Shortcut),
    (b"ITSF\x03\0\0\0", Kind::Shortcut),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", Kind::Shortcut),
    (b"[InternetShortcut]", Kind::Shortcut),
    (b"PK\x03\x04", Kind::Archive),
    (b"PK\x05\x06", Kind::Archive),
    (b"PK\x07\x08", Kind::Archive),
    (b"Rar!\x1a\x07", Kind::Archive),
    (b"7z\xbc\xaf\x27\x1c", Kind::Archive),
    (b"\x1f\x8b", Kind::Archive),
    (b"\xfd7zXZ\0", Kind::Archive),
    (b"BZh", Kind::Archive),
    (b"\x28\xb5\x2f\xfd", Kind::Archive),
    (b"MSCF", Kind::Archive),
    (b"\x60\xea", Kind::Archive),
    (b"x\x9f>\"", Kind::Archive),
    (b"vhdxfile", Kind::Archive),
    (b"conectix", Kind::Archive),
];

/// Words in the middle, and where they stand.
const SIGNS_INSIDE: &[(usize, &[u8], Kind)] = &[
    (7, b"**ACE**", Kind::Archive),
    (257, b"ustar", Kind::Archive),
    (0x8001, b"CD001", Kind::Archive),
];

/// How an HTML or SVG file begins, in lower case, behind blanks.
const MARKUP: &[&[u8]] = &[
    b"<!doctype html",
    b"<!doctype svg",
    b"<html",
    b"<head",
    b"<body",
    b"<script",
    b"<iframe",
    b"<svg",
    b"<meta",
    b"<!--",
];

/// How a compound document (OLE 2) begins.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// The name of the stream of macros in a compound document: `_VBA_PROJECT` in UTF-16.
const MACROS_IN_COMPOUND: &[u8] = b"_\0V\0B\0A\0_\0P\0R\0O\0J\0E\0C\0T\0";

/// The same in a newer document, which is a ZIP archive.
const MACROS_IN_ZIP: &[u8] = b"vbaProject.bin";

/// Only so much of the beginning is looked at for markup.
const HEAD_BYTES: usize = 1024;

/// What these bytes are, if it matters. `said` is the media type that the message gives. What is shown as the text of the
/// message may begin with anything that is text.
#[must_use]
pub fn of(bytes: &[u8], said: &str, is_shown: bool) -> Option<Kind> {
    if is_windows_program(bytes) {
        return Some(Kind::Executable);
    }
    if has_macros(bytes) {
        return Some(Kind::Macros);
    }
    let first = SIGNS.iter().find(|(sign, _)| bytes.starts_with(sign));
    let inside = || {
        let at = |at: usize, sign: &[u8]| bytes.get(at..).is_some_and(|it| it.starts_with(sign));
        SIGNS_INSIDE
            .iter()
            .find(|(place, sign, _)| at(*place, sign))
            .map(|(_, _, kind)| *kind)
    };
    let kind = first.map(|(_, kind)| *kind).or_else(inside);
    match kind {
        Some(kind) if !is_shown || is_binary(bytes) => Some(kind),
        None if !is_shown && (said.starts_with("message/rfc822") || said == "message/global") => {
            Some(Kind::Message)
        }
        None if !is_shown && is_markup(bytes, said) => Some(Kind::Html),
        _ => None,
    }
}

/// `MZ`, and behind it something that no text has; or what has a header for Windows where it says so.
fn is_windows_program(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MZ") && (is_binary(bytes) || bytes.len() == 2)
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(HEAD_BYTES)].contains(&0)
}

fn has_macros(bytes: &[u8]) -> bool {
    let finds = |word: &[u8]| memmem::find(bytes, word).is_some();
    bytes.starts_with(COMPOUND) && finds(MACROS_IN_COMPOUND)
        || bytes.starts_with(b"PK") && finds(MACROS_IN_ZIP)
}

fn is_markup(bytes: &[u8], said: &str) -> bool {
    if matches!(
        said,
        "text/html" | "application/xhtml+xml" | "image/svg+xml"
    ) {
        return true;
    }
    // In UTF-16 there is a zero behind or before each letter.
    let head: Vec<u8> = bytes[..bytes.len().min(HEAD_BYTES)]
        .iter()
        .filter(|byte| !matches!(byte, 0 | 0xef | 0xbb | 0xbf | 0xfe | 0xff))
        .map(u8::to_ascii_lowercase)
        .collect();
    let head = head.trim_ascii_start();
    let begins = |sign: &&[u8]| head.starts_with(sign);
    MARKUP.iter().any(begins) || head.starts_with(b"<?xml") && memmem::find(head, b"<svg").is_some()
}

/// Names that are looked at in one archive; what has more is taken by its first ones.
const NAMES_MAX: usize = 10_000;

/// The longest name that is looked at.
const NAME_BYTES_MAX: usize = 1024;

/// The heads of a file in a ZIP archive: where in them the length of the name stands, and where the name.
const ZIP_HEADS: [(&[u8], usize, usize); 2] = [(b"PK\x01\x02", 28, 46), (b"PK\x03\x04", 26, 30)];

/// The names of the files in a ZIP archive, wherever it begins. All that looks like the head of a file is taken for one, so
/// it does not matter which of several tables of contents a program would believe.
pub fn names_in_zip(bytes: &[u8]) -> impl Iterator<Item = String> {
    ZIP_HEADS
        .into_iter()
        .flat_map(move |(sign, length_at, name_at)| {
            let heads = memmem::find_iter(bytes, sign).take(NAMES_MAX);
            heads.filter_map(move |at| {
                let head = &bytes[at..];
                let [low, high] = head.get(length_at..length_at + 2)?.try_into().ok()?;
                let length = usize::from(u16::from_le_bytes([low, high])).min(NAME_BYTES_MAX);
                let name = head.get(name_at..name_at + length)?;
                Some(String::from_utf8_lossy(name).into_owned())
            })
        })
}
