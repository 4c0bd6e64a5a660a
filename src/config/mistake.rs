//! How mistakes in the settings are shown: what, where, why, and how to mend it.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

/// Every mistake that was found, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub(super) mistakes: Vec<Mistake>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// What is wrong, in one line.
    pub(super) what: String,
    /// Where; `None` when the default is at fault, together with something else.
    pub(super) place: Option<Place>,
    /// What stands beside the caret.
    pub(super) why: String,
    /// Further lines: what is allowed, how to mend it.
    pub(super) notes: Vec<String>,
}

/// A stretch of one line of what the operator wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file or the environment variable.
    source: String,
    /// Where in the file, both from 1; `None` for a variable.
    line_and_column: Option<(usize, usize)>,
    /// The line, fit for a terminal.
    line: String,
    /// Characters before the stretch.
    indent: usize,
    /// Characters in the stretch; 1 at least.
    width: usize,
    /// For sorting.
    offset: usize,
}

impl Place {
    /// The bytes `span` of a file's `text`.
    pub(super) fn in_file(name: &str, text: &str, span: Range<usize>) -> Self {
        let start = floor_char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_number = text[..start].matches('\n').count() + 1;
        let mut place = Self::in_line(
            name.to_owned(),
            text[line_start..].lines().next().unwrap_or_default(),
            start - line_start..span.end.max(start) - line_start,
        );
        place.line_and_column = Some((line_number, place.indent + 1));
        place.offset = start;
        place
    }

    /// The bytes `span` of an environment variable's `value`.
    pub(super) fn in_variable(name: &str, value: &str, span: Range<usize>) -> Self {
        Self::in_line(format!("environment variable {name}"), value, span)
    }

    fn in_line(source: String, line: &str, span: Range<usize>) -> Self {
        let start = floor_char_boundary(line, span.start);
        let end = floor_char_boundary(line, span.end).max(start);
        Self {
            source,
            line_and_column: None,
            line: line
                .chars()
                .map(|character| {
                    if character.is_control() {
                        ' '
                    } else {
                        character
                    }
                })
                .collect(),
            indent: line[..start].chars().count(),
            width: line[start..end].chars().count().max(1),
            offset: usize::MAX,
        }
    }
}

/// The largest boundary between characters that is not beyond `at`.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl ConfigErrors {
    /// In the order of the file; what does not stand in the file comes last.
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| {
            mistake
                .place
                .as_ref()
                .map_or(usize::MAX, |place| place.offset)
        });
        Self { mistakes }
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        let mut margin = 2;
        if let Some(place) = &self.place {
            let number = place
                .line_and_column
                .map_or_else(String::new, |(line, _)| line.to_string());
            margin = number.len().max(2);
            write!(f, "\n{:margin$}--> {}", "", place.source)?;
            if let Some((line, column)) = place.line_and_column {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, "\n{:margin$} |", "")?;
            write!(f, "\n{number:>margin$} | {}", place.line)?;
            let (indent, caret) = (" ".repeat(place.indent), "^".repeat(place.width));
            write!(f, "\n{:margin$} | {indent}{caret} {}", "", self.why)?;
        } else {
            write!(f, "\n{:margin$} = {}", "", self.why)?;
        }
        for note in &self.notes {
            write!(f, "\n{:margin$} = {note}", "")?;
        }
        Ok(())
    }
}

/// The one of `allowed` that `written` was probably meant to be.
pub(super) fn meant<'a>(
    written: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase();
    let near = written.chars().count().max(3) / 3;
    allowed
        .into_iter()
        .map(|name| (edit_distance(&written, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many characters must be put in, taken out or replaced to make one of the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_recognised_and_other_words_are_not() {
        let allowed = ["connections_max", "memory_percent_max", "domains"];
        assert_eq!(meant("conections_max", allowed), Some("connections_max"));
        assert_eq!(meant("domain", allowed), Some("domains"));
        assert_eq!(meant("memory_max_percent", allowed), None);
        assert_eq!(meant("hostname", allowed), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    #[test]
    fn a_place_survives_any_span_in_any_text() {
        let text = "a = 1\n\u{fc}\u{fc} = \"\u{1f41f}\"\r\n";
        for start in 0..=text.len() + 1 {
            for end in start..=text.len() + 2 {
                let place = Place::in_file("f", text, start..end);
                assert!(place.width >= 1);
                assert!(place.indent <= place.line.chars().count());
            }
        }
        let place = Place::in_file("f", text, 11..13);
        assert_eq!(place.line_and_column, Some((2, 4)));
    }
}
