//! Queries and bodies of forms (`application/x-www-form-urlencoded`, as the URL standard reads them), with a bound.
//!
//! It knows nothing of the rest, so that a fuzzer can have it alone.

use std::fmt::Write as _;

/// The most pairs that are read. Whoever sends more is told so.
pub(crate) const PAIRS_MAX: usize = 1_024;

/// Names and values in order, decoded.
#[derive(Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `a=1&b=2`. `None` if there are too many pairs.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        form.add(text).then_some(form)
    }

    /// Adds the pairs of another text. Says whether there was room for all of them.
    pub(crate) fn add(&mut self, text: &[u8]) -> bool {
        for (name, value) in url::form_urlencoded::parse(text) {
            if self.0.len() == PAIRS_MAX {
                return false;
            }
            self.0.push((name.into_owned(), value.into_owned()));
        }
        true
    }

    /// The value of a name; of several the last one, as PHP has it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        pairs
            .find(|(it, _)| it == name)
            .map(|(_, value)| value.as_str())
    }

    /// The values of a list: of `name`, `name[]`, and `name[7]` whatever stands between the brackets.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let is_it = move |given: &str| {
            let rest = given.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('[') && rest.ends_with(']'))
        };
        let pairs = self.0.iter().filter(move |(given, _)| is_it(given));
        pairs.map(|(_, value)| value.as_str())
    }
}

/// A text as part of a path or a query: all but letters, digits and `-._~` becomes `%` and two digits (RFC 3986 section 2.3).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Form::read(text.as_bytes()).expect("few pairs").0
    }

    #[test]
    fn pairs_are_read_as_browsers_write_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (text, expected) in [
            ("", vec![]),
            ("&&", vec![]),
            ("a", vec![pair("a", "")]),
            ("=", vec![pair("", "")]),
            ("a=1&b=2=3", vec![pair("a", "1"), pair("b", "2=3")]),
            ("a+b=c+d%20e%2B", vec![pair("a b", "c d e+")]),
            ("%66=%C3%BC&x=%", vec![pair("f", "\u{fc}"), pair("x", "%")]),
            (
                "a=%zz%4&b=%ff",
                vec![pair("a", "%zz%4"), pair("b", "\u{fffd}")],
            ),
            ("a=\u{fc}", vec![pair("a", "\u{fc}")]),
        ] {
            assert_eq!(pairs(text), expected, "{text}");
        }
    }

    #[test]
    fn the_last_of_several_counts_and_lists_have_many_spellings() {
        let form = Form::read(b"f=1&f=2&ids[]=1&ids%5B%5D=2&ids[0]=3&ids[x]=4&ids=5&idsx=6&ids[=7");
        let form = form.expect("few pairs");
        assert_eq!(form.get("f"), Some("2"));
        assert_eq!(form.get("g"), None);
        assert_eq!(
            form.list("ids").collect::<Vec<_>>(),
            ["1", "2", "3", "4", "5"]
        );
    }

    #[test]
    fn there_is_an_end_to_pairs() {
        let many = |count| Form::read("a=1&".repeat(count).as_bytes()).is_some();
        assert!(many(PAIRS_MAX) && !many(PAIRS_MAX + 1));
        let mut form = Form::read("a=1&".repeat(PAIRS_MAX).as_bytes()).expect("all fit");
        assert!(form.add(b"") && !form.add(b"b=2"));
    }

    #[test]
    fn what_is_encoded_is_decoded_to_itself() {
        for text in ["", "abc-._~", "a b+c&d=e/f?g%h", "\u{fc}\r\n\"<>"] {
            let written = encoded(text);
            assert!(
                written.bytes().all(|byte| byte.is_ascii_graphic()),
                "{written}"
            );
            let form = Form::read(format!("a={written}").as_bytes()).expect("one pair");
            assert_eq!(form.get("a"), Some(text));
        }
    }
}
