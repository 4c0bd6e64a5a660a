//! Lists of words, all found in one walk over a text.

#![forbid(unsafe_code)]

use super::words;
use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// Words, each of which stands for something.
#[derive(Debug)]
pub(super) struct Lexicon<T> {
    automaton: AhoCorasick,
    /// By the automaton's numbers, which are the order of the lists.
    words: Vec<Word<T>>,
}

#[derive(Debug)]
struct Word<T> {
    stands_for: T,
    /// How many characters it has.
    length: usize,
    /// Whether it begins with a letter of a script that separates words: then it begins a word of the text.
    begins: bool,
    /// Whether it must be a whole word.
    is_whole: bool,
}

/// A word in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<T> {
    /// Which word, by its number.
    pub(super) word: usize,
    pub(super) stands_for: T,
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// How many characters it has.
    pub(super) length: usize,
}

/// Whether words of this script stand between blanks, so that a word begins where a letter follows none.
pub(super) fn separates_words(character: char) -> bool {
    character.is_alphabetic() && u32::from(character) < 0x0590
}

impl<T: Copy> Lexicon<T> {
    /// The words of these lists.
    pub(super) fn new(lists: &[(T, &'static str)]) -> Self {
        let each = lists
            .iter()
            .flat_map(|(stands_for, list)| words::each(list).map(|word| (*stands_for, word)));
        let (words, texts): (Vec<_>, Vec<_>) = each
            .map(|(stands_for, word)| {
                let (text, is_whole) = words::unmarked(word);
                let word = Word {
                    stands_for,
                    length: text.chars().count(),
                    begins: text.starts_with(separates_words),
                    is_whole,
                };
                (word, text)
            })
            .unzip();
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(texts)
            .unwrap_or_else(|_| unreachable!("it has room for billions of letters"));
        Self { automaton, words }
    }

    /// How many words there are.
    pub(super) const fn len(&self) -> usize {
        self.words.len()
    }

    /// Every word that stands in a text in lower case, in the order of their ends.
    pub(super) fn find<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Found<T>> {
        let matches = self.automaton.find_overlapping_iter(text);
        matches.filter_map(|at| {
            let number = at.pattern().as_usize();
            let word = &self.words[number];
            let before = || text[..at.start()].chars().next_back();
            let after = || text[at.end()..].chars().next();
            let fits = (!word.begins || !before().is_some_and(separates_words))
                && (!word.is_whole || !after().is_some_and(separates_words));
            fits.then_some(Found {
                word: number,
                stands_for: word.stands_for,
                start: at.start(),
                length: word.length,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const LISTS: [(char, &str); 2] = [('a', words::STRONG), ('b', words::AGAINST)];

    static LEXICON: LazyLock<Lexicon<char>> = LazyLock::new(|| Lexicon::new(&LISTS));

    /// Each word looked for alone, in every place.
    fn slowly(text: &str) -> Vec<Found<char>> {
        let each = LISTS
            .iter()
            .flat_map(|(stands_for, list)| words::each(list).map(|word| (*stands_for, word)));
        let mut found = Vec::new();
        for (number, (stands_for, word)) in each.enumerate() {
            let (word, is_whole) = words::unmarked(word);
            for (start, _) in text.char_indices() {
                let Some(rest) = text[start..].strip_prefix(word) else {
                    continue;
                };
                let goes_on_before =
                    word.starts_with(separates_words) && text[..start].ends_with(separates_words);
                let goes_on_behind = is_whole && rest.starts_with(separates_words);
                if !(goes_on_before || goes_on_behind) {
                    found.push(Found {
                        word: number,
                        stands_for,
                        start,
                        length: word.chars().count(),
                    });
                }
            }
        }
        found
    }

    /// Texts of words, pieces of words and what stands between.
    fn texts() -> impl Strategy<Value = String> {
        let all: Vec<&str> = LISTS
            .iter()
            .flat_map(|(_, list)| words::each(list).map(|word| words::unmarked(word).0))
            .collect();
        let word = prop::sample::select(all).prop_map(str::to_owned);
        let piece = prop_oneof![word, "[a-zа-яא-ת0-9 .,:-]{0,3}"];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn one_walk_finds_what_many_find(text in texts()) {
            let mut found: Vec<_> = LEXICON.find(&text).collect();
            found.sort_by_key(|found| (found.word, found.start));
            prop_assert_eq!(found, slowly(&text));
        }
    }
}
