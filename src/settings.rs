//! How a room declares its settings: once, with type, default and sentence.
//!
//! [`settings!`] makes of such a declaration the struct, its defaults, its reader (unknown keys
//! are refused) and its page in the manual. `config/mayfly.toml` and `docs/configuration.md` are
//! printed from there, so neither can drift from the code.

#![forbid(unsafe_code)]

use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One setting as the manual shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name inside its section.
    pub key: &'static str,
    /// What kind of value it takes, in words: `size`, `duration`, `"created" or "any"`.
    pub kind: String,
    /// Whether it takes several values.
    pub list: bool,
    /// The words that it takes, if it takes only some.
    pub choices: &'static [Choice],
    /// Its value as TOML; `None` when it has none unless the operator gives one.
    pub value: Option<String>,
    /// Its sentences, a line each.
    pub doc: &'static [&'static str],
}

/// One of the few words that a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The word.
    pub word: &'static str,
    /// Its sentences, a line each.
    pub doc: &'static [&'static str],
}

/// A group of settings that can print its own page of the manual.
pub trait Described {
    /// The sentences about the whole group, a line each.
    fn about() -> &'static [&'static str];
    /// Every setting with the value that it has in `self`.
    fn entries(&self) -> Vec<Entry>;
}

/// A value that can stand in a config file.
pub trait Value {
    /// What kind of value it is, in words.
    fn kind() -> String;
    /// The value as TOML; `None` when there is none.
    fn toml(&self) -> Option<String>;
    /// Whether it is a list.
    #[must_use]
    fn is_list() -> bool {
        false
    }
    /// The words that it can be, if it can only be some.
    #[must_use]
    fn choices() -> &'static [Choice] {
        &[]
    }
}

/// Declares a group of settings. See the module's text.
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])* pub $field:ident : $ty:ty = $default:expr ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $( $(#[doc = $doc])* pub $field: $ty ),* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default ),* }
            }
        }

        impl $crate::settings::Described for $name {
            fn about() -> &'static [&'static str] {
                &[$($about),*]
            }

            fn entries(&self) -> Vec<$crate::settings::Entry> {
                vec![$( $crate::settings::Entry {
                    key: stringify!($field),
                    kind: <$ty as $crate::settings::Value>::kind(),
                    list: <$ty as $crate::settings::Value>::is_list(),
                    choices: <$ty as $crate::settings::Value>::choices(),
                    value: $crate::settings::Value::toml(&self.$field),
                    doc: &[$($doc),*],
                } ),*]
            }
        }
    };
}

/// Declares a setting that is one of a few words.
#[macro_export]
macro_rules! choices {
    (
        $(#[doc = $about:literal])*
        pub enum $name:ident {
            $( $(#[doc = $doc:literal])* $variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ::serde::Deserialize)]
        pub enum $name {
            $( $(#[doc = $doc])* #[serde(rename = $word)] $variant ),*
        }

        impl $crate::settings::Value for $name {
            fn kind() -> String {
                [$(concat!("\"", $word, "\"")),*].join(" or ")
            }

            fn toml(&self) -> Option<String> {
                Some(match self { $( Self::$variant => concat!("\"", $word, "\"").to_owned() ),* })
            }

            fn choices() -> &'static [$crate::settings::Choice] {
                &[$( $crate::settings::Choice { word: $word, doc: &[$($doc),*] } ),*]
            }
        }
    };
}

pub use crate::{choices, settings};

/// A number of bytes, written `10 MiB`, `64KiB` or as a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// This many KiB.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// This many MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// As a length in memory.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Bytes {
    /// The shortest exact form: `10 MiB`, `1500`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        for (shift, unit) in units {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size like \"64 MiB\", or a number of bytes")
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Bytes, E> {
                u64::try_from(n)
                    .map(Bytes)
                    .map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Bytes, E> {
                Ok(Bytes(n))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse::<bytesize::ByteSize>()
                    .map(|size| Bytes(size.as_u64()))
                    .map_err(|why| E::custom(format!("{why}; write a size like \"64 MiB\"")))
            }
        }
        deserializer.deserialize_any(BytesVisitor)
    }
}

/// A length of time, written `30s`, `5m` or `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// This many seconds.
    #[must_use]
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;
        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like \"30s\", \"5m\" or \"24h\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                humantime::parse_duration(text).map(Span).map_err(|why| {
                    E::custom(format!("{why}; write a duration like \"30s\" or \"24h\""))
                })
            }
        }
        deserializer.deserialize_any(SpanVisitor)
    }
}

/// A TOML basic string (TOML 1.0, "String").
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

impl Value for Bytes {
    fn kind() -> String {
        "size".to_owned()
    }

    fn toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Value for Span {
    fn kind() -> String {
        "duration".to_owned()
    }

    fn toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Value for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for u32 {
    fn kind() -> String {
        "number".to_owned()
    }

    fn toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for String {
    fn kind() -> String {
        "text".to_owned()
    }

    fn toml(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Value for PathBuf {
    fn kind() -> String {
        "path".to_owned()
    }

    fn toml(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}

impl Value for std::net::SocketAddr {
    fn kind() -> String {
        "address with port".to_owned()
    }

    fn toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl<T: Value> Value for Option<T> {
    fn kind() -> String {
        format!("{} (none unless given)", T::kind())
    }

    fn toml(&self) -> Option<String> {
        self.as_ref().and_then(Value::toml)
    }

    fn is_list() -> bool {
        T::is_list()
    }

    fn choices() -> &'static [Choice] {
        T::choices()
    }
}

impl<T: Value> Value for Vec<T> {
    fn kind() -> String {
        format!("list of {}", T::kind())
    }

    fn toml(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(Value::toml).collect();
        Some(format!("[{}]", items.join(", ")))
    }

    fn is_list() -> bool {
        true
    }

    fn choices() -> &'static [Choice] {
        T::choices()
    }
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "settings! declares for other rooms")]
mod tests {
    use super::*;

    settings! {
        /// A group for the test.
        pub struct Sample {
            /// How much.
            pub room: Bytes = Bytes::mib(64),
            /// How long.
            pub patience: Span = Span::secs(90),
        }
    }

    #[test]
    fn a_declaration_gives_defaults_reader_and_manual() {
        let sample: Sample = toml::from_str("room = \"1 KiB\"\npatience = \"2m\"").expect("valid");
        assert_eq!(
            (sample.room, sample.patience),
            (Bytes(1024), Span::secs(120))
        );
        let manual = Sample::default().entries();
        assert_eq!(manual[0].value.as_deref(), Some("\"64 MiB\""));
        assert_eq!(manual[1].value.as_deref(), Some("\"1m 30s\""));
        assert_eq!(manual[1].doc, [" How long."]);
    }

    #[test]
    fn what_is_printed_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1536, 10 << 20, 3 << 30] {
            let text = format!("room = {}", Bytes(bytes).toml().expect("always some"));
            let sample: Sample = toml::from_str(&text).expect("reads back");
            assert_eq!(sample.room, Bytes(bytes));
        }
    }

    #[test]
    fn any_text_reads_back() {
        #[derive(serde::Deserialize)]
        struct Holder {
            text: String,
        }
        for text in [
            "",
            "a \"b\" \\ 'c'",
            "tab\tnul\0del\u{7f}",
            "bl\u{fc}te \u{1f41f}",
        ] {
            let read: Holder = toml::from_str(&format!("text = {}", quoted(text))).expect("legal");
            assert_eq!(read.text, text);
        }
    }

    #[test]
    fn a_wrong_value_says_what_to_write() {
        let wrong = toml::from_str::<Sample>("patience = \"soon\"").expect_err("not a duration");
        assert!(
            wrong.to_string().contains("write a duration like"),
            "{wrong}"
        );
        let unknown = toml::from_str::<Sample>("patiance = \"1s\"").expect_err("no such key");
        assert!(
            unknown
                .to_string()
                .contains("expected `room` or `patience`"),
            "{unknown}"
        );
    }
}
