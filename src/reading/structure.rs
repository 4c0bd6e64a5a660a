//! The parts of a message (RFC 2046, section 5.1), found in one walk over its lines.
//!
//! There is no recursion: a stack of open boundaries is all that nesting means. Each line is compared
//! with the open boundaries and never looked at again.

#![forbid(unsafe_code)]

use super::Limits;
use super::fields::{About, Header, line};
use std::ops::Range;

/// A part that has no parts.
#[derive(Debug)]
pub(super) struct Part {
    /// Where its header begins.
    pub(super) start: usize,
    /// Where its header ends.
    pub(super) header_end: usize,
    pub(super) about: About,
    pub(super) body: Range<usize>,
    /// Whether another part says the same in another way.
    pub(super) is_alternative: bool,
}

/// What a message is made of.
#[derive(Debug, Default)]
pub(super) struct Structure {
    pub(super) header: Header,
    /// In the order of the message.
    pub(super) parts: Vec<Part>,
    /// Whether a limit left something out.
    pub(super) is_truncated: bool,
    /// Whether the message breaks the rules of MIME.
    pub(super) is_malformed: bool,
}

/// A multipart that has begun.
struct Open {
    boundary: Vec<u8>,
    is_alternative: bool,
    is_digest: bool,
}

/// A line that separates parts.
#[derive(Clone, Copy)]
struct Delimiter {
    /// Which open multipart it belongs to.
    level: usize,
    /// Whether that multipart is over.
    closes: bool,
}

struct Walk<'a> {
    raw: &'a [u8],
    at: usize,
    open: Vec<Open>,
}

impl Structure {
    pub(super) fn of(raw: &[u8], limits: &Limits) -> Self {
        let mut walk = Walk {
            raw,
            at: 0,
            open: Vec::new(),
        };
        let mut found = Self::default();
        let mut seen = 0;
        loop {
            seen += 1;
            if seen > limits.parts_max {
                found.is_truncated = true;
                return found;
            }
            walk.entity(limits, &mut found, seen == 1);
            if !walk.next_part(&mut found) {
                return found;
            }
        }
    }
}

impl Walk<'_> {
    /// The header here, and the body if it has no parts of its own.
    fn entity(&mut self, limits: &Limits, found: &mut Structure, is_root: bool) {
        let open = &self.open;
        let start = self.at;
        let header = Header::at(self.raw, start, |text| delimiter(open, text).is_some());
        let default_kind = match self.open.last() {
            Some(parent) if parent.is_digest => "message/rfc822",
            _ => "text/plain",
        };
        let mut about = About::of(self.raw, &header, default_kind);
        let header_end = header.end;
        self.at = header_end;
        found.is_malformed |= header.is_broken;
        found.is_truncated |= header.is_cut;
        if is_root {
            found.header = header;
        }
        let is_alternative = self.open.iter().any(|open| open.is_alternative);
        let part = |about, body| Part {
            start,
            header_end,
            about,
            body,
            is_alternative,
        };
        if let Some(subtype) = about.kind.strip_prefix("multipart/") {
            let boundary = about
                .boundary
                .take()
                .filter(|boundary| !boundary.is_empty());
            let fits = self.open.len() < limits.depth_max as usize;
            if let (Some(boundary), true) = (boundary, fits) {
                self.open.push(Open {
                    boundary,
                    is_alternative: subtype == "alternative",
                    is_digest: subtype == "digest",
                });
                let level = self.open.len() - 1;
                let preamble = self.until_delimiter();
                if self.delimits(level) {
                    return;
                }
                // Its boundary never comes: what is here is shown as text.
                self.open.pop();
                found.is_malformed = true;
                let about = About {
                    kind: "text/plain".to_owned(),
                    ..About::default()
                };
                found.parts.push(part(about, header_end..preamble));
                return;
            }
            found.is_malformed |= fits;
            found.is_truncated |= !fits;
            let kind = if fits {
                "text/plain"
            } else {
                "application/octet-stream"
            };
            about = About {
                kind: kind.to_owned(),
                ..About::default()
            };
        }
        let end = self.until_delimiter();
        found.parts.push(part(about, header_end..end));
    }

    /// Goes to the next line that separates parts, or to the end; says where the body before it ends.
    fn until_delimiter(&mut self) -> usize {
        let start = self.at;
        while self.at < self.raw.len() {
            let (range, next) = line(self.raw, self.at);
            if delimiter(&self.open, &self.raw[range]).is_some() {
                // The line end before a delimiter belongs to it.
                let before = &self.raw[start..self.at];
                let before = before.strip_suffix(b"\n").unwrap_or(before);
                let before = before.strip_suffix(b"\r").unwrap_or(before);
                return start + before.len();
            }
            self.at = next;
        }
        self.raw.len()
    }

    /// Whether the line here separates parts of this level.
    fn delimits(&self, level: usize) -> bool {
        let (range, _) = line(self.raw, self.at);
        delimiter(&self.open, &self.raw[range]).is_some_and(|delimiter| delimiter.level == level)
    }

    /// Goes to the beginning of the next part; `false` at the end of the message.
    fn next_part(&mut self, found: &mut Structure) -> bool {
        while self.at < self.raw.len() {
            let (range, next) = line(self.raw, self.at);
            let Some(delimiter) = delimiter(&self.open, &self.raw[range]) else {
                self.until_delimiter();
                continue;
            };
            self.at = next;
            found.is_malformed |= delimiter.level + 1 < self.open.len();
            self.open.truncate(delimiter.level + 1);
            if !delimiter.closes {
                return true;
            }
            self.open.pop();
            if self.open.is_empty() {
                return false;
            }
        }
        found.is_malformed |= !self.open.is_empty();
        false
    }
}

/// What this line separates; the innermost multipart is asked first.
fn delimiter(open: &[Open], text: &[u8]) -> Option<Delimiter> {
    let text = text.strip_prefix(b"--")?;
    let levels = open.iter().enumerate().rev();
    levels.into_iter().find_map(|(level, open)| {
        let rest = text
            .strip_prefix(open.boundary.as_slice())?
            .trim_ascii_end();
        let closes = rest.starts_with(b"--");
        (rest.is_empty() || closes).then_some(Delimiter { level, closes })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(raw: &str) -> (Vec<(String, String)>, bool, bool) {
        let found = Structure::of(raw.as_bytes(), &Limits::default());
        let part = |part: &Part| (part.about.kind.clone(), raw[part.body.clone()].to_owned());
        let parts = found.parts.iter().map(part).collect();
        (parts, found.is_malformed, found.is_truncated)
    }

    fn multipart(boundary: &str, inside: &str) -> String {
        format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\n\n{inside}")
    }

    #[test]
    fn parts_are_found() {
        let raw = multipart(
            "a",
            "pre\n--a\n\none\n--a\nContent-Type: text/html\n\ntwo\n\n--a--\nepi\n",
        );
        let (parts, malformed, truncated) = bodies(&raw);
        let expected = [("text/plain", "one"), ("text/html", "two\n")];
        assert_eq!(
            parts,
            expected.map(|(kind, body)| (kind.to_owned(), body.to_owned()))
        );
        assert!(!malformed && !truncated);
    }

    #[test]
    fn j3_boundaries_of_all_lengths() {
        for length in [1, 70, 2_048, 28_000] {
            let boundary = "b".repeat(length);
            let raw = multipart(&boundary, &format!("--{boundary}\n\none\n--{boundary}--\n"));
            assert_eq!(bodies(&raw).0[0].1, "one", "{length}");
        }
        let (parts, malformed, _) = bodies(&multipart("", "--\n\none\n----\n"));
        assert!(malformed && parts[0].1.contains("one"));
    }

    #[test]
    fn j3_broken_multiparts_show_what_they_have() {
        // No closing line; a boundary that never comes; one that is the parent's.
        let (parts, malformed, _) = bodies(&multipart("a", "--a\n\none"));
        assert!(malformed && parts[0].1 == "one");
        let (parts, malformed, _) = bodies(&multipart("a", "never\n"));
        assert!(malformed && parts[0].1 == "never\n");
        let inner = multipart("a", "--a\n\ninner\n--a--\n");
        let (parts, malformed, _) = bodies(&multipart("a", &format!("--a\n{inner}--a--\n")));
        assert_eq!((&*parts[0].1, malformed), ("inner", false));
        let inner = multipart("b", "--b\n\ninner\n");
        let (parts, malformed, _) = bodies(&multipart(
            "a",
            &format!("--a\n{inner}\n--a\n\nouter\n--a--\n"),
        ));
        let texts: Vec<&str> = parts.iter().map(|(_, body)| &**body).collect();
        assert!(malformed);
        assert_eq!(texts, ["inner\n", "outer"]);
        // A part without an empty line between header and body.
        let (parts, malformed, _) = bodies(&multipart("a", "--a\nA: b\n--a\n\ntwo\n--a--\n"));
        assert_eq!((parts.len(), malformed), (2, true));
    }

    #[test]
    fn j2_depth_is_a_number_not_a_recursion() {
        let mut raw = String::new();
        for level in 0..10_000 {
            raw.push_str(&multipart(&format!("b{level}."), &format!("--b{level}.\n")));
        }
        raw.push_str("\ndeep\n");
        let found = Structure::of(raw.as_bytes(), &Limits::default());
        assert!(found.is_truncated);
        assert_eq!(found.parts.len(), 1);
        let nested = "Content-Type: message/rfc822\n\n".repeat(10_000);
        let found = Structure::of(nested.as_bytes(), &Limits::default());
        assert_eq!(found.parts[0].about.kind, "message/rfc822");
        assert_eq!(found.parts.len(), 1);
    }

    #[test]
    fn j1_parts_are_counted_before_they_are_made() {
        let raw = multipart("a", &"--a\nx:y\n\n".repeat(100_000));
        let found = Structure::of(raw.as_bytes(), &Limits::default());
        assert!(found.is_truncated);
        assert_eq!(found.parts.len(), 999);
    }
}
