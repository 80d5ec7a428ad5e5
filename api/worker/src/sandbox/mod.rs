//! What the worker cannot do.
//!
//! It runs a tenant's code, compiled by the vendor's library, in its own address space; so it is
//! shut in before that library is loaded:
//!
//! - nothing that it was not given is open, and it dies with whoever started it;
//! - it leads a process group of its own, which nothing that it starts can leave;
//! - it has no capabilities, can gain no privileges, and leaves no core dump;
//! - Landlock: of the file system it sees the libraries and devices that an accelerator needs, for
//!   reading, and may write its cache; no network, no signals to other processes;
//! - seccomp: no sockets, no other processes' memory, no namespaces, mounts, keys, BPF or io_uring.
//!   All else is allowed: which system calls a vendor's library makes is not ours to know. Compilers
//!   start a linker, so starting programs (of those that can be read) is allowed as well.

pub(crate) mod check;
mod files;
mod syscalls;

use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

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
    /// Shuts this process in. It must have one thread only.
    pub(crate) fn enter(&self) -> Result<(), SandboxError> {
        step(
            "dying with the parent",
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)),
        )?;
        // Fails for one that leads a session already, which is as good.
        let _ = rustix::process::setsid();
        self.close_descriptors()?;
        step(
            "making the cache directory",
            std::fs::create_dir_all(&self.cache),
        )?;
        let cache = step("finding the cache directory", self.cache.canonicalize())?;
        let temporary = cache.join("tmp");
        step(
            "making the temporary directory",
            std::fs::create_dir_all(&temporary),
        )?;
        set_environment(&cache, &temporary);
        step(
            "forbidding core dumps",
            setrlimit(
                Resource::Core,
                Rlimit {
                    current: Some(0),
                    maximum: Some(0),
                },
            ),
        )?;
        drop_capabilities()?;
        step(
            "forbidding new privileges",
            rustix::thread::set_no_new_privs(true),
        )?;
        if !files::restrict(&cache, &self.read)? {
            match self.strict {
                true => return Err(SandboxError::NoLandlock),
                false => log::warn!("no Landlock here: the worker can read the host's files"),
            }
        }
        syscalls::restrict()
    }

    fn close_descriptors(&self) -> Result<(), SandboxError> {
        let close = |first: u32, last: u32| {
            // SAFETY: nothing in this process uses a descriptor from 3 on but the one that is kept.
            done(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
        };
        let close = |first, last| step("closing descriptors", close(first, last));
        match self.keep.and_then(|keep| u32::try_from(keep).ok()) {
            Some(keep) if keep > 3 => {
                close(3, keep - 1)?;
                close(keep + 1, u32::MAX)
            }
            Some(keep) => close(keep.max(2) + 1, u32::MAX),
            None => close(3, u32::MAX),
        }
    }
}

/// Points the vendors' caches at ours.
fn set_environment(cache: &std::path::Path, temporary: &std::path::Path) {
    let ours = [
        ("POCL_CACHE_DIR", cache),
        ("CUDA_CACHE_PATH", cache),
        ("XDG_CACHE_HOME", cache),
        ("HOME", cache),
        ("TMPDIR", temporary),
        ("POCL_TEMPDIR", temporary),
    ];
    // SAFETY: this process has one thread, as `enter` demands.
    unsafe {
        // A worker must not become a guest of Weir itself.
        std::env::remove_var("WEIR_SOCKET");
        for (name, value) in ours {
            std::env::set_var(name, value);
        }
    }
}

/// Gives up every capability, for this process and all that it starts. (It has some if the VMM is
/// run by root.)
fn drop_capabilities() -> Result<(), SandboxError> {
    for capability in 0..64 {
        // Fails where there is no such capability, or none of them: then there is nothing to drop.
        // SAFETY: changes this process's own bounding set.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let none = [0u32; 6];
    // SAFETY: version 3 of the call reads a header and two times three words.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    step("giving up capabilities", done(result))
}
