//! The last mailbox that was created here, so that `mayfly mailbox new && mayfly mailbox wait --code` needs no token.
//!
//! One small file that only its owner may read. It goes by `--state`, `MAYFLY_STATE`, or is `mayfly/mailbox.json` below
//! `XDG_STATE_HOME` (`~/.local/state` unless set; XDG Base Directory Specification 0.8).

use super::http::Base;
use super::secret::Secret;
use super::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where the file is, unless somebody says otherwise.
const PLACE: &str = "mayfly/mailbox.json";

/// What is known of a mailbox.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// The URL of its server.
    pub(super) server: String,
    pub(super) address: String,
    pub(super) token: String,
    /// The ticket that gives a new token when this one is lost.
    pub(super) recovery: String,
    /// When it ends, as far as was known.
    pub(super) expires_at: String,
    /// Up to which message each was handed out.
    #[serde(default)]
    pub(super) taken: Taken,
}

/// The ids up to which messages were handed out: what was taken once is not taken again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// For its code.
    #[serde(default)]
    pub(super) code: Option<String>,
    /// For its link.
    #[serde(default)]
    pub(super) link: Option<String>,
    /// For itself.
    #[serde(default)]
    pub(super) message: Option<String>,
}

impl fmt::Debug for State {
    /// Never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State(..)")
    }
}

impl State {
    /// Its token.
    pub(super) fn secret(&self) -> Secret {
        Secret::new(&self.token)
    }

    /// Its server.
    pub(super) fn base(&self) -> Result<Base, Failure> {
        Base::parse(&self.server)
    }
}

/// Where the state is.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// The file that was named, or the usual one; `None` if there is no place for one.
    pub(super) fn find(named: Option<&Path>) -> Option<Self> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let named = named.map(Path::to_owned);
        let named = named.or_else(|| variable("MAYFLY_STATE").map(PathBuf::from));
        if named.is_some() {
            return named.map(Self);
        }
        // A relative path there counts for nothing, says the specification.
        let folder = variable("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let folder = folder.or_else(|| Some(Path::new(&variable("HOME")?).join(".local/state")))?;
        Some(Self(folder.join(PLACE)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What is there; `None` if nothing is.
    pub(super) fn read(&self) -> Result<Option<State>, Failure> {
        let unreadable = |why: &dyn fmt::Display| {
            let what = format!("cannot read {}: {why}", self.0.display());
            Failure::new(Exit::Failure, "state", what)
                .fix("delete it, or name another file with --state")
        };
        match fs::read(&self.0) {
            // An empty file is what `mktemp` makes.
            Ok(bytes) if bytes.trim_ascii().is_empty() => Ok(None),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|_| unreadable(&"it holds no mailbox")),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(unreadable(&why)),
        }
    }

    /// Makes sure that a mailbox can be kept here, before there is one whose token would be lost.
    pub(super) fn prepare(&self) -> Result<Draft, Failure> {
        self.draft().map_err(|why| self.unwritable(&why))
    }

    fn draft(&self) -> io::Result<Draft> {
        if let Some(folder) = self
            .0
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut name = self.0.clone().into_os_string();
        name.push(format!(".{}", std::process::id()));
        let path = PathBuf::from(name);
        // Left by a process of this number that was killed; `create_new` still follows nobody's link.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Draft {
            file,
            path,
            place: self.clone(),
        })
    }

    /// Writes it, in one step: who reads meanwhile sees the one or the other.
    pub(super) fn write(&self, state: &State) -> Result<(), Failure> {
        self.prepare()?.keep(state)
    }

    /// Takes it away.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.0) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(self.unwritable(&why)),
            _ => Ok(()),
        }
    }

    fn unwritable(&self, why: &io::Error) -> Failure {
        let what = format!("cannot write {}: {why}", self.0.display());
        Failure::new(Exit::Failure, "state", what)
            .because("the mailbox's token is kept there")
            .fix("name a file that can be written with --state or MAYFLY_STATE")
    }
}

/// A file beside the place, which takes it when it is written.
#[derive(Debug)]
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    place: Place,
}

impl Draft {
    /// Writes it and puts it where it belongs.
    pub(super) fn keep(mut self, state: &State) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(state).expect("a state has text keys only");
        self.file
            .write_all(&text)
            .and_then(|()| fs::rename(&self.path, &self.place.0))
            .map_err(|why| self.place.unwritable(&why))
    }
}

impl Drop for Draft {
    /// One that was not kept, or could not be, is of no use.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_was_left_behind_is_in_nobodys_way() {
        let folder = std::env::temp_dir().join(format!("mayfly-draft-{}", std::process::id()));
        let place = Place(folder.join("mailbox.json"));
        // As if the process were killed: what would remove it never runs.
        std::mem::forget(place.prepare().expect("a draft"));
        let again = place.prepare();
        let _ = fs::remove_dir_all(&folder);
        assert!(again.is_ok(), "{again:?}");
    }
}
