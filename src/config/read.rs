//! From text and environment variables to settings, with the place of every value kept.
//!
//! Each key is tried alone first, so that all mistakes come out at once and each with its place;
//! then a section is read with what was found good.

#![forbid(unsafe_code)]

use super::check::{self, Violation};
use super::mistake::{ConfigErrors, Mistake, Place, meant};
use super::{Config, Section};
use crate::settings::Entry;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

/// What the name of every variable begins with.
pub(super) const VARIABLE_PREFIX: &str = "MAYFLY__";

/// A file's name, for messages, and its text.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Settings that are in order, and where each of them comes from.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The settings.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the file.
    File { name: String, line: usize },
    /// A variable.
    Environment { variable: String },
}

impl Effective {
    /// Where the value of `section.key` comes from.
    pub(super) fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "file, {name}:{line}"),
            Self::Environment { variable } => write!(f, "environment, {variable}"),
        }
    }
}

/// The environment variable that sets this key.
pub(super) fn variable_name(section: &str, key: &str) -> String {
    format!(
        "{VARIABLE_PREFIX}{}__{}",
        section.to_uppercase(),
        key.to_uppercase()
    )
}

/// Reads the file, then the variables, then checks what came out.
pub(super) fn load(
    file: Option<Source<'_>>,
    environment: &[(String, String)],
) -> Result<Effective, ConfigErrors> {
    let mut reader = Reader {
        manual: Config::default().sections(),
        tables: BTreeMap::new(),
        written: BTreeMap::new(),
        spoiled: BTreeSet::new(),
        mistakes: Vec::new(),
    };
    if let Some(file) = file {
        reader.take_file(file);
    }
    for (name, value) in environment {
        reader.take_variable(name, value);
    }
    reader.finish()
}

/// Where a value was written.
#[derive(Clone)]
enum Written<'i> {
    InFile {
        file: Source<'i>,
        value: Range<usize>,
        items: Vec<Range<usize>>,
    },
    InVariable {
        name: &'i str,
        value: &'i str,
    },
}

impl Written<'_> {
    /// The place of the value, or of one item if it is a list.
    fn place(&self, item: Option<usize>) -> Place {
        match self {
            Self::InFile { file, value, items } => {
                let span = item.and_then(|item| items.get(item)).unwrap_or(value);
                Place::in_file(file.name, file.text, span.clone())
            }
            Self::InVariable { name, value } => Place::in_variable(name, value, 0..value.len()),
        }
    }

    fn origin(&self) -> Origin {
        match self {
            Self::InFile { file, value, .. } => Origin::File {
                name: file.name.to_owned(),
                line: file.text[..value.start].matches('\n').count() + 1,
            },
            Self::InVariable { name, .. } => Origin::Environment {
                variable: (*name).to_owned(),
            },
        }
    }
}

struct Reader<'i> {
    /// What there is to set, with the defaults.
    manual: Vec<Section>,
    /// What was found good, by section.
    tables: BTreeMap<&'static str, DeTable<'i>>,
    /// Where each of these values was written, by `section.key`.
    written: BTreeMap<String, Written<'i>>,
    /// Keys whose value was wrong, by `section.key`: no second complaint about them.
    spoiled: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl<'i> Reader<'i> {
    fn take_file(&mut self, file: Source<'i>) {
        let (document, errors) = DeTable::parse_recoverable(file.text);
        // After the first error the parser guesses; what it says then often misleads.
        if let Some(error) = errors.first() {
            let span = error.span().unwrap_or(0..0);
            self.mistakes.push(Mistake {
                what: "this is not TOML".to_owned(),
                place: Some(Place::in_file(file.name, file.text, span)),
                why: error.message().replace('\n', "; "),
                notes: Vec::new(),
            });
            return;
        }
        for (name, value) in document.into_inner() {
            let known = self
                .manual
                .iter()
                .find(|section| section.name == name.get_ref().as_ref());
            let Some(section) = known.cloned() else {
                self.mistakes.push(self.unknown_section(file, &name));
                continue;
            };
            let span = value.span();
            let DeValue::Table(table) = value.into_inner() else {
                self.mistakes.push(Mistake {
                    what: format!("`{}` is a section, not a value", section.name),
                    place: Some(Place::in_file(file.name, file.text, span)),
                    why: format!(
                        "write [{}] on a line of its own, then its keys",
                        section.name
                    ),
                    notes: Vec::new(),
                });
                continue;
            };
            for (key, value) in table {
                self.take_key(file, &section, key, value);
            }
        }
    }

    fn take_key(
        &mut self,
        file: Source<'i>,
        section: &Section,
        key: Spanned<DeString<'i>>,
        value: Spanned<DeValue<'i>>,
    ) {
        let Some(entry) = section.entry(key.get_ref()) else {
            self.mistakes.push(self.unknown_key(file, section, &key));
            return;
        };
        let written = Written::InFile {
            file,
            value: value.span(),
            items: item_spans(&value),
        };
        if let Err(error) = probe(section.name, &key, &value) {
            let span = error.span().unwrap_or_else(|| value.span());
            let place = Place::in_file(file.name, file.text, span);
            self.wrong_value(section, entry, &error, &value, place);
            return;
        }
        self.keep(section.name, entry.key, written, key, value);
    }

    fn take_variable(&mut self, name: &'i str, text: &'i str) {
        let sections = self.manual.clone();
        let all = || {
            sections
                .iter()
                .flat_map(|section| section.entries.iter().map(move |entry| (section, entry)))
        };
        let Some((section, entry)) =
            all().find(|(section, entry)| variable_name(section.name, entry.key) == name)
        else {
            let names: Vec<String> = all()
                .map(|(section, entry)| variable_name(section.name, entry.key))
                .collect();
            self.mistakes.push(unknown_variable(name, &names));
            return;
        };
        let key = Spanned::new(0..0, Cow::Borrowed(entry.key));
        let readings = readings(entry, text);
        let mut first_error = None;
        for value in readings {
            match probe(section.name, &key, &value) {
                Ok(()) => {
                    let written = Written::InVariable { name, value: text };
                    self.keep(section.name, entry.key, written, key, value);
                    return;
                }
                Err(error) => {
                    first_error.get_or_insert((error, value));
                }
            }
        }
        let (error, value) = first_error.expect("there is always a reading as text");
        let span = error.span().unwrap_or(0..text.len());
        self.wrong_value(
            section,
            entry,
            &error,
            &value,
            Place::in_variable(name, text, span),
        );
    }

    fn keep(
        &mut self,
        section: &'static str,
        name: &'static str,
        written: Written<'i>,
        key: Spanned<DeString<'i>>,
        value: Spanned<DeValue<'i>>,
    ) {
        let dotted = format!("{section}.{name}");
        self.spoiled.remove(&dotted);
        self.written.insert(dotted, written);
        self.tables.entry(section).or_default().insert(key, value);
    }

    fn finish(mut self) -> Result<Effective, ConfigErrors> {
        let mut config = Config::default();
        for (name, table) in std::mem::take(&mut self.tables) {
            let read = config.read_section(name, Spanned::new(0..0, table));
            debug_assert!(read.is_ok(), "each key was good alone: {read:?}");
        }
        for violation in check::violations(&config) {
            if violation
                .keys
                .iter()
                .all(|key| !self.spoiled.contains(*key))
            {
                self.mistakes.push(self.violated(violation));
            }
        }
        if self.mistakes.is_empty() {
            check::bring_into_canonical_form(&mut config);
            let origins = self
                .written
                .iter()
                .map(|(key, written)| (key.clone(), written.origin()));
            return Ok(Effective {
                config,
                origins: origins.collect(),
            });
        }
        Err(ConfigErrors::new(self.mistakes))
    }

    fn unknown_section(&self, file: Source<'i>, name: &Spanned<DeString<'i>>) -> Mistake {
        let allowed: Vec<&str> = self.manual.iter().map(|section| section.name).collect();
        let written = name.get_ref();
        let home = self
            .manual
            .iter()
            .find(|section| section.entry(written).is_some());
        let why = match (meant(written, allowed.iter().copied()), home) {
            (Some(section), _) => format!("did you mean [{section}]?"),
            (None, Some(section)) => format!("this key belongs below [{}]", section.name),
            (None, None) => "there is no such section".to_owned(),
        };
        Mistake {
            what: format!("unknown section or key `{written}` at the top"),
            place: Some(Place::in_file(file.name, file.text, name.span())),
            why,
            notes: vec![format!("allowed: {}", allowed.join(", "))],
        }
    }

    fn unknown_key(
        &self,
        file: Source<'i>,
        section: &Section,
        key: &Spanned<DeString<'i>>,
    ) -> Mistake {
        let allowed: Vec<&str> = section.entries.iter().map(|entry| entry.key).collect();
        let written = key.get_ref();
        let home = self
            .manual
            .iter()
            .find(|other| other.entry(written).is_some());
        let why = match (home, meant(written, allowed.iter().copied())) {
            (Some(other), _) => format!("this key belongs below [{}]", other.name),
            (None, Some(key)) => format!("did you mean `{key}`?"),
            (None, None) => "there is no such key".to_owned(),
        };
        Mistake {
            what: format!("unknown key `{written}` in [{}]", section.name),
            place: Some(Place::in_file(file.name, file.text, key.span())),
            why,
            notes: vec![format!("allowed: {}", allowed.join(", "))],
        }
    }

    fn wrong_value(
        &mut self,
        section: &Section,
        entry: &Entry,
        error: &toml::de::Error,
        value: &Spanned<DeValue<'i>>,
        place: Place,
    ) {
        let words = entry.choices.iter().map(|choice| choice.word);
        let word = value.get_ref().as_str().and_then(|text| meant(text, words));
        let why = word.map_or_else(
            || error.message().replace('\n', "; "),
            |word| format!("did you mean \"{word}\"?"),
        );
        let mut notes = vec![format!("allowed: {}", entry.kind)];
        notes.extend(
            entry
                .value
                .as_ref()
                .map(|value| format!("default: {value}")),
        );
        self.mistakes.push(Mistake {
            what: format!("wrong value for `{}` in [{}]", entry.key, section.name),
            place: Some(place),
            why,
            notes,
        });
        self.spoiled
            .insert(format!("{}.{}", section.name, entry.key));
    }

    /// A check that failed, shown where the operator wrote the value, or one of the others that take part.
    fn violated(&self, violation: Violation) -> Mistake {
        let first = violation.keys[0];
        let written = violation
            .keys
            .iter()
            .find_map(|key| Some((*key, self.written.get(*key)?)));
        let (section, key) = first.split_once('.').unwrap_or(("", first));
        Mistake {
            what: format!("unusable value for `{key}` in [{section}]"),
            place: written
                .map(|(key, written)| written.place(violation.item.filter(|_| key == first))),
            why: violation.why,
            notes: vec![format!("fix: {}", violation.fix)],
        }
    }
}

/// Whether a section that holds only this can be read.
fn probe(
    section: &str,
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<(), toml::de::Error> {
    let table = DeTable::from_iter([(key.clone(), value.clone())]);
    Config::default().read_section(section, Spanned::new(0..0, table))
}

/// What a variable's text may mean: TOML (`7`, `true`, `["a", "b"]`), a list with commas, or just text.
fn readings<'i>(entry: &Entry, text: &'i str) -> Vec<Spanned<DeValue<'i>>> {
    let mut readings: Vec<_> = DeValue::parse(text).into_iter().collect();
    if entry.list && readings.is_empty() {
        let mut items = DeArray::new();
        let mut start = 0;
        for piece in text.split(',') {
            let span = start..start + piece.len();
            start = span.end + 1;
            if !piece.trim().is_empty() {
                items.push(Spanned::new(
                    span,
                    DeValue::String(Cow::Borrowed(piece.trim())),
                ));
            }
        }
        readings.push(Spanned::new(0..text.len(), DeValue::Array(items)));
    }
    readings.push(Spanned::new(
        0..text.len(),
        DeValue::String(Cow::Borrowed(text)),
    ));
    readings
}

fn item_spans(value: &Spanned<DeValue<'_>>) -> Vec<Range<usize>> {
    let items = value.get_ref().as_array();
    items
        .into_iter()
        .flat_map(|items| items.iter().map(Spanned::span))
        .collect()
}

fn unknown_variable(name: &str, names: &[String]) -> Mistake {
    let why = meant(name, names.iter().map(String::as_str)).map_or_else(
        || "names are MAYFLY__SECTION__KEY, as in MAYFLY__SERVER__HOSTNAME".to_owned(),
        |name| format!("did you mean {name}?"),
    );
    Mistake {
        what: format!("unknown environment variable {name}"),
        place: None,
        why,
        notes: vec!["`mayfly config docs` lists all names".to_owned()],
    }
}
