//! A text made ready to be searched: letters in lower case, digits of all scripts as ASCII, and every
//! telling word with its place.

#![forbid(unsafe_code)]

use super::Place;
use super::lexicon::Lexicon;
use super::words;
use crate::reading::names::is_deceptive;
use std::sync::LazyLock;

/// Only so many characters of a text are searched: codes stand near the beginning.
const SEARCHED_MAX: usize = 64 << 10;

/// How far from a candidate words count, in characters.
const REACH: usize = 220;

/// The most places of one word that are kept.
const HITS_MAX: u8 = 100;

/// What a word speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// That there is something else.
    Against,
    /// That something is a code of some kind.
    Code,
    /// That there is a one-time code.
    Strong,
    /// That something is to be verified.
    Verify,
}

/// All telling words.
static TELLING: LazyLock<Lexicon<Word>> = LazyLock::new(|| {
    Lexicon::new(&[
        (Word::Against, words::AGAINST),
        (Word::Code, words::CODE),
        (Word::Strong, words::STRONG),
        (Word::Verify, words::VERIFY),
    ])
});

/// A word in its place, in characters of the searched text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    word: Word,
}

/// A text made ready.
#[derive(Debug)]
pub(super) struct Searched {
    pub(super) place: Place,
    /// The characters, normal digits and all, in their own case.
    pub(super) characters: Vec<char>,
    /// Where each of them stands in the original, in characters.
    offsets: Vec<usize>,
    /// In the order of their places.
    hits: Vec<Hit>,
}

/// A character as everybody writes it; `None` if it is not to be seen.
fn normal(character: char) -> Option<char> {
    let code = u32::from(character);
    // Blocks of ten digits, in the scripts of the languages that we know words of, and their neighbours.
    let zeros = [
        0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6,
        0x0D66, 0x0E50, 0x0ED0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6,
    ];
    if let Some(zero) = zeros
        .iter()
        .find(|zero| (**zero..**zero + 10).contains(&code))
    {
        return char::from_digit(code - zero, 10);
    }
    match code {
        // A wide comma stands between clauses, a narrow one also within numbers.
        0xFF0C | 0xFF0E => Some(character),
        0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0),
        0x2010..=0x2015 | 0x2212 => Some('-'),
        0x2018 | 0x2019 => Some('\''),
        0x00A0 | 0x2000..=0x200A | 0x202F | 0x3000 => Some(' '),
        _ if character != '\n' && character != '\t' && is_deceptive(character) => None,
        _ => Some(character),
    }
}

impl Searched {
    pub(super) fn new(text: &str, place: Place) -> Self {
        let mut characters = Vec::new();
        let mut offsets = Vec::new();
        for (offset, character) in text.chars().take(SEARCHED_MAX).enumerate() {
            if let Some(character) = normal(character) {
                characters.push(character);
                offsets.push(offset);
            }
        }
        let mut searched = Self {
            place,
            characters,
            offsets,
            hits: Vec::new(),
        };
        searched.hits = searched.find_words();
        searched
    }

    fn find_words(&self) -> Vec<Hit> {
        // Both sides of a mail's line break are one word's neighbours all the same.
        let (lower, starts) = lower_case(&self.characters);
        let mut left = vec![HITS_MAX; TELLING.len()];
        let mut hits = Vec::new();
        for found in TELLING.find(&lower) {
            let Ok(start) = starts.binary_search(&found.start) else {
                continue;
            };
            if let Some(fewer) = left[found.word].checked_sub(1) {
                left[found.word] = fewer;
                let hit = Hit {
                    start,
                    end: start + found.length,
                    word: found.stands_for,
                };
                hits.push((found.word, hit));
            }
        }
        hits.sort_by_key(|(word, hit)| (hit.start, *word));
        hits.into_iter().map(|(_, hit)| hit).collect()
    }

    /// Whether a word of this kind stands anywhere.
    pub(super) fn has(&self, word: Word) -> bool {
        self.hits.iter().any(|hit| hit.word == word)
    }

    /// The words of this kind that stand around a place.
    pub(super) fn near(&self, at: usize, word: Word) -> impl Iterator<Item = &Hit> {
        let first = self.hits.partition_point(|hit| hit.start + REACH < at);
        let near = self.hits[first..]
            .iter()
            .take_while(move |hit| hit.start <= at + REACH);
        near.filter(move |hit| hit.word == word)
    }

    /// A place in the original, in characters.
    pub(super) fn offset(&self, at: usize) -> usize {
        self.offsets.get(at).copied().unwrap_or_default()
    }

    /// The character `steps` before or behind a place, on the same line.
    pub(super) fn character(&self, at: Option<usize>) -> Option<char> {
        at.and_then(|at| self.characters.get(at))
            .copied()
            .filter(|character| *character != '\n')
    }

    /// Whether a line has nothing but this, and a mark or two.
    pub(super) fn has_line_of_its_own(&self, start: usize, end: usize) -> bool {
        let is_quiet = |character: &&char| !character.is_alphanumeric();
        let same_line = |character: &&char| **character != '\n';
        let before = self.characters[..start].iter().rev().take_while(same_line);
        let behind = self.characters[end..].iter().take_while(same_line);
        self.place != Place::Subject
            && before.take(80).all(|character| is_quiet(&character))
            && behind.take(80).all(|character| is_quiet(&character))
    }
}

/// In lower case, one character for each, with the place of each in bytes. Line breaks are blanks, since
/// mails break lines within phrases.
fn lower_case(characters: &[char]) -> (String, Vec<usize>) {
    let mut lower = String::with_capacity(characters.len());
    let mut starts = Vec::with_capacity(characters.len());
    for character in characters {
        starts.push(lower.len());
        match character {
            '\n' | '\t' => lower.push(' '),
            '\u{130}' => lower.push('i'),
            other => lower.push(other.to_lowercase().next().unwrap_or(*other)),
        }
    }
    (lower, starts)
}

/// A text in lower case, for words without places.
pub(super) fn lowered(text: &str) -> String {
    let characters: Vec<char> = text.chars().filter_map(normal).collect();
    lower_case(&characters).0
}
