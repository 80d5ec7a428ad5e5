//! Where workers keep what they have compiled.

use std::env;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The folder for the workers of `tenant`, made if need be. What a worker writes there, it later runs;
/// so tenants do not share one, and only this user may look inside.
///
/// # Errors
/// The folder cannot be made.
pub fn folder(tenant: &str) -> io::Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None if rustix::process::geteuid().is_root() => PathBuf::from("/var/cache"),
        None => env::home_dir()
            .ok_or_else(|| io::Error::other("this user has no home folder; set XDG_CACHE_HOME"))?
            .join(".cache"),
    };
    let folder = base.join("weir").join(tenant);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    Ok(folder)
}
