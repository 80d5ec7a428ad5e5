//! Signals as readable events.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The signals that ask the program to end.
const ENDING: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// `si_code` of a signal that the kernel sent by itself (`asm-generic/siginfo.h`).
const SI_KERNEL: i32 = 0x80;

/// The signals that ask the program to end, as a descriptor that becomes readable.
pub struct EndSignals(OwnedFd);

/// A signal that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its number.
    pub signal: i32,
    /// Whether the kernel sent it, as a terminal does to all of its foreground programs at once.
    pub from_terminal: bool,
}

impl EndSignals {
    /// Blocks these signals in this thread and in those it will start, and collects them here.
    pub fn collect() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initializes the set; the other calls get that set and constants.
        let fd = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in ENDING {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            let blocked =
                libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            if blocked != 0 {
                return Err(io::Error::from_raw_os_error(blocked));
            }
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `signalfd` has just made this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes one signal, if one has arrived.
    pub fn take(&self) -> bool {
        self.take_one().is_some()
    }

    /// Takes one signal, if one has arrived.
    pub fn take_one(&self) -> Option<Taken> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        rustix::io::read(&self.0, &mut info).ok()?;
        let number = |offset: usize| info[offset..].first_chunk().map(|b| i32::from_ne_bytes(*b));
        Some(Taken {
            signal: number(std::mem::offset_of!(libc::signalfd_siginfo, ssi_signo))?,
            from_terminal: number(std::mem::offset_of!(libc::signalfd_siginfo, ssi_code))?
                == SI_KERNEL,
        })
    }
}

impl AsRawFd for EndSignals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for EndSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
