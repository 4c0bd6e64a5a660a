//! What has the shape of a code: numbers of four to eight digits, together or in equal groups, and
//! short mixtures of letters and digits. What is clearly something else is left out here: dates,
//! times, prices, telephone numbers, addresses of pages.

#![forbid(unsafe_code)]

use super::lexicon::separates_words;
use super::searched::Searched;
use super::words;
use std::ops::Range;

/// The most candidates of one text.
const CANDIDATES_MAX: usize = 200;

/// Digits of a code.
const DIGITS: std::ops::RangeInclusive<usize> = 4..=8;

/// Letters and digits of a mixed code.
const MIXED: std::ops::RangeInclusive<usize> = 5..=12;

/// What a candidate is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Digits.
    Digits,
    /// Capitals.
    Letters,
    /// Small letters and digits.
    Lower,
    /// Capitals and digits.
    Mixed,
}

/// Something that may be a code.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) code: String,
    pub(super) shape: Shape,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether a number sign stands before it.
    pub(super) is_numbered: bool,
}

impl Candidate {
    pub(super) fn is_year(&self) -> bool {
        let year = self.code.parse::<u32>();
        self.code.len() == 4 && year.is_ok_and(|year| (1900..2100).contains(&year))
    }
}

/// Every candidate of a text, in order.
pub(super) fn candidates(text: &Searched) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.characters.len() && found.len() < CANDIDATES_MAX {
        if !text.characters[at].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let runs = runs(text, at);
        let end = runs.last().map_or(at + 1, |run| run.end);
        if !is_within_address(text, at, end) {
            read_runs(text, &runs, &mut found);
        }
        at = end;
    }
    found
}

/// The run of letters and digits that begins here, and those that follow it as parts of one number or code.
fn runs(text: &Searched, at: usize) -> Vec<Range<usize>> {
    let run = |at: usize| {
        let length = text.characters[at..]
            .iter()
            .take_while(|c| c.is_ascii_alphanumeric())
            .count();
        at..at + length
    };
    let is_number = |run: &Range<usize>| {
        text.characters[run.clone()]
            .iter()
            .all(char::is_ascii_digit)
    };
    let mut runs = vec![run(at)];
    while let Some(last) = runs.last() {
        let mark = text.character(Some(last.end));
        let numbers = is_number(last);
        let length = match mark {
            Some('-') => 1,
            Some(' ' | '.' | '/' | '(' | ')') if numbers => {
                let second = text.character(Some(last.end + 1));
                // A point and a blank end a sentence.
                1 + usize::from(
                    mark != Some('.') && second.is_some_and(|mark| " ()-".contains(mark)),
                )
            }
            _ => break,
        };
        let begins = last.end + length;
        if !text
            .character(Some(begins))
            .is_some_and(|c| c.is_ascii_alphanumeric())
        {
            break;
        }
        let next = run(begins);
        if mark != Some('-') && !is_number(&next) {
            break;
        }
        runs.push(next);
    }
    runs
}

/// Whether this is part of an address of a page or of a person.
fn is_within_address(text: &Searched, start: usize, end: usize) -> bool {
    let is_part = |c: &&char| !c.is_whitespace();
    let before: String = text.characters[..start]
        .iter()
        .rev()
        .take_while(is_part)
        .take(300)
        .collect();
    // It was read backwards.
    let is_page = before.contains("//:") || before.contains(".www") || before.contains('=');
    let name = |c: &&char| c.is_ascii_alphanumeric() || "._-+".contains(**c);
    let behind = text.characters[end..]
        .iter()
        .take(300)
        .skip_while(name)
        .take(1);
    is_page || before.starts_with('@') || behind.eq(['@'].iter())
}

fn read_runs(text: &Searched, runs: &[Range<usize>], found: &mut Vec<Candidate>) {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
        return;
    };
    let whole = first.start..last.end;
    let digits = |run: &Range<usize>| {
        text.characters[run.clone()]
            .iter()
            .all(char::is_ascii_digit)
    };
    if !runs.iter().all(digits) {
        found.extend(mixed(text, runs));
        return;
    }
    if runs.len() == 1 || is_grouped(text, runs) {
        found.extend(number(text, runs, whole));
        return;
    }
    // A date or a telephone number, or a code beside something else.
    let is_alone =
        |at: Option<usize>| !matches!(text.character(at), Some('-' | '.' | '/' | '(' | ')'));
    for run in runs {
        let stands_alone = is_alone(run.start.checked_sub(1)) && is_alone(Some(run.end));
        if run.len() >= 5 && stands_alone {
            found.extend(number(text, std::slice::from_ref(run), run.clone()));
        }
    }
}

/// Whether these are equal groups with the same mark between them.
fn is_grouped(text: &Searched, runs: &[Range<usize>]) -> bool {
    let length = runs[0].len();
    let total: usize = runs.iter().map(Range::len).sum();
    let mark = text.characters[runs[0].end];
    let even = runs.windows(2).all(|pair| {
        pair[0].len() == pair[1].len()
            && pair[1].start == pair[0].end + 1
            && text.characters[pair[0].end] == mark
    });
    let fits = match length {
        1 => mark == ' ' || mark == '-',
        2 => mark == ' ' && total == 6 || mark == '-' && total != 6,
        3 | 4 => mark == ' ' || mark == '-',
        _ => false,
    };
    even && fits && (DIGITS.contains(&total) || length == 3 && total == 9)
}

fn number(text: &Searched, runs: &[Range<usize>], whole: Range<usize>) -> Option<Candidate> {
    let code: String = runs
        .iter()
        .flat_map(|run| &text.characters[run.clone()])
        .collect();
    let fits = DIGITS.contains(&code.len()) || runs.len() > 1;
    let before = text.character(whole.start.checked_sub(1));
    let earlier = text.character(whole.start.checked_sub(2));
    let behind = text.character(Some(whole.end));
    let later = text.character(Some(whole.end + 1));
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_letter = |c: Option<char>| c.is_some_and(separates_words);
    let continues = matches!(before, Some('.' | ',' | ':')) && is_digit(earlier)
        || matches!(behind, Some('.' | ',' | ':')) && is_digit(later)
        || matches!(before, Some('/' | '+' | '_' | '&' | '%' | '@' | '$' | '('))
            && before != Some('(')
        || matches!(behind, Some('/' | '_' | '%' | '@' | '\u{b0}'))
        || is_letter(before)
        || is_letter(behind);
    let phone = before == Some('+') || before == Some('(') && runs.len() > 1;
    if !fits || continues || phone || is_money(text, &whole) {
        return None;
    }
    Some(Candidate {
        code,
        shape: Shape::Digits,
        start: whole.start,
        end: whole.end,
        is_numbered: matches!(before, Some('#' | '\u{2116}' | '\u{ba}' | '\u{b0}'))
            || before == Some(' ')
                && matches!(earlier, Some('#' | '\u{2116}' | '\u{ba}' | '\u{b0}')),
    })
}

/// Whether the word before or behind is money.
fn is_money(text: &Searched, whole: &Range<usize>) -> bool {
    let is_part =
        |c: &&char| !c.is_whitespace() && !c.is_ascii_digit() && !"*_:()[],;!".contains(**c);
    let is_blank = |c: &&char| **c == ' ';
    let behind: String = text.characters[whole.end..]
        .iter()
        .skip_while(is_blank)
        .take_while(is_part)
        .take(8)
        .collect();
    let mut before: Vec<char> = text.characters[..whole.start]
        .iter()
        .rev()
        .skip_while(is_blank)
        .take_while(is_part)
        .take(8)
        .copied()
        .collect();
    before.reverse();
    let before: String = before.into_iter().collect();
    [before, behind].iter().any(|word| {
        let word = word.to_lowercase();
        let word = word.trim_end_matches('.');
        words::each(words::MONEY).any(|money| {
            let is_sign = !money.starts_with(separates_words);
            let money = money.trim_end_matches('.');
            word == money
                || is_sign && (word.starts_with(money) || word.ends_with(money) && word.len() <= 6)
        })
    })
}

fn mixed(text: &Searched, runs: &[Range<usize>]) -> Option<Candidate> {
    let (start, end) = (runs[0].start, runs[runs.len() - 1].end);
    let code: String = text.characters[start..end].iter().collect();
    let letters: String = code.chars().filter(|c| *c != '-').collect();
    let has = |is: fn(&char) -> bool| letters.chars().any(|c| is(&c));
    let before = text.character(start.checked_sub(1));
    let behind = text.character(Some(end));
    let is_letter = |c: Option<char>| c.is_some_and(separates_words);
    let continues = is_letter(before)
        || is_letter(behind)
        || matches!(
            before,
            Some('#' | '/' | '_' | '&' | '.' | '\'' | '@' | '+' | '-')
        )
        || matches!(behind, Some('/' | '_' | '@' | '\'' | '+' | '-'))
        || behind == Some('.')
            && text
                .character(Some(end + 1))
                .is_some_and(char::is_alphanumeric)
        || behind == Some(':')
            && text
                .character(Some(end + 1))
                .is_some_and(char::is_alphanumeric);
    if continues || !MIXED.contains(&letters.len()) || runs.len() > 3 {
        return None;
    }
    let shape = match (
        has(char::is_ascii_digit),
        has(char::is_ascii_uppercase),
        has(char::is_ascii_lowercase),
    ) {
        (true, true, false) => Shape::Mixed,
        (true, false, true) => Shape::Lower,
        (false, true, false) => {
            let groups = runs.len() > 1 && runs.iter().all(|run| run.len() == runs[0].len());
            if !(groups && (3..=4).contains(&runs[0].len())
                || runs.len() == 1 && letters.len() <= 8)
            {
                return None;
            }
            Shape::Letters
        }
        _ => return None,
    };
    Some(Candidate {
        code,
        shape,
        start,
        end,
        is_numbered: false,
    })
}
