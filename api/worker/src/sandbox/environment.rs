//! The variables that the worker starts with.
//!
//! What a process is started with stays readable in its memory, so removing a variable is not
//! enough: the worker starts itself anew with those that it may have.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Variables that are kept: how to find and set up the vendor's library, and how to log.
const KEPT: &[&str] = &[
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "OCL_ICD_FILENAMES",
    "OCL_ICD_VENDORS",
    "PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "WEIR_LOG",
];

/// Beginnings of names of variables that are kept as well.
const KEPT_PREFIXES: &[&str] = &["CL_CONFIG_", "CUDA_", "GPU_", "NVIDIA_", "POCL_", "ROCR_"];

fn is_kept(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Starts this program anew if it was started with variables that it should not have. Returns only
/// if there are none, or on failure.
pub(crate) fn clean() -> io::Result<()> {
    let (kept, others): (Vec<_>, Vec<_>) = std::env::vars_os().partition(|(name, _)| is_kept(name));
    if others.is_empty() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name: OsString = arguments.next().unwrap_or_else(|| "weir-worker".into());
    // By its name, which is how it is known to `ps`.
    Err(Command::new(std::env::current_exe()?)
        .arg0(name)
        .args(arguments)
        .env_clear()
        .envs(kept)
        .exec())
}

/// Points the vendors' caches at ours.
pub(super) fn point_at(cache: &Path, temporary: &Path) {
    let ours = [
        ("POCL_CACHE_DIR", cache),
        ("CUDA_CACHE_PATH", cache),
        ("XDG_CACHE_HOME", cache),
        ("HOME", cache),
        ("TMPDIR", temporary),
        ("POCL_TEMPDIR", temporary),
    ];
    for (name, value) in ours {
        // SAFETY: this process has one thread, as `Sandbox::enter` demands.
        unsafe { std::env::set_var(name, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_kept() {
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "SSH_AUTH_SOCK",
            "WEIR_SOCKET",
            "HOME",
        ] {
            assert!(!is_kept(OsStr::new(name)), "{name}");
        }
        for name in ["OCL_ICD_VENDORS", "POCL_DEVICES", "RUST_LOG"] {
            assert!(is_kept(OsStr::new(name)), "{name}");
        }
    }
}
