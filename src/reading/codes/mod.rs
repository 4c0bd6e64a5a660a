//! One-time codes and verification links, found by their shape and by the words around them. No
//! service is asked and nothing is learnt: the same message gives the same answer.
//!
//! Every search is one walk: words are looked for once in the whole text, candidates are counted, and
//! each is judged by the words within a short distance of it.

#![forbid(unsafe_code)]

mod candidates;
mod lexicon;
mod links;
mod searched;

use super::words;
use candidates::{Candidate, Shape, candidates};
use searched::{Hit, Searched, Word};

/// What is less sure than this is not said.
pub const CONFIDENCE_MIN: f32 = 0.5;

/// The most codes, and the most links, that are said of one message.
const FINDINGS_MAX: usize = 5;

/// How much less sure than the best a further finding may be.
const BEHIND_MAX: f32 = 0.25;

/// Where something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the subject.
    Subject,
    /// In the text.
    Text,
    /// In the HTML, where the text says something else.
    Html,
}

/// A one-time code.
#[derive(Clone, Debug, PartialEq)]
pub struct Code {
    /// The code: digits of all scripts as ASCII, and no blanks between them.
    pub code: String,
    /// How sure this is, from 0 to 1.
    pub confidence: f32,
    /// Where it stands.
    pub place: Place,
    /// Where it begins there, in characters (code points).
    pub offset: usize,
}

/// A link that verifies an address, or lets its holder in.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Where it leads.
    pub url: String,
    /// What stands on it; nothing if it is not on anything.
    pub text: String,
    /// How sure this is, from 0 to 1.
    pub confidence: f32,
    /// Where it stands.
    pub place: Place,
    /// Where it begins there, in characters (code points).
    pub offset: usize,
}

/// What was found, the surest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Codes.
    pub codes: Vec<Code>,
    /// Links.
    pub links: Vec<Link>,
}

/// A message, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// The decoded subject.
    pub subject: &'a str,
    /// The text.
    pub text: &'a str,
    /// The HTML as text, if that differs from the text.
    pub html: Option<&'a str>,
    /// Links of the HTML: address, what stands on it, and where in the HTML's text (in bytes).
    pub links: &'a [(&'a str, &'a str, usize)],
}

/// Finds the codes and links of a message.
#[must_use]
pub fn find(given: &Given<'_>) -> Findings {
    let subject = Searched::new(given.subject, Place::Subject);
    let text = Searched::new(given.text, Place::Text);
    let html = given.html.map(|html| Searched::new(html, Place::Html));
    let places: Vec<&Searched> = [&subject, &text].into_iter().chain(&html).collect();
    let speaks_of_codes = places.iter().any(|place| place.has(Word::Strong));
    let mut codes = Vec::new();
    for place in &places {
        for candidate in candidates(place) {
            let confidence = judge(place, &candidate, speaks_of_codes);
            if confidence >= CONFIDENCE_MIN {
                add_code(
                    &mut codes,
                    Code {
                        code: candidate.code,
                        confidence: rounded(confidence),
                        place: place.place,
                        offset: place.offset(candidate.start),
                    },
                );
            }
        }
    }
    codes.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then(a.place.cmp(&b.place))
    });
    keep_best(&mut codes, |code| code.confidence);
    Findings {
        codes,
        links: links::find(given, &subject, &text),
    }
}

/// Hundredths, so that nobody takes it for more than it is.
fn rounded(confidence: f32) -> f32 {
    (confidence.min(0.99) * 100.0).round() / 100.0
}

fn keep_best<T>(found: &mut Vec<T>, confidence: impl Fn(&T) -> f32) {
    let best = found.first().map_or(0.0, &confidence);
    found.retain(|it| confidence(it) >= best - BEHIND_MAX);
    found.truncate(FINDINGS_MAX);
}

/// Notes a code; one that stands in several places is surer.
fn add_code(codes: &mut Vec<Code>, code: Code) {
    match codes.iter_mut().find(|known| known.code == code.code) {
        Some(known) => {
            let repeated = if known.place == code.place { 0.0 } else { 0.1 };
            known.confidence = rounded(known.confidence.max(code.confidence) + repeated);
        }
        None => codes.push(code),
    }
}

/// How near a word is that speaks for or against a candidate.
#[derive(Clone, Copy, Debug, Default)]
struct Nearness {
    weight: f32,
    distance: usize,
}

/// The word that counts most: `before(distance)` and `behind(distance)` say how much one counts.
fn strongest<'h>(
    candidate: &Candidate,
    hits: impl Iterator<Item = &'h Hit>,
    before: impl Fn(f32) -> f32,
    behind: impl Fn(f32) -> f32,
) -> Nearness {
    let mut best = Nearness {
        weight: 0.0,
        distance: usize::MAX,
    };
    for hit in hits {
        let (weight, distance) = if hit.end <= candidate.start {
            let distance = candidate.start - hit.end;
            (before(distance as f32), distance)
        } else if hit.start >= candidate.end {
            let distance = hit.start - candidate.end;
            (behind(distance as f32), distance)
        } else {
            continue;
        };
        if weight > best.weight {
            best = Nearness { weight, distance };
        }
    }
    best
}

/// How sure it is that a candidate is a code.
fn judge(place: &Searched, candidate: &Candidate, speaks_of_codes: bool) -> f32 {
    let far = |reach: f32| move |distance: f32| (1.0 - distance / reach).max(0.0);
    let near = |word: Word| place.near(candidate.start, word);
    let strong = strongest(candidate, near(Word::Strong), far(220.0), |d| {
        0.95 - d / 90.0
    });
    let code = strongest(candidate, near(Word::Code), far(120.0), |d| 0.8 - d / 40.0);
    let verify = strongest(candidate, near(Word::Verify), far(200.0), |d| {
        0.95 - d / 90.0
    });
    let against = strongest(candidate, near(Word::Against), far(60.0), |d| {
        0.5 - d / 25.0
    });

    let mut score = (0.8 * strong.weight).max(0.55 * code.weight);
    let is_number = candidate.shape == Shape::Digits;
    if score <= 0.0 {
        if !(is_number && candidate.code.len() == 6) {
            return 0.0;
        }
        score = 0.4 * verify.weight;
    }
    if verify.weight > 0.2 {
        score += 0.1;
    }
    if speaks_of_codes && score > 0.0 {
        score += 0.08;
    }
    // What stands nearer is what a number is about.
    let nearest = strong.distance.min(code.distance);
    let share = if strong.weight > 0.0 && nearest <= against.distance {
        0.45
    } else {
        1.0
    };
    score - against.weight * share + shape_bonus(place, candidate, nearest)
}

fn shape_bonus(place: &Searched, candidate: &Candidate, nearest: usize) -> f32 {
    let own_line = place.has_line_of_its_own(candidate.start, candidate.end);
    let mut bonus = match (candidate.shape, candidate.code.len()) {
        (Shape::Digits, 6) => 0.1,
        (Shape::Digits, 4) => -0.03,
        (Shape::Digits, _) => 0.0,
        (Shape::Mixed, _) => -0.03,
        (Shape::Lower, _) if own_line || nearest <= 3 => -0.05,
        (Shape::Letters, _) if own_line || nearest <= 3 => -0.1,
        (Shape::Lower | Shape::Letters, _) => -1.0,
    };
    if candidate.shape != Shape::Digits && nearest > 60 {
        bonus -= 0.5;
    }
    if own_line {
        bonus += 0.15;
    }
    // What is announced: "the PIN: 1234".
    let announced = (1..=2).any(|back| text_before(place, candidate, back) == Some(':'));
    if announced && nearest <= 12 {
        bonus += 0.1;
    }
    if candidate.is_year() {
        bonus -= if own_line || nearest <= 4 { 0.1 } else { 0.6 };
    }
    if candidate.is_numbered {
        bonus -= 0.4;
    }
    bonus
}

fn text_before(place: &Searched, candidate: &Candidate, back: usize) -> Option<char> {
    place.character(candidate.start.checked_sub(back))
}

#[cfg(test)]
mod tests;
