//! The driver's requests, as `guest-driver/module/uapi/weir.h` has them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use anyhow::{Context, Result};
use weir_wire::arena::CONSUMED;
use weir_wire::shared::SharedMemory;

#[repr(C)]
struct Start {
    arena_size: u64,
    flags: u32,
    client: u32,
}

#[repr(C)]
struct Submit {
    offset: u32,
    length: u32,
}

const IOC_WRITE: u32 = 1;
const IOC_READ: u32 = 2;

const fn request(direction: u32, number: u32, size: usize) -> libc::c_ulong {
    (direction << 30 | (size as u32) << 16 | 0xbe << 8 | number) as libc::c_ulong
}

const START: libc::c_ulong = request(IOC_READ | IOC_WRITE, 1, size_of::<Start>());
const SUBMIT: libc::c_ulong = request(IOC_WRITE, 2, size_of::<Submit>());

/// An open device with an arena, and no manners.
pub struct Client {
    file: File,
    /// The arena, mapped.
    pub arena: Arc<SharedMemory>,
    submitted: u64,
}

impl Client {
    /// Opens `path` and starts a client with an arena of `arena_size` bytes.
    pub fn open(path: &str, arena_size: u64) -> Result<Client> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut start = Start {
            arena_size,
            flags: 0,
            client: 0,
        };
        // SAFETY: START reads and writes one `Start`, which `start` is.
        let rc = unsafe { libc::ioctl(file.as_raw_fd(), START, &mut start) };
        if rc < 0 {
            return Err(io::Error::last_os_error()).context("starting a client");
        }
        let arena = SharedMemory::map(&file, start.arena_size)
            .context("mapping the arena")?
            .into();
        Ok(Client {
            file,
            arena,
            submitted: 0,
        })
    }

    /// Submits `length` bytes at `offset`, whatever they are. `false`: the client is over.
    pub fn submit(&mut self, offset: u32, length: u32) -> Result<bool> {
        let submit = Submit { offset, length };
        // SAFETY: SUBMIT reads one `Submit`, which `submit` is.
        let rc = unsafe { libc::ioctl(self.file.as_raw_fd(), SUBMIT, &submit) };
        if rc == 0 {
            self.submitted += 1;
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EIO) => Ok(false),
            // The driver itself refuses some of it.
            error if error.raw_os_error() == Some(libc::EINVAL) => Ok(true),
            error => Err(error).context("submitting a batch"),
        }
    }

    /// Batches submitted that the device has not taken yet.
    pub fn in_flight(&self) -> u64 {
        let consumed = self
            .arena
            .atomic_u64(CONSUMED)
            .expect("the header is mapped");
        self.submitted
            .saturating_sub(consumed.load(std::sync::atomic::Ordering::Acquire))
    }
}
