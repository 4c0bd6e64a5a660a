//! HTML made harmless, and made into text.
//!
//! Two layers. The first rewrites what a stranger wrote into plain, balanced HTML of few elements: so
//! the second, the sanitiser, meets nothing on which parsers are slow or disagree. Neither is the
//! boundary: that is the sandbox in which the result is shown. Nothing is ever loaded from elsewhere.

#![forbid(unsafe_code)]

use super::Limits;
use super::names::is_deceptive;
use super::tokens::{Tag, Token, Tokens, unescaped};
use ammonia::Builder;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

/// How deep elements may be nested.
const DEPTH_MAX: usize = 100;

/// How many of them may change how letters look: parsers open these again in every paragraph.
const FORMATTING_MAX: usize = 8;

/// The most links and blocked addresses that are listed.
const LISTED_MAX: usize = 200;

/// The longest address that is kept.
const URL_BYTES_MAX: usize = 8 << 10;

/// The longest other attribute that is kept, and the longest text of a link.
const VALUE_BYTES_MAX: usize = 1 << 10;

const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "center",
    "details",
    "dl",
    "div",
    "figcaption",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "ul",
];
const FORMATTING: &[&str] = &[
    "a", "b", "big", "code", "em", "font", "i", "s", "small", "strike", "strong", "tt", "u",
];
const OTHERS: &[&str] = &[
    "abbr", "bdi", "bdo", "br", "caption", "cite", "col", "colgroup", "dd", "del", "dfn", "dt",
    "img", "ins", "kbd", "li", "mark", "q", "samp", "span", "sub", "sup", "tbody", "td", "tfoot",
    "th", "thead", "tr", "var", "wbr",
];
const VOID: &[&str] = &["br", "col", "hr", "img", "wbr"];

/// What an element closes, and what hides the ones further out from it.
const CLOSES: &[(&str, &[&str], &[&str])] = &[
    ("a", &["a"], &["table", "td", "th"]),
    ("dd", &["dd", "dt"], &["dl"]),
    ("dt", &["dd", "dt"], &["dl"]),
    ("li", &["li"], &["ol", "ul"]),
    ("tbody", &["tbody", "tfoot", "thead"], &["table"]),
    ("td", &["td", "th"], &["table", "tr"]),
    ("tfoot", &["tbody", "tfoot", "thead"], &["table"]),
    ("th", &["td", "th"], &["table", "tr"]),
    ("tr", &["tr"], &["table"]),
];

/// Attributes that are kept on every element.
const ATTRIBUTES: &[&str] = &[
    "align",
    "alt",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "color",
    "colspan",
    "dir",
    "face",
    "height",
    "lang",
    "rowspan",
    "size",
    "start",
    "style",
    "title",
    "valign",
    "width",
];

/// Properties of `style` attributes that are kept: none of them moves anything out of its place.
const PROPERTIES: &[&str] = &[
    "background-color",
    "border",
    "border-bottom",
    "border-collapse",
    "border-color",
    "border-left",
    "border-radius",
    "border-right",
    "border-spacing",
    "border-style",
    "border-top",
    "border-width",
    "color",
    "direction",
    "display",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "height",
    "letter-spacing",
    "line-height",
    "list-style-type",
    "margin",
    "margin-bottom",
    "margin-left",
    "margin-right",
    "margin-top",
    "max-height",
    "max-width",
    "min-height",
    "min-width",
    "padding",
    "padding-bottom",
    "padding-left",
    "padding-right",
    "padding-top",
    "text-align",
    "text-decoration",
    "text-transform",
    "unicode-bidi",
    "vertical-align",
    "white-space",
    "width",
    "word-break",
];

/// Images that browsers show without running anything, with the bytes that they begin with.
const IMAGES: &[(&str, &[u8])] = &[
    ("image/gif", b"GIF8"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/webp", b"RIFF"),
];

/// The media type of an image that may be shown inside HTML; what its bytes are counts, not its label.
pub(super) fn image_kind(bytes: &[u8]) -> Option<&'static str> {
    let known = IMAGES.iter().find(|(_, begins)| bytes.starts_with(begins));
    let known =
        known.filter(|(kind, _)| *kind != "image/webp" || bytes.get(8..12) == Some(b"WEBP"));
    known.map(|(kind, _)| *kind)
}

/// What `cid:` of an image means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// This `data:` URL.
    Data(String),
    /// The attachment of this index, too large or too strange to be shown in its place.
    Attachment(usize),
    /// Nothing.
    Unknown,
}

/// Whether images from elsewhere are loaded when HTML is shown. Loading them tells their sender who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Nothing is loaded; what would have been is listed.
    Blocked,
    /// Images are loaded, over HTTPS only.
    Shown,
}

/// A link as it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Where it leads: `http:`, `https:` or `mailto:`.
    pub url: String,
    /// What people see of it.
    pub text: String,
    /// Where that begins in the text that was made of the HTML, in bytes.
    pub offset: usize,
}

/// What became of a piece of HTML.
#[derive(Clone, Debug, Default)]
pub struct Html {
    /// Harmless HTML. Show it in a sandbox all the same.
    pub clean: String,
    /// What people see of it, as text.
    pub text: String,
    /// Its links.
    pub anchors: Vec<Anchor>,
    /// Addresses from which images or backgrounds would have been loaded.
    pub remote: Vec<String>,
    /// Images of the message that are shown in it.
    pub images: u32,
    /// Whether a limit left something out.
    pub is_truncated: bool,
}

/// Reads HTML: its text and links, and, with somebody to ask for images, its harmless form.
pub(super) fn read(
    html: &str,
    limits: &Limits,
    images: Option<&mut dyn FnMut(&str) -> Image>,
    remote: Remote,
) -> Html {
    let cut = &html[..html.floor_char_boundary(limits.html_bytes_max.as_usize())];
    let sanitises = images.is_some();
    let mut writer = Writer {
        images,
        remote,
        elements_left: limits.html_elements_max,
        out: String::new(),
        open: Vec::new(),
        found: Html {
            is_truncated: cut.len() < html.len(),
            ..Html::default()
        },
        anchor: None,
        blank: true,
    };
    for token in Tokens::new(cut) {
        match token {
            Token::Text(text) => writer.text(text),
            Token::Open(tag) => writer.open(&tag),
            Token::Close(name) => writer.close(&name),
        }
    }
    writer.close_down_to(0);
    writer.end_anchor();
    let mut found = writer.found;
    if sanitises {
        found.clean = sanitiser(remote).clean(&writer.out).to_string();
    }
    found.text.truncate(found.text.trim_end().len());
    found
}

struct Writer<'i> {
    images: Option<&'i mut dyn FnMut(&str) -> Image>,
    remote: Remote,
    elements_left: u32,
    /// What the sanitiser will get.
    out: String,
    /// Elements that are open, the innermost last. All of them are also open in `out`.
    open: Vec<String>,
    found: Html,
    /// The link that is open: its address and where its text begins.
    anchor: Option<(String, usize)>,
    /// Whether the text ends with a blank or a line end.
    blank: bool,
}

fn is_known(name: &str) -> bool {
    [BLOCKS, FORMATTING, OTHERS]
        .iter()
        .any(|names| names.contains(&name))
}

impl Writer<'_> {
    fn text(&mut self, text: &str) {
        let plain = unescaped(text);
        if self.images.is_some() {
            escape_into(&plain, &mut self.out);
        }
        let is_pre = self.open.iter().any(|name| name == "pre");
        for character in plain.chars() {
            let is_blank = character.is_whitespace();
            if is_blank && !is_pre {
                if !self.blank {
                    self.found.text.push(' ');
                }
            } else if !is_deceptive(character) || character == '\n' || character == '\t' {
                self.found.text.push(character);
            }
            self.blank = is_blank || (self.blank && is_deceptive(character));
        }
    }

    /// Begins a new line of text unless one has just begun.
    fn new_line(&mut self, lines: usize) {
        let text = &mut self.found.text;
        text.truncate(text.trim_end_matches(' ').len());
        if text.is_empty() {
            return;
        }
        let there = text.len() - text.trim_end_matches('\n').len();
        text.extend(std::iter::repeat_n('\n', lines.saturating_sub(there)));
        self.blank = true;
    }

    fn open(&mut self, tag: &Tag<'_>) {
        let name = tag.name.as_str();
        if let Some(background) = tag.value("background") {
            self.block(&background);
        }
        if !is_known(name) {
            return;
        }
        self.imply(name);
        self.open_text(tag);
        let formatting = self
            .open
            .iter()
            .filter(|name| FORMATTING.contains(&name.as_str()));
        let is_too_much = self.elements_left == 0
            || self.open.len() >= DEPTH_MAX
            || FORMATTING.contains(&name) && formatting.count() >= FORMATTING_MAX;
        if is_too_much {
            self.found.is_truncated |= self.elements_left == 0;
            return;
        }
        self.elements_left -= 1;
        if self.images.is_some() {
            self.write_tag(tag);
        }
        if !VOID.contains(&name) {
            self.open.push(name.to_owned());
        }
    }

    /// What a tag means for text and links.
    fn open_text(&mut self, tag: &Tag<'_>) {
        match tag.name.as_str() {
            "br" | "tr" => self.new_line_always(tag.name == "br"),
            "li" => {
                self.new_line(1);
                self.found.text.push_str("- ");
            }
            "dd" | "dt" | "caption" => self.new_line(1),
            "td" | "th" if !self.blank => {
                self.found.text.push(' ');
                self.blank = true;
            }
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.new_line(2),
            "img" => {
                if let Some(alt) = tag.value("alt").filter(|alt| alt.len() <= VALUE_BYTES_MAX)
                    && self.anchor.is_some()
                {
                    self.found
                        .text
                        .extend(alt.chars().filter(|c| !is_deceptive(*c)));
                    self.blank = alt.is_empty() && self.blank;
                }
            }
            "a" => {
                self.end_anchor();
                let url = tag.value("href").and_then(|url| safe_url(&url));
                self.anchor = url.map(|url| (url, self.found.text.len()));
            }
            block if BLOCKS.contains(&block) => self.new_line(1),
            _ => {}
        }
    }

    fn new_line_always(&mut self, always: bool) {
        if always {
            let text = &mut self.found.text;
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
            self.blank = true;
        } else {
            self.new_line(1);
        }
    }

    fn end_anchor(&mut self) {
        if let Some((url, start)) = self.anchor.take() {
            // Line breaks may have taken blanks away.
            let text = self.found.text.get(start..).unwrap_or_default();
            let offset = start + text.len() - text.trim_start().len();
            let text = text.trim();
            let text = text[..text.floor_char_boundary(VALUE_BYTES_MAX)].to_owned();
            if self.found.anchors.len() < LISTED_MAX {
                self.found.anchors.push(Anchor { url, text, offset });
            }
        }
    }

    /// Closes what the rules of HTML close when `name` begins.
    fn imply(&mut self, name: &str) {
        let is_block = BLOCKS.contains(&name);
        if is_block && self.open.last().is_some_and(|last| last == "p") {
            self.close_down_to(self.open.len() - 1);
        }
        let Some((_, closes, hides)) = CLOSES.iter().find(|(known, ..)| *known == name) else {
            return;
        };
        for (at, open) in self.open.iter().enumerate().rev() {
            if closes.contains(&open.as_str()) {
                self.close_down_to(at);
                return;
            }
            if hides.contains(&open.as_str()) {
                return;
            }
        }
    }

    fn close(&mut self, name: &str) {
        if name == "a" {
            self.end_anchor();
        }
        if BLOCKS.contains(&name) {
            self.new_line(1);
        }
        if let Some(at) = self.open.iter().rposition(|open| open == name) {
            self.close_down_to(at);
        }
    }

    /// Closes all elements from the `depth`th on, the innermost first.
    fn close_down_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            if let Some(name) = self.open.pop()
                && self.images.is_some()
            {
                self.out.push_str("</");
                self.out.push_str(&name);
                self.out.push('>');
            }
        }
    }

    fn write_tag(&mut self, tag: &Tag<'_>) {
        self.out.push('<');
        self.out.push_str(&tag.name);
        for name in ATTRIBUTES {
            let Some(value) = tag
                .value(name)
                .filter(|value| value.len() <= VALUE_BYTES_MAX)
            else {
                continue;
            };
            if *name == "style" && !self.is_quiet(&value) {
                continue;
            }
            self.attribute(name, &value);
        }
        if tag.name == "a"
            && let Some(url) = tag.value("href").and_then(|url| safe_url(&url))
        {
            self.attribute("href", &url);
            self.attribute("target", "_blank");
        }
        if tag.name == "img" {
            self.image(tag);
        }
        self.out.push('>');
    }

    /// Whether a style loads nothing and hides nothing in escapes.
    fn is_quiet(&mut self, style: &str) -> bool {
        let lower = style.to_ascii_lowercase();
        if let Some((_, after)) = lower.split_once("url(") {
            let url = after.split(')').next().unwrap_or_default();
            self.block(url.trim_matches([' ', '"', '\'']));
        }
        !["url(", "image-set", "\\", "@", "/*", "expression"]
            .iter()
            .any(|loud| lower.contains(loud))
    }

    fn image(&mut self, tag: &Tag<'_>) {
        for source in tag
            .value("srcset")
            .iter()
            .flat_map(|set| set.split(','))
            .take(16)
        {
            self.block(source.trim().split(' ').next().unwrap_or_default());
        }
        let Some(source) = tag.value("src") else {
            return;
        };
        let source = source.trim();
        let is_scheme = |scheme: &str| {
            source
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if is_scheme("cid:") {
            let image = self.images.as_mut().map(|images| images(&source[4..]));
            match image {
                Some(Image::Data(url)) => {
                    self.attribute("src", &url);
                    self.found.images += 1;
                }
                Some(Image::Attachment(index)) => {
                    self.attribute("data-attachment", &index.to_string());
                }
                Some(Image::Unknown) | None => {}
            }
        } else if is_data_image(source) {
            self.attribute("src", source);
        } else if self.block(source) {
            let source = source.replace(['\r', '\n', '\t'], "");
            match self.remote {
                Remote::Blocked => self.attribute("data-remote", &source),
                Remote::Shown => self.attribute("src", &over_https(&source)),
            }
        }
    }

    /// Notes an address that nothing is loaded from; `false` if it is none.
    fn block(&mut self, source: &str) -> bool {
        let source = source.trim();
        let absolute: Cow<'_, str> = if source.starts_with("//") {
            format!("https:{source}").into()
        } else {
            source.into()
        };
        let Some(url) = safe_url(&absolute).filter(|url| !url.starts_with("mailto:")) else {
            return false;
        };
        if self.found.remote.len() < LISTED_MAX && !self.found.remote.contains(&url) {
            self.found.remote.push(url);
        }
        true
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape_into(value, &mut self.out);
        self.out.push('"');
    }
}

/// A link that may be followed: to a page or to a mail program, without the characters that browsers
/// leave out before they look at the scheme.
pub(super) fn safe_url(url: &str) -> Option<String> {
    let url: String = url.trim().chars().filter(|c| !is_deceptive(*c)).collect();
    let is = |scheme: &str| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let is_safe = (is("http://") || is("https://") || is("mailto:"))
        && !url.contains(['<', '>', '"', '\\', ' ']);
    (is_safe && url.len() <= URL_BYTES_MAX).then_some(url)
}

/// The same address, asked for over HTTPS.
fn over_https(source: &str) -> String {
    let rest = source.split_once("//").map_or(source, |(_, rest)| rest);
    format!("https://{rest}")
}

fn is_data_image(source: &str) -> bool {
    let kinds = IMAGES.iter().map(|(kind, _)| kind);
    kinds.into_iter().any(|kind| {
        let rest = source
            .strip_prefix("data:")
            .and_then(|rest| rest.strip_prefix(kind));
        rest.is_some_and(|rest| rest.starts_with(";base64,"))
    })
}

/// Escapes what means something in HTML; control characters go.
pub(super) fn escape_into(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            control if control.is_control() => {}
            other => out.push(other),
        }
    }
}

/// Text as HTML in which its lines stay lines.
#[must_use]
pub fn of_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(text, &mut escaped);
    escaped.replace('\n', "<br>\n")
}

/// The second layer. It trusts nothing that the first one wrote.
fn sanitiser(remote: Remote) -> &'static Builder<'static> {
    static BLOCKING: OnceLock<Builder<'static>> = OnceLock::new();
    static SHOWING: OnceLock<Builder<'static>> = OnceLock::new();
    let (sanitiser, shows) = match remote {
        Remote::Blocked => (&BLOCKING, false),
        Remote::Shown => (&SHOWING, true),
    };
    sanitiser.get_or_init(|| {
        let tags: HashSet<&str> = [BLOCKS, FORMATTING, OTHERS].concat().into_iter().collect();
        let own: HashMap<&str, HashSet<&str>> = HashMap::from([
            ("a", HashSet::from(["href", "target"])),
            (
                "img",
                HashSet::from(["src", "data-remote", "data-attachment"]),
            ),
        ]);
        let mut builder = Builder::empty();
        builder
            .tags(tags)
            .clean_content_tags(HashSet::from([
                "script", "style", "svg", "math", "template",
            ]))
            .tag_attributes(own)
            .generic_attributes(ATTRIBUTES.iter().copied().collect())
            .filter_style_properties(PROPERTIES.iter().copied().collect())
            .url_schemes(HashSet::from(["http", "https", "mailto", "data"]))
            .attribute_filter(
                move |element, attribute, value| match (element, attribute) {
                    ("a", "href") => safe_url(value).map(Cow::Owned),
                    ("a", "target") => Some(Cow::Borrowed("_blank")),
                    ("img", "src") if is_data_image(value) => Some(Cow::Borrowed(value)),
                    ("img", "src") if shows && value.starts_with("https://") => {
                        safe_url(value).map(Cow::Owned)
                    }
                    ("img", "src") => None,
                    _ => Some(Cow::Borrowed(value)),
                },
            )
            .strip_comments(true)
            .link_rel(Some("noopener noreferrer nofollow"));
        builder
    })
}

#[cfg(test)]
mod tests;
