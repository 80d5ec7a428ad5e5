//! What the worker cannot do.
//!
//! It runs a tenant's code, compiled by the vendor's library, in its own address space; so it is
//! shut in before that library is loaded, in layers each of which would do for most purposes:
//!
//! | layer | file |
//! |---|---|
//! | nothing of what it was started with: descriptors, variables | here, `environment` |
//! | it dies with whoever started it, and all that it starts dies with it | `namespaces` |
//! | no other processes, no network, no other System V objects | `namespaces` |
//! | a file tree with only what an accelerator needs, read-only | `tree`, `paths` |
//! | a user of the tenant's own, no capabilities, no new privileges | `identity` |
//! | bounded memory, processes, files | `limits`, `cgroup` |
//! | of the files it sees, only its cache is written (Landlock) | `files` |
//! | only the system calls that such libraries make (seccomp) | `syscalls` |
//!
//! Where the host does not allow namespaces, the rest remains, and the log says so.

mod cgroup;
pub(crate) mod check;
pub(crate) mod environment;
mod files;
mod identity;
mod limits;
mod namespaces;
mod paths;
mod syscalls;
mod tree;

use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

pub(crate) use namespaces::Namespaces;

/// How the worker is shut in.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// Directory that may be written.
    pub(crate) cache: PathBuf,
    /// More paths that may be read.
    pub(crate) read: Vec<PathBuf>,
    /// Whether to refuse where the kernel lacks something.
    pub(crate) strict: bool,
    /// The descriptor that stays open.
    pub(crate) keep: Option<RawFd>,
    /// Most bytes of memory; `None` for what the host has.
    pub(crate) memory: Option<u64>,
    /// Control group to join, as a folder.
    pub(crate) cgroup: Option<PathBuf>,
}

/// The worker could not be shut in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// A step failed.
    #[error("{step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The rules for the file system could not be made.
    #[error("restricting the file system")]
    Files(#[from] landlock::RulesetError),
    /// The kernel has no Landlock.
    #[error(
        "this kernel has no Landlock, so the worker could read every file of the host; enable it \
         (lsm=landlock,…) or start with --sandbox best-effort"
    )]
    NoLandlock,
    /// The filter of system calls could not be made.
    #[error("filtering system calls")]
    Filter(#[from] seccompiler::Error),
    /// The filter of system calls could not be made.
    #[error("filtering system calls")]
    Backend(#[from] seccompiler::BackendError),
}

fn step<T, E: Into<io::Error>>(
    step: &'static str,
    result: Result<T, E>,
) -> Result<T, SandboxError> {
    result.map_err(|source| SandboxError::Step {
        step,
        source: source.into(),
    })
}

/// The result of a system call that is -1 on failure.
fn done(result: libc::c_long) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

impl Sandbox {
    /// Shuts this process in. It must have one thread only, and goes on as another process. Answers
    /// what the host allowed.
    pub(crate) fn enter(&self) -> Result<Namespaces, SandboxError> {
        step(
            "dying with the parent",
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)),
        )?;
        // Fails for one that leads a session already, which is as good.
        let _ = rustix::process::setsid();
        close_all_but(self.keep);
        // What follows makes places that the tenant's user must reach.
        rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
        let cache = self.make_cache()?;
        limits::die_first();
        let bounded = match &self.cgroup {
            Some(folder) => {
                step("joining the control group", cgroup::join(folder)).map(|()| true)?
            }
            None => false,
        };
        let read = paths::readable(&self.read);
        let devices = paths::devices();
        let user = identity::user_of(&cache);

        let namespaces = namespaces::enter()?;
        let cache = match namespaces {
            Namespaces::None => cache,
            Namespaces::ByRoot | Namespaces::ByUser => {
                if namespaces == Namespaces::ByRoot {
                    step(
                        "giving the cache to the tenant's user",
                        identity::give(&cache, user),
                    )?;
                }
                let entered = tree::enter(&cache, &read, &devices);
                step("moving into a file tree of its own", entered)?;
                PathBuf::from(tree::CACHE)
            }
        };
        environment::point_at(&cache, &cache.join("tmp"));
        // Its files are this client's alone; of a cache, other clients of the tenant's have a part.
        weir_runtime::files::set_site(match namespaces {
            Namespaces::None => cache.join("tmp").join(std::process::id().to_string()),
            Namespaces::ByRoot | Namespaces::ByUser => Path::new(tree::SHARED).join("files"),
        });
        if namespaces == Namespaces::ByRoot {
            identity::become_user(user, &devices)?;
        }
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        limits::set(self.memory)?;
        identity::drop_capabilities()?;
        step(
            "forbidding new privileges",
            rustix::thread::set_no_new_privs(true),
        )?;
        let shared = Path::new(tree::SHARED);
        let write: &[&Path] = match namespaces {
            Namespaces::None => &[&cache],
            _ => &[&cache, shared],
        };
        if !files::restrict(write, &read)? {
            match self.strict {
                true => return Err(SandboxError::NoLandlock),
                false => log::warn!("no Landlock here: see `weir doctor`"),
            }
        }
        syscalls::restrict(bounded)?;
        Ok(namespaces)
    }

    /// The cache with its folder for temporary files; its whole path.
    fn make_cache(&self) -> Result<PathBuf, SandboxError> {
        step(
            "making the cache directory",
            std::fs::create_dir_all(&self.cache),
        )?;
        let cache = step("finding the cache directory", self.cache.canonicalize())?;
        let made = match std::fs::create_dir(cache.join("tmp")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        step("making the temporary directory", made)?;
        Ok(cache)
    }
}

/// Closes every descriptor but the standard ones and `keep`.
fn close_all_but(keep: Option<RawFd>) {
    let close = |first: u32, last: u32| {
        // SAFETY: nothing in this process uses a descriptor from 3 on but the one that is kept, and
        // those that a caller will not use any more. It fails only on a kernel that lacks it.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    };
    match keep.and_then(|keep| u32::try_from(keep).ok()) {
        Some(keep) if keep > 3 => {
            close(3, keep - 1);
            close(keep + 1, u32::MAX);
        }
        Some(keep) => close(keep.max(2) + 1, u32::MAX),
        None => close(3, u32::MAX),
    }
}
