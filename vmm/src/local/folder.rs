//! A folder of this process's own, for sockets and for what a program's loader reads.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::supervisor::state;

/// The beginning of the names of such folders; the number of the process follows.
const PREFIX: &str = "exec-";

/// A folder that only this user can enter. It goes when this is dropped; where the process was killed,
/// the next process that makes one takes it away.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, below the state folder of this user.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> io::Result<Self> {
        Self::below(&state::default_folder())
    }

    fn below(parent: &Path) -> io::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(parent)?;
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        // Of an earlier process with this number.
        let _ = std::fs::remove_dir_all(&path);
        builder.recursive(false).create(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::warn!("removing {}: {error}", self.0.display());
        }
    }
}

/// Takes away the folders of processes that are no more.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(owner) = owner.and_then(|number| number.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new("/proc").join(owner.to_string()).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_private_and_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        // No process has such a number: it is above the kernel's limit.
        let dead = parent.path().join("exec-4194305");
        let other = parent.path().join("exec-x");
        std::fs::create_dir(&dead).unwrap();
        std::fs::create_dir(&other).unwrap();
        let folder = Folder::below(parent.path()).unwrap();
        let path = folder.path().to_owned();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(!dead.exists() && other.exists());
        std::fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
