//! Reads the settings.

use crate::config::{Config, ConfigErrors, Effective, Source};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why no settings could be had.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// There are mistakes in it or in the environment.
    Mistakes(ConfigErrors),
}

impl std::error::Error for LoadError {}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => {
                write!(f, "error: cannot read {}: {why}", path.display())
            }
            Self::Mistakes(mistakes) => mistakes.fmt(f),
        }
    }
}

/// Reads the settings: from this file, if one is given, and from the environment, which wins.
pub fn load(path: Option<&Path>) -> Result<Effective, LoadError> {
    let unreadable = |path: &Path, why| LoadError::Unreadable {
        path: path.to_owned(),
        why,
    };
    let text = path
        .map(|path| std::fs::read_to_string(path).map_err(|why| unreadable(path, why)))
        .transpose()?;
    let name = path.map(Path::to_string_lossy);
    let source = text.as_deref().zip(name.as_deref());
    // Not `std::env::vars`, which panics if any variable of the process is not UTF-8.
    let environment = std::env::vars_os().map(|(name, value)| {
        [name, value]
            .map(|text| text.to_string_lossy().into_owned())
            .into()
    });
    Config::load(
        source.map(|(text, name)| Source { name, text }),
        environment,
    )
    .map_err(LoadError::Mistakes)
}
