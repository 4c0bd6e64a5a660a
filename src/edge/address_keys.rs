//! The keys of addresses that prove themselves: from files that several servers share, or drawn at start.

use crate::policy::self_authenticating::{Key, Keys};
use aws_lc_rs::hmac;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A secret must be as long: 128 bits even if it is written in base 16.
const SECRET_BYTES_MIN: usize = 32;

/// What is longer is not a secret but some other file.
const SECRET_BYTES_MAX: usize = 4096;

/// What a secret is used for. Keys for other purposes would be made with other words, and tell nothing of these.
const PURPOSE: &[u8] = b"mayfly: self-authenticating addresses, 1";

/// Why a secret cannot be used.
#[derive(Debug)]
pub enum AddressKeyError {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// It has too few bytes, or too many.
    Length(PathBuf),
}

impl fmt::Display for AddressKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(
                f,
                "cannot read {}: {why}\n  fix: name a readable file in `self_authenticating_keys` under [recipients]",
                path.display()
            ),
            Self::Length(path) => write!(
                f,
                "{} is no secret: it must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes\n  fix: openssl rand -base64 32 > {}",
                path.display(),
                path.display()
            ),
        }
    }
}

impl std::error::Error for AddressKeyError {}

/// The keys that these files hold. If there are none, those that were in use before, or else one that is drawn.
///
/// # Errors
/// When a file cannot be used.
pub fn load(files: &[PathBuf], before: Option<&Keys>) -> Result<Keys, AddressKeyError> {
    let mut keys = files.iter().map(|path| read(path));
    match (keys.next().transpose()?, before) {
        (Some(first), _) => Ok(Keys::new(first, keys.collect::<Result<_, _>>()?)),
        (None, Some(keys)) => Ok(keys.clone()),
        (None, None) => Ok(Keys::new(drawn(), Vec::new())),
    }
}

fn read(path: &Path) -> Result<Key, AddressKeyError> {
    let mut secret = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(SECRET_BYTES_MAX as u64 + 1)
                .read_to_end(&mut secret)
        })
        .map_err(|why| AddressKeyError::File(path.to_owned(), why))?;
    let is_cut = secret.len() > SECRET_BYTES_MAX;
    let secret = secret.trim_ascii_end();
    if is_cut || secret.len() < SECRET_BYTES_MIN {
        return Err(AddressKeyError::Length(path.to_owned()));
    }
    Ok(derived(secret))
}

fn derived(secret: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), PURPOSE);
    let mut key = [0; 16];
    key.copy_from_slice(&tag.as_ref()[..16]);
    Key(key)
}

fn drawn() -> Key {
    let mut key = [0; 16];
    aws_lc_rs::rand::fill(&mut key).unwrap_or_else(|_| {
        unreachable!("the generator is seeded or the process would have aborted")
    });
    Key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of this content in a folder of its own.
    fn file(name: &str, content: &[u8]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mayfly-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        let path = folder.join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    #[test]
    fn a_secret_makes_the_same_key_everywhere() {
        let secret = b"0123456789abcdef0123456789abcdef";
        let one = file("one", secret);
        let other = file("other", &[secret.as_slice(), b"\r\n"].concat());
        let third = file("third", &[7; SECRET_BYTES_MAX]);
        let load_one = |paths: &[&PathBuf]| {
            let paths: Vec<PathBuf> = paths.iter().map(|path| (*path).clone()).collect();
            load(&paths, None).expect("sound")
        };
        assert!(load_one(&[&one]) == load_one(&[&other]));
        assert!(load_one(&[&one]) != load_one(&[&third]));
        assert!(load_one(&[&one, &third]) != load_one(&[&third, &one]));
        let drawn = load(&[], None).expect("drawn");
        assert!(drawn != load(&[], None).expect("drawn"));
        assert!(drawn == load(&[], Some(&drawn)).expect("kept"));
        let before = load_one(&[&one]);
        assert!(load(&[third], Some(&before)).expect("sound") != before);
    }

    #[test]
    fn what_is_no_secret_is_refused_with_a_remedy() {
        for (name, content) in [
            ("short", &[b'x'; SECRET_BYTES_MIN - 1][..]),
            ("blank", &[b' '; 100]),
            ("long", &[b'x'; SECRET_BYTES_MAX + 1]),
        ] {
            let path = file(name, content);
            let why = load(&[path], None).expect_err(name).to_string();
            assert!(why.contains("fix: openssl rand"), "{why}");
        }
        let missing = file("there", b"").with_file_name("not-there");
        let why = load(&[missing], None).expect_err("not there").to_string();
        assert!(why.contains("self_authenticating_keys"), "{why}");
    }
}
