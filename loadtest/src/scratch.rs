//! Folders for the time of a run, gone when it ends, however it ends.

use crate::failure::Failure;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self, Failure> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("mayfly-load-{}-{number}", std::process::id()));
        // Servers that change their user must be able to pass through it.
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(Failure::at("no folder for the run"))?;
        if let Ok(mut folders) = FOLDERS.lock() {
            folders.push(path.clone());
        }
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        if let Ok(mut folders) = FOLDERS.lock() {
            folders.retain(|folder| *folder != self.0);
        }
    }
}

/// Removes all that are left: this process ends at once.
pub(crate) fn remove_all() {
    for folder in FOLDERS
        .lock()
        .map(|folders| folders.clone())
        .unwrap_or_default()
    {
        let _ = std::fs::remove_dir_all(folder);
    }
}
