//! What strangers wrote, made harmless for a terminal.
//!
//! A terminal obeys control characters: they move its cursor, change its title, answer in the user's name, or hide what
//! they print. Direction marks of Unicode show text in another order than it has. None of that may come from a mail.

use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// What stands for a character that a terminal would obey.
const REPLACEMENT: char = '\u{fffd}';

/// Text of one line: no character of it moves a cursor, ends the line or turns the direction.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    replaced(text, |_| false)
}

/// Text of several lines: as [`line`], but for line ends and tabs.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    replaced(text, |character| matches!(character, '\n' | '\t'))
}

fn replaced(text: &str, is_layout: impl Fn(char) -> bool) -> Cow<'_, str> {
    let must_go = |character: char| obeyed(character) && !is_layout(character);
    if !text.contains(must_go) {
        return Cow::Borrowed(text);
    }
    // A CR before its LF is no more than the LF.
    let text = match is_layout('\n') {
        true => Cow::Owned(text.replace("\r\n", "\n")),
        false => Cow::Borrowed(text),
    };
    let shown = |character| match must_go(character) {
        true => REPLACEMENT,
        false => character,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// JSON in which such characters are escaped: programs read the same, and no terminal obeys.
pub(super) fn json(value: &Value) -> String {
    let mut shown = String::new();
    for character in value.to_string().chars() {
        if !obeyed(character) {
            shown.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]).iter() {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown
}

/// Whether a terminal does something else with it than print it: C0, DEL and C1 controls, separators of lines and
/// paragraphs, and marks, embeddings, overrides and isolates of direction (Unicode Standard Annex 9).
fn obeyed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_that_a_terminal_obeys_is_left() {
        let table = [
            (
                "plain text, ümlaut, 日本, 🐟",
                "plain text, ümlaut, 日本, 🐟",
            ),
            ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("\x1b[2J\x1b[31mred", "\u{fffd}[2J\u{fffd}[31mred"),
            ("c1 \u{9b}31m", "c1 \u{fffd}31m"),
            ("a\rb\u{8}\u{7f}\0", "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}"),
            ("abc\u{202e}fdp.exe", "abc\u{fffd}fdp.exe"),
            ("\u{2066}x\u{2069}\u{2028}", "\u{fffd}x\u{fffd}\u{fffd}"),
        ];
        for (text, shown) in table {
            assert_eq!(line(text), shown);
            assert_eq!(lines(text), shown);
        }
        assert_eq!(line("a\nb\tc\r\nd"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}d");
        assert_eq!(lines("a\nb\tc\r\nd\re"), "a\nb\tc\nd\u{fffd}e");
    }

    #[test]
    fn json_says_the_same_with_nothing_to_obey() {
        let value = serde_json::json!({ "subject": "\u{1b}\u{7f}\u{9b}2J\u{202e}\u{e0041}" });
        let shown = json(&value);
        assert!(!shown.contains(obeyed), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), value);
    }

    #[test]
    fn every_control_character_goes() {
        for code in (0..0x20).chain(0x7f..0xa0) {
            let text = char::from_u32(code).expect("a character").to_string();
            assert_eq!(line(&text), "\u{fffd}", "{code:#x}");
            let kept = code == 0x0a || code == 0x09;
            assert_eq!(lines(&text) == text, kept, "{code:#x}");
        }
    }
}
