//! HTML cut into tags and text, in one walk. Comments, scripts, styles and everything else that is not
//! for reading is left out here.

#![forbid(unsafe_code)]

use mail_parser::decoders::html::add_html_token;
use memchr::memmem;

/// The most attributes of one tag that are looked at.
const ATTRIBUTES_MAX: usize = 64;

/// The longest name of an entity, ampersand and semicolon included.
const ENTITY_BYTES_MAX: usize = 34;

/// Elements whose content is not for reading.
const SKIPPED: &[&str] = &[
    "applet",
    "audio",
    "embed",
    "iframe",
    "math",
    "noembed",
    "noframes",
    "object",
    "plaintext",
    "script",
    "select",
    "style",
    "svg",
    "template",
    "textarea",
    "title",
    "video",
    "xmp",
];

/// A piece of HTML.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Characters, with entities as they were written.
    Text(&'a str),
    /// A start tag.
    Open(Tag<'a>),
    /// An end tag; its name in lower case.
    Close(String),
}

/// A start tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// In lower case.
    pub(super) name: String,
    /// As they were written.
    pub(super) attributes: Vec<(&'a str, &'a str)>,
}

impl Tag<'_> {
    /// The value of the first attribute of this name, decoded.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let found = self
            .attributes
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| unescaped(value))
    }
}

/// Reads HTML piece by piece.
pub(super) struct Tokens<'a> {
    rest: &'a str,
    /// Elements whose end was looked for in vain: it is not looked for again.
    endless: Vec<&'static str>,
}

impl<'a> Tokens<'a> {
    pub(super) const fn new(html: &'a str) -> Self {
        Self {
            rest: html,
            endless: Vec::new(),
        }
    }

    /// Skips up to and including `end`, or everything if there is none.
    fn skip_past(&mut self, end: &str) {
        let at = memmem::find(self.rest.as_bytes(), end.as_bytes());
        self.rest = at.map_or("", |at| &self.rest[at + end.len()..]);
    }

    /// A tag, a comment or just a character; here is a `<`.
    fn markup(&mut self) -> Option<Token<'a>> {
        let after = &self.rest[1..];
        let first = after.bytes().next();
        match first {
            Some(b'!') if after.starts_with("!--") => {
                self.rest = &after[3..];
                self.skip_past("-->");
                None
            }
            Some(b'!' | b'?') => {
                self.skip_past(">");
                None
            }
            Some(b'/') if after[1..].starts_with(|first: char| first.is_ascii_alphabetic()) => {
                self.rest = &after[1..];
                let tag = self.tag()?;
                Some(Token::Close(tag.name))
            }
            Some(first) if first.is_ascii_alphabetic() => {
                self.rest = after;
                let tag = self.tag()?;
                self.skip_content(&tag.name);
                Some(Token::Open(tag))
            }
            _ => {
                let (text, rest) = self.rest.split_at(1);
                self.rest = rest;
                Some(Token::Text(text))
            }
        }
    }

    /// Name and attributes; `None` if the tag has no end.
    fn tag(&mut self) -> Option<Tag<'a>> {
        let ends = |byte: u8| byte.is_ascii_whitespace() || byte == b'/' || byte == b'>';
        let name = self.take_until(ends).to_ascii_lowercase();
        let mut attributes = Vec::new();
        loop {
            self.rest = self
                .rest
                .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                return Some(Tag { name, attributes });
            }
            if self.rest.is_empty() {
                return None;
            }
            let attribute = self.attribute();
            if attributes.len() < ATTRIBUTES_MAX {
                attributes.push(attribute);
            }
        }
    }

    fn attribute(&mut self) -> (&'a str, &'a str) {
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        let ends = |byte: u8| byte.is_ascii_whitespace() || b"/>=".contains(&byte);
        let length = self.rest.as_bytes()[first..]
            .iter()
            .position(|byte| ends(*byte));
        let (name, rest) = self
            .rest
            .split_at(length.map_or(self.rest.len(), |length| first + length));
        self.rest = rest;
        let after = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let Some(after) = after.strip_prefix('=') else {
            return (name, "");
        };
        self.rest = after.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let quote = self
            .rest
            .chars()
            .next()
            .filter(|quote| *quote == '"' || *quote == '\'');
        let value = match quote {
            Some(quote) => {
                self.rest = &self.rest[1..];
                let end = self.rest.find(quote).unwrap_or(self.rest.len());
                let (value, rest) = self.rest.split_at(end);
                self.rest = rest.strip_prefix(quote).unwrap_or(rest);
                value
            }
            None => self.take_until(|byte| byte.is_ascii_whitespace() || byte == b'>'),
        };
        (name, value)
    }

    fn take_until(&mut self, ends: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(ends).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Leaves out what stands in an element that is not for reading.
    fn skip_content(&mut self, name: &str) {
        let Some(name) = SKIPPED.iter().find(|skipped| **skipped == name) else {
            return;
        };
        if self.endless.contains(name) {
            return;
        }
        let mut from = 0;
        while let Some(at) = memmem::find(&self.rest.as_bytes()[from..], b"</") {
            from += at + 2;
            let found = self.rest.as_bytes()[from..].get(..name.len());
            if found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes())) {
                self.rest = &self.rest[from - 2..];
                return;
            }
        }
        // What a browser would take for a script up to the end of the message is not shown either.
        if matches!(
            *name,
            "script" | "style" | "plaintext" | "xmp" | "iframe" | "textarea"
        ) {
            self.rest = "";
        }
        self.endless.push(name);
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        while !self.rest.is_empty() {
            match memchr::memchr(b'<', self.rest.as_bytes()) {
                Some(0) => {
                    if let Some(token) = self.markup() {
                        return Some(token);
                    }
                }
                at => {
                    let (text, rest) = self.rest.split_at(at.unwrap_or(self.rest.len()));
                    self.rest = rest;
                    return Some(Token::Text(text));
                }
            }
        }
        None
    }
}

/// Text with its entities decoded.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'&', rest.as_bytes()) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let within = &rest.as_bytes()[..rest.len().min(ENTITY_BYTES_MAX)];
        let end = within
            .iter()
            .skip(1)
            .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'#');
        let end = end.map_or(within.len(), |end| end + 1);
        let entity = &rest[..end];
        if entity.len() > 1 && rest.as_bytes().get(end) == Some(&b';') {
            add_html_token(&mut plain, &rest.as_bytes()[..=end], false);
            rest = &rest[end + 1..];
        } else if entity.starts_with("&#") && entity.len() > 2 {
            // Numbers count without their semicolon too.
            add_html_token(&mut plain, format!("{entity};").as_bytes(), false);
            rest = &rest[end..];
        } else {
            plain.push_str(entity);
            rest = &rest[end..];
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(html: &str) -> String {
        let text = |token| match token {
            Token::Text(text) => unescaped(text),
            Token::Open(tag) => format!("[{}]", tag.name),
            Token::Close(name) => format!("[/{name}]"),
        };
        Tokens::new(html).map(text).collect()
    }

    #[test]
    fn html_is_cut_into_tags_and_text() {
        for (html, cut) in [
            ("a<B x=1>b</b >c", "a[b]b[/b]c"),
            ("1 < 2 <3 </ 4", "1 < 2 <3 </ 4"),
            ("a<!-- <b> -->c<!-- d", "ac"),
            ("a<![if !mso]>b<?xml?>c<!DOCTYPE html>", "abc"),
            ("<script>if (a<b) '</b>'</SCRIPT>x", "[script][/script]x"),
            ("<style>x", "[style]"),
            ("<svg><a>x</svg>y<svg>z", "[svg][/svg]y[svg]z"),
            ("<a href=\"x>y\" b='<'>z", "[a]z"),
            ("<a <b", ""),
            (
                "&amp;&nbsp;&#65;&#x42&euro;&nothing;&;&lt",
                "&\u{a0}AB\u{20ac}&nothing;&;&lt",
            ),
            ("<a =x =>y", "[a]y"),
        ] {
            assert_eq!(text(html), cut, "{html}");
        }
    }

    #[test]
    fn attributes_are_decoded() {
        let mut tokens = Tokens::new("<a HREF='x?a=1&amp;b=2' title=t/u disabled>");
        let Some(Token::Open(tag)) = tokens.next() else {
            panic!("a tag");
        };
        assert_eq!(tag.value("href").as_deref(), Some("x?a=1&b=2"));
        assert_eq!(tag.value("title").as_deref(), Some("t/u"));
        assert_eq!(tag.value("disabled").as_deref(), Some(""));
        assert_eq!(tag.value("none"), None);
    }
}
