//! Text that nobody may see by accident: tokens and keys.

use super::{Exit, Failure};
use axum::http::HeaderValue;
use std::fmt;
use std::path::Path;

/// The largest file that may hold a secret.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A token or a key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// The text, without white space around it.
    pub(super) fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// What a variable of the environment holds; `None` if it is not set, or empty.
    pub(super) fn of_variable(name: &str) -> Result<Option<Self>, Failure> {
        match std::env::var(name) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Ok(Some(Self::new(&text))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::usage(format!("{name} is not text")))
            }
        }
    }

    /// What a file holds, and nothing else.
    pub(super) fn of_file(path: &Path) -> Result<Self, Failure> {
        let unreadable = |why: &dyn fmt::Display| {
            Failure::usage(format!(
                "cannot read the token in {}: {why}",
                path.display()
            ))
        };
        let metadata = std::fs::metadata(path).map_err(|why| unreadable(&why))?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(unreadable(&"it is too large to hold a token"));
        }
        let text = std::fs::read_to_string(path).map_err(|why| unreadable(&why))?;
        match text.trim() {
            "" => Err(unreadable(&"it is empty")),
            text => Ok(Self::new(text)),
        }
    }

    /// The `Authorization` field that shows it.
    pub(super) fn bearer(&self) -> Result<HeaderValue, Failure> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).map_err(|_| {
            Failure::new(
                Exit::Usage,
                "usage",
                "the token or key has characters that none has",
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let secret = Secret::new(" mf_secret\n");
        assert_eq!(secret.0, "mf_secret");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let bearer = secret.bearer().expect("it can be sent");
        assert_eq!(format!("{bearer:?}"), "Sensitive");
        let why = Secret::new("mf_se\ncret").bearer().expect_err("a line end");
        assert!(!why.to_string().contains("cret"));
    }
}
