//! Running a program as `env` and `timeout` do: signals go to it, its status is the caller's.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::environment::Variables;
use crate::signals::EndSignals;

/// Status of a program that cannot be executed, as shells have it.
pub const CANNOT_EXECUTE: u8 = 126;
/// Status of a program that is not there, as shells have it.
pub const NOT_FOUND: u8 = 127;

/// A program that runs.
pub struct Program {
    child: Child,
    ended: OwnedFd,
}

impl Program {
    /// Starts `command` (a program and its arguments) with `variables`. It is killed when this thread
    /// ends.
    ///
    /// # Errors
    /// What the system says of it.
    pub fn start(command: &[OsString], variables: &Variables) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // SAFETY: the closure makes two system calls, which may be made between fork and exec, about a
        // set that `sigemptyset` initializes.
        unsafe {
            command.pre_exec(|| {
                // The signals that this program collects are the other's to get.
                let mut none = std::mem::MaybeUninit::uninit();
                libc::sigemptyset(none.as_mut_ptr());
                libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
                let kill = libc::SIGKILL as libc::c_ulong;
                match libc::prctl(libc::PR_SET_PDEATHSIG, kill) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let ended = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { child, ended })
    }

    /// Waits for its end, and passes on the signals that come until then. Returns its status as a shell
    /// gives it.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(mut self, signals: &EndSignals) -> io::Result<u8> {
        let pid = Pid::from_child(&self.child);
        loop {
            let mut sources = [
                PollFd::new(&self.ended, PollFlags::IN),
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            ];
            match poll(&mut sources, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            while let Some(taken) = signals.take_one() {
                // A terminal has told the program already.
                if !taken.from_terminal {
                    // SAFETY: no memory is involved; the child has not been waited for yet, so its
                    // number is not another's.
                    unsafe { libc::kill(pid.as_raw_nonzero().get(), taken.signal) };
                }
            }
            if let Some(status) = self.child.try_wait()? {
                let by_signal = || 128 + status.signal().unwrap_or(0);
                return Ok(status.code().unwrap_or_else(by_signal) as u8);
            }
        }
    }
}

/// What a shell's status is for a program that could not be started.
pub fn status_of(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_EXECUTE,
    }
}
