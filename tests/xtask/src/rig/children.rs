//! Programs that end when we do, whatever ends us.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::io::FdFlags;
use rustix::process::Signal;

use crate::process;

/// A running program, killed when dropped, and by the kernel when the thread that started it ends.
pub struct Bound {
    child: Child,
}

impl Bound {
    /// Starts `command`, which inherits `fds` under their own numbers and nothing else. It gets a process
    /// group of its own, so that Ctrl-C on the terminal reaches only us.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command, fds: &[&OwnedFd]) -> Result<Self> {
        let fds: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let parent = rustix::process::getpid();
        command.process_group(0);
        // SAFETY: between fork and exec only system calls are made, on descriptors that the caller's
        // borrow keeps open until `spawn` returns; nothing allocates or takes a lock.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                // Our end may have come before the line above.
                if rustix::process::getppid() != Some(parent) {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                for &fd in &fds {
                    rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(fd), FdFlags::empty())?;
                }
                Ok(())
            });
        }
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", process::describe(command)))?;
        Ok(Self { child })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
