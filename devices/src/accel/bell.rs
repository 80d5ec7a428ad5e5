//! Events that wake a thread, here or in another process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use rustix::event::EventfdFlags;
use vmm_sys_util::eventfd::EventFd;

/// An event counter of the system. Ringing it never blocks.
#[derive(Debug)]
pub(super) struct Bell {
    file: OwnedFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let file = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { file })
    }

    /// The event that another holder of it shared.
    pub(super) fn from_file(file: OwnedFd) -> Self {
        Self { file }
    }

    /// Wakes who waits for it, or will.
    pub(super) fn ring(&self) {
        // Fails only where the counter is full, and then it has been rung.
        let _ = rustix::io::write(&self.file, &1u64.to_ne_bytes());
    }

    /// Forgets that it has been rung, for whoever waits until it is readable.
    pub(super) fn clear(&self) {
        let _ = rustix::io::read(&self.file, &mut [0; 8]);
    }

    /// The same event, for another process.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.file.try_clone()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<EventFd> for Bell {
    fn from(event: EventFd) -> Self {
        // SAFETY: the descriptor was the event's own and is nobody else's from now on.
        let file = unsafe { OwnedFd::from_raw_fd(event.into_raw_fd()) };
        Self { file }
    }
}
