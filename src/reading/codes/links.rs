//! Verification links: judged by what stands on them, what stands before them, and by their addresses.

#![forbid(unsafe_code)]

use super::lexicon::Lexicon;
use super::searched::{Searched, Word, lowered};
use super::{CONFIDENCE_MIN, Given, Link, Place, keep_best, rounded, words};
use std::sync::LazyLock;

/// The most links of a text that are looked at.
const URLS_MAX: usize = 200;

/// The longest address that is looked at, in bytes: a bound on cost, since each is searched for words and copied. Those
/// that verify something are far shorter.
const URL_BYTES_MAX: usize = 4096;

/// How many characters before a bare address say what it is for.
const CONTEXT_CHARS: usize = 160;

/// So many characters in a row that no person would write are a secret.
const SECRET_CHARS_MIN: usize = 16;

/// What is said of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// That it is for something else.
    Against,
    /// That it lets its holder in.
    Enters,
    /// That it verifies something.
    Verifies,
}

static SAID: LazyLock<Lexicon<Says>> = LazyLock::new(|| {
    Lexicon::new(&[
        (Says::Verifies, words::LINK_VERIFY),
        (Says::Enters, words::LINK_ENTER),
        (Says::Against, words::LINK_AGAINST),
    ])
});

/// A link before it is judged.
struct Candidate<'a> {
    url: &'a str,
    text: &'a str,
    /// What stands before it, for links that stand on nothing.
    context: String,
    place: Place,
    offset: usize,
}

/// Finds the links of a message that verify something, the surest first.
pub(super) fn find(given: &Given<'_>, subject: &Searched, text: &Searched) -> Vec<Link> {
    let speaks_of_it = subject.has(Word::Verify) || text.has(Word::Verify);
    let mut found: Vec<Link> = Vec::new();
    let candidates = anchors(given).chain(bare(given.text));
    for candidate in candidates.filter(|it| it.url.len() <= URL_BYTES_MAX) {
        let confidence = judge(&candidate, speaks_of_it);
        let same = |known: &&mut Link| known.url == candidate.url;
        if let Some(known) = found.iter_mut().find(same) {
            known.confidence = known.confidence.max(rounded(confidence));
        } else if confidence >= CONFIDENCE_MIN {
            found.push(Link {
                url: candidate.url.to_owned(),
                text: candidate.text.to_owned(),
                confidence: rounded(confidence),
                place: candidate.place,
                offset: candidate.offset,
            });
        }
    }
    found.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    keep_best(&mut found, |link| link.confidence);
    found
}

fn anchors<'a>(given: &Given<'a>) -> impl Iterator<Item = Candidate<'a>> {
    let (place, whole) = match given.html {
        Some(html) => (Place::Html, html),
        None => (Place::Text, given.text),
    };
    let (mut counted, mut characters) = (0, 0);
    given
        .links
        .iter()
        .take(URLS_MAX)
        .map(move |(url, text, at)| {
            // Links come in order, so each character is counted once.
            if let Some(between) = whole.get(counted..*at) {
                (counted, characters) = (*at, characters + between.chars().count());
            }
            // An address on a link says no more than the link; then what stands before it counts.
            let is_bare = text.is_empty() || text.contains("://");
            Candidate {
                url,
                text,
                context: if is_bare {
                    before(whole, *at)
                } else {
                    String::new()
                },
                place,
                offset: characters,
            }
        })
}

/// The end of what stands before a place, up to the link before it.
fn before(text: &str, at: usize) -> String {
    let text = text.get(..at).unwrap_or_default();
    let start = text
        .char_indices()
        .rev()
        .nth(CONTEXT_CHARS)
        .map_or(0, |(start, _)| start);
    let near = &text[start..];
    let near = near.rfind("://").map_or(near, |scheme| {
        near[scheme..]
            .find(char::is_whitespace)
            .map_or("", |end| &near[scheme + end..])
    });
    // A paragraph of its own begins with what the link is for, or the one before it ends with a colon.
    let near = match near.trim_end().rfind("\n\n") {
        Some(paragraph) => &near[paragraph..],
        None => near,
    };
    lowered(near)
}

/// Addresses that stand in the text as they are. One inside another is a part of that one.
fn bare(text: &str) -> impl Iterator<Item = Candidate<'_>> {
    let starts = memchr::memmem::find_iter(text.as_bytes(), "://");
    let (mut counted, mut characters, mut end) = (0, 0, 0);
    let addresses = starts.filter_map(move |colon| {
        if colon < end {
            return None;
        }
        let scheme = ["https", "http"]
            .iter()
            .find(|scheme| text[..colon].ends_with(**scheme))?;
        let start = colon - scheme.len();
        characters += text
            .get(counted..start)
            .map_or(0, |between| between.chars().count());
        counted = start;
        let rest = &text[start..];
        let ends = |c: char| c.is_whitespace() || "<>\"'()[]{}|\\^`".contains(c) || !c.is_ascii();
        let url = &rest[..rest.find(ends).unwrap_or(rest.len())];
        end = start + url.len();
        let url = url.trim_end_matches(['.', ',', ';', ':', '!', '?']);
        Some(Candidate {
            url,
            text: "",
            context: before(text, start),
            place: Place::Text,
            offset: characters,
        })
    });
    // What is no address costs little and is not counted.
    addresses.take(URLS_MAX)
}

fn judge(candidate: &Candidate<'_>, speaks_of_it: bool) -> f32 {
    let said = if candidate.context.is_empty() {
        lowered(candidate.text)
    } else {
        candidate.context.clone()
    };
    let url = candidate.url.to_ascii_lowercase();
    let (host, path) = split(&url);
    let has = |text: &str, list| words::each(list).any(|word| text.contains(word));
    if has(host, words::HOST_AGAINST) || has(path, words::URL_AGAINST) {
        return 0.0;
    }
    let (mut verifies, mut enters, mut against) = (false, false, false);
    for found in SAID.find(&said) {
        match found.stands_for {
            Says::Against => against = true,
            Says::Enters => enters = true,
            Says::Verifies => verifies = true,
        }
    }
    let url_verifies = has(path, words::URL_VERIFY);
    let url_enters = has(path, words::URL_ENTER);
    let secret = has_secret(candidate.url);
    let mut score: f32 = match (verifies, enters) {
        (true, _) => 0.6,
        (false, true) if secret => 0.55,
        _ => 0.0,
    };
    if url_verifies {
        score += if score == 0.0 && secret {
            0.45
        } else if secret {
            0.35
        } else {
            0.25
        };
    } else if url_enters && secret {
        score += 0.25;
    } else if secret && score > 0.0 {
        score += 0.15;
    }
    if verifies && !secret && !url_verifies {
        score -= 0.2;
    }
    if score > 0.0 && speaks_of_it {
        score += 0.1;
    }
    if against {
        score -= if candidate.context.is_empty() {
            0.6
        } else {
            0.3
        };
    }
    score
}

/// The host of an address, and all behind it.
fn split(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find(['/', '?', '#'])
        .map_or((rest, ""), |at| rest.split_at(at))
}

/// Whether an address carries something that nobody can guess.
fn has_secret(url: &str) -> bool {
    let (_, path) = split(url);
    let pieces =
        path.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_' && c != '%');
    pieces.into_iter().any(|piece| {
        let digits = piece.bytes().filter(u8::is_ascii_digit).count();
        let capitals = piece.bytes().filter(u8::is_ascii_uppercase).count();
        piece.len() >= SECRET_CHARS_MIN && (digits >= 2 || capitals >= 3)
    }) || path.split(['?', '&']).skip(1).any(|parameter| {
        let value = parameter.split_once('=').map_or("", |(_, value)| value);
        let name = parameter
            .split('=')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        value.len() >= 6
            && ["token", "code", "key", "hash", "sig", "otp", "t", "k", "c"]
                .contains(&name.as_str())
    })
}
