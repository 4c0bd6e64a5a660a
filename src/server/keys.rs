//! Reads the operator's API keys from where the settings say.

use crate::control::keys::{self, ApiKeys};
use crate::policy::plans::{KeyHash, PlanKey, Plans};
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Why a key cannot be used.
#[derive(Debug)]
pub enum KeyError {
    /// Its file cannot be read.
    File(PathBuf, io::Error),
    /// Its file is empty.
    Empty(PathBuf),
    /// Its file holds a key that is named elsewhere too.
    Twice(PathBuf),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(f, "cannot read the key in {}: {why}", path.display()),
            Self::Empty(path) => write!(f, "there is no key in {}", path.display()),
            Self::Twice(path) => write!(
                f,
                "the key in {} is named twice under [plans]\n  fix: take one out",
                path.display()
            ),
        }
    }
}

impl std::error::Error for KeyError {}

/// The keys that the settings name. Each names a hash or a file: that was checked.
pub(super) fn load(plans: &Plans) -> Result<ApiKeys, KeyError> {
    let mut found = ApiKeys::default();
    for PlanKey { plan, hash, file } in &plans.keys {
        if let Some(hash) = hash {
            found.add(*hash, plan);
        }
        if let Some(file) = file
            && !found.add(read(file)?, plan)
        {
            return Err(KeyError::Twice(file.clone()));
        }
    }
    Ok(found)
}

fn read(file: &PathBuf) -> Result<KeyHash, KeyError> {
    let bytes = fs::read(file).map_err(|why| KeyError::File(file.clone(), why))?;
    match bytes.trim_ascii() {
        [] => Err(KeyError::Empty(file.clone())),
        key => Ok(keys::hash(key)),
    }
}
