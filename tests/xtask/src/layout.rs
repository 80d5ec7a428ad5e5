//! Where things live: the working tree and what the tasks keep under its `target/`.

use std::env;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The paths that every task works with.
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Finds the working tree that this program was started from.
    ///
    /// # Errors
    /// When the tree has gone, or `target/` cannot be made in it.
    pub fn discover() -> Result<Self> {
        // Set by `cargo run`; the compile-time value serves a binary that is started directly.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .join("../..")
            .canonicalize()
            .with_context(|| format!("looking for the working tree at {}", package.display()))?;
        let layout = Self { root };
        std::fs::create_dir_all(layout.cache())
            .with_context(|| format!("creating {}", layout.cache().display()))?;
        Ok(layout)
    }

    /// The working tree's top folder.
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// The folder for everything built or fetched, whatever `CARGO_TARGET_DIR` says.
    pub fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Downloads and private package state.
    pub fn cache(&self) -> PathBuf {
        self.target().join("cache")
    }

    /// Programs that run on the host without being installed.
    pub fn tools(&self) -> PathBuf {
        self.target().join("tools")
    }

    /// Guest kernels, image and initrds.
    pub fn guest(&self) -> PathBuf {
        self.target().join("guest")
    }

    /// One folder per running rig.
    pub fn rigs(&self) -> PathBuf {
        self.target().join("rig")
    }

    /// Keeps other tasks of the same working tree from preparing the same things until the returned
    /// file is dropped.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn lock(&self) -> Result<File> {
        let path = self.cache().join("lock");
        let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        if file.try_lock().is_err() {
            crate::progress::step("waiting for another task that prepares the same things");
            file.lock()
                .with_context(|| format!("locking {}", path.display()))?;
        }
        Ok(file)
    }
}
