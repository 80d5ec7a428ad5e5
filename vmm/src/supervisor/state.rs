//! The folder where a supervisor keeps its socket and its machines' consoles.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the folder cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// It could not be made or written.
    #[error("setting up {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another supervisor is there.
    #[error(
        "another `weir up` uses {}; stop it, or choose another folder with --state-dir",
        .0.display()
    )]
    InUse(PathBuf),
}

/// The folder used where none is given: for root the system's, for others their own.
pub fn default_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/run/weir".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) => Path::new(&folder).join("weir"),
        None => format!("/tmp/weir-{}", rustix::process::geteuid().as_raw()).into(),
    }
}

/// The control socket in `folder`.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// The console log of machine `name` in `folder`.
pub fn console_log(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.console.log"))
}

/// The socket for programs of tenant `name` that use `accelerator`, in `folder`.
pub fn tenant_socket(folder: &Path, name: &str, accelerator: &str) -> PathBuf {
    folder.join(format!("{name}.{accelerator}.sock"))
}

/// Makes `folder` and listens on its control socket.
pub fn claim(folder: &Path) -> Result<UnixListener, StateError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| StateError::Io { path, source }
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(error(folder))?;
    let socket = socket(folder);
    if UnixStream::connect(&socket).is_ok() {
        return Err(StateError::InUse(folder.into()));
    }
    match std::fs::remove_file(&socket) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(error(&socket)(why)),
        _ => {}
    }
    UnixListener::bind(&socket).map_err(error(&socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_supervisor_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let listener = claim(&folder).unwrap();
        assert!(matches!(claim(&folder), Err(StateError::InUse(_))));
        drop(listener);
        claim(&folder).unwrap();
    }
}
