//! Namespaces: what of the system the worker sees at all.
//!
//! ```text
//! started process ── unshare ── fork ─┬─ waits, and ends as the worker ends
//!                                     └─ the worker: process 1 of its own process namespace
//! ```
//!
//! The kernel ends everything in a process namespace with its process 1, so nothing that a worker
//! starts outlives it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use super::{SandboxError, identity, step};

/// Which namespaces the worker got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespaces {
    /// All, made by root.
    ByRoot,
    /// All, below a user namespace.
    ByUser,
    /// The kernel or the administrator does not allow it.
    None,
}

/// What is unshared beside the user namespace.
const ALL: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWPID)
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWCGROUP);

/// Leaves the host's namespaces, as far as that is allowed. The caller goes on in a child process.
pub(super) fn enter() -> Result<Namespaces, SandboxError> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let got = match user.is_root() && unshare(ALL).is_ok() {
        true => Namespaces::ByRoot,
        false => match unshare(ALL | UnshareFlags::NEWUSER) {
            Ok(()) => {
                let mapped = identity::map(user.as_raw(), group.as_raw());
                step("mapping this user into its own namespace", mapped)?;
                Namespaces::ByUser
            }
            Err(error) => {
                log::warn!(
                    "no namespaces for workers ({error}): they see the host's processes and \
                     network interfaces, and only Landlock and seccomp hold them; see `weir doctor`"
                );
                return Ok(Namespaces::None);
            }
        },
    };
    become_first_process()?;
    Ok(got)
}

/// Unshares what does not change which files this process has open.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: CLONE_FILES is not among the flags, which is what makes the call unsafe.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Forks. The parent ends as the child does; the child returns.
fn become_first_process() -> Result<(), SandboxError> {
    let (watched, held) = step("making a pipe", rustix::pipe::pipe())?;
    // SAFETY: this process has one thread, so the child may do whatever this one might.
    match unsafe { libc::fork() } {
        -1 => step(
            "starting the worker's own process",
            Err(io::Error::last_os_error()),
        ),
        0 => {
            drop(held);
            die_with_parent(&watched)
        }
        child => {
            drop(watched);
            wait_for(child, held)
        }
    }
}

/// Has the kernel kill this process when its parent ends; or ends it, if the parent has ended.
fn die_with_parent(watched: &OwnedFd) -> Result<(), SandboxError> {
    let set = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    step("dying with the parent", set)?;
    let mut poll_fd = [PollFd::from_borrowed_fd(watched.as_fd(), PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut poll_fd, Some(&now)) {
        Ok(0) => Ok(()),
        _ => std::process::exit(1), // the parent's end of the pipe is closed
    }
}

/// Waits for `child` and ends as it does.
fn wait_for(child: i32, held: OwnedFd) -> ! {
    // The socket is the worker's alone: its end is seen on the other side.
    super::close_all_but(Some(held.as_raw_fd()));
    let _ = identity::drop_capabilities();
    let child = Pid::from_raw(child);
    let status = loop {
        match rustix::process::waitpid(child, WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => std::process::exit(1),
        }
    };
    end_as(status)
}

fn end_as(status: WaitStatus) -> ! {
    if let Some(signal) = status.terminating_signal() {
        // SAFETY: gives the signal its default effect on this process, and sends it to it.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    std::process::exit(status.exit_status().unwrap_or(1))
}
