//! Reads the operator's API keys, and the secrets of their webhooks, from where the settings say.

use crate::config::Config;
use crate::control::Secrets as WebhookSecrets;
use crate::control::keys::{self, ApiKeys};
use crate::policy::plans::{KeyHash, PlanKey, Plans};
use crate::policy::webhooks::Rules;
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
    /// Its file holds something else than a secret for webhooks.
    NoSecret(PathBuf),
    /// Its file holds a key that is named elsewhere too.
    Twice(PathBuf),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(f, "cannot read the key in {}: {why}", path.display()),
            Self::Empty(path) => write!(f, "there is no key in {}", path.display()),
            Self::NoSecret(path) => write!(
                f,
                "there is no secret for webhooks in {}\n  fix: write whsec_ and 24 to 64 random bytes in base 64 there",
                path.display()
            ),
            Self::Twice(path) => write!(
                f,
                "the key in {} is named twice under [plans]\n  fix: take one out",
                path.display()
            ),
        }
    }
}

impl std::error::Error for KeyError {}

/// What files hold that only the operator may read.
pub(super) struct Secrets {
    pub(super) keys: ApiKeys,
    pub(super) webhooks: WebhookSecrets,
}

/// Reads all that the settings name. Each key has a hash or a file: that was checked.
pub(super) fn load(config: &Config) -> Result<Secrets, KeyError> {
    Ok(Secrets {
        keys: keys_of(&config.plans)?,
        webhooks: webhook_secrets(&config.webhooks)?,
    })
}

fn keys_of(plans: &Plans) -> Result<ApiKeys, KeyError> {
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

fn webhook_secrets(rules: &Rules) -> Result<WebhookSecrets, KeyError> {
    let mut found = WebhookSecrets::default();
    for webhook in &rules.domains {
        let file = &webhook.secret_file;
        let text = fs::read(file).map_err(|why| KeyError::File(file.clone(), why))?;
        if !found.add(webhook.id(), &text) {
            return Err(KeyError::NoSecret(file.clone()));
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
