//! Memory that somebody else writes at the same time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// A range lies outside of the memory that it refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at {offset:#x} are outside of {size:#x} bytes of shared memory")]
pub struct OutOfRange {
    /// First byte asked for.
    pub offset: u64,
    /// Bytes asked for.
    pub len: u64,
    /// Bytes there are.
    pub size: u64,
}

/// Makes a memory file of `len` bytes that can neither grow nor shrink, so that no process that
/// holds it can make another's access fault.
pub fn memory_file(name: &str, len: u64) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, len)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// Whether `file` is sealed against shrinking: mapping a file that is not could fault later.
pub fn is_sealed(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

/// A mapping of memory that other processes, or a guest, write at the same time.
///
/// It hands out no references to plain bytes: data is copied in and out, and words that both sides
/// use are atomics. What is read may be anything, and may be different when read again.
#[derive(Debug)]
pub struct SharedMemory {
    base: NonNull<u8>,
    len: u64,
}

// SAFETY: the mapping stays where it is for the value's lifetime, and all access goes through
// copies and atomics, which any thread may do at any time.
unsafe impl Send for SharedMemory {}
// SAFETY: as above; no method hands out a reference to plain memory.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Maps the first `len` bytes of `file` for reading and writing.
    pub fn map(file: impl AsFd, len: u64) -> io::Result<SharedMemory> {
        let size = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                file,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMemory { base, len })
    }

    /// Makes a sealed memory file of `len` bytes and maps it.
    pub fn create(name: &str, len: u64) -> io::Result<(SharedMemory, OwnedFd)> {
        let file = memory_file(name, len)?;
        Ok((SharedMemory::map(&file, len)?, file))
    }

    /// Bytes mapped.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of `len` bytes at `offset`, for handing to a library that reads or writes them
    /// itself. Valid as long as `self`; the bytes may change at any time.
    pub fn address(&self, offset: u64, len: u64) -> Result<NonNull<u8>, OutOfRange> {
        match offset.checked_add(len) {
            // SAFETY: offset + len <= self.len, so the address is inside of the mapping or one past.
            Some(end) if end <= self.len => Ok(unsafe { self.base.add(offset as usize) }),
            _ => Err(OutOfRange {
                offset,
                len,
                size: self.len,
            }),
        }
    }

    /// Copies `out.len()` bytes at `offset` out.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), OutOfRange> {
        let from = self.address(offset, out.len() as u64)?;
        // SAFETY: `address` checked the range; `out` is ours, so the two don't overlap. Another
        // process may write the source meanwhile: then bytes are old or new, and any value is valid.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies `data` in at `offset`.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), OutOfRange> {
        let to = self.address(offset, data.len() as u64)?;
        // SAFETY: as in `read`, in the other direction.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to.as_ptr(), data.len()) };
        Ok(())
    }

    /// The 32-bit word at `offset`, which must be a multiple of 4.
    pub fn atomic_u32(&self, offset: u64) -> Result<&AtomicU32, OutOfRange> {
        let at = self.address(offset, 4)?;
        if !offset.is_multiple_of(4) {
            return Err(OutOfRange {
                offset,
                len: 4,
                size: self.len,
            });
        }
        // SAFETY: in range and aligned (mappings are page-aligned), alive as long as `self`, and
        // every process uses this word atomically.
        Ok(unsafe { AtomicU32::from_ptr(at.as_ptr().cast()) })
    }

    /// The 64-bit word at `offset`, which must be a multiple of 8.
    pub fn atomic_u64(&self, offset: u64) -> Result<&AtomicU64, OutOfRange> {
        let at = self.address(offset, 8)?;
        if !offset.is_multiple_of(8) {
            return Err(OutOfRange {
                offset,
                len: 8,
                size: self.len,
            });
        }
        // SAFETY: as in `atomic_u32`.
        Ok(unsafe { AtomicU64::from_ptr(at.as_ptr().cast()) })
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: `map` made this mapping, and nothing borrowed from `self` outlives it. An error
        // could only mean a bug in the arguments; there is nothing to do about it here.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len as usize) };
    }
}
