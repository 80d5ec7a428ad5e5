//! Guest memory: one memfd, mapped into the VMM and nowhere else.

use std::fs::File;
use std::io;

use rustix::fs::{MemfdFlags, SealFlags};
use thiserror::Error;
use vm_memory::mmap::FromRangesError;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use crate::layout;

/// The one type of guest memory in this program.
pub type GuestMemory = GuestMemoryMmap<()>;

/// Why guest memory could not be set up.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// The memory file could not be made.
    #[error("making a memory file of {size} bytes for the guest")]
    File {
        /// Bytes asked for.
        size: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The memory file could not be mapped.
    #[error("mapping {size} bytes of guest memory")]
    Map {
        /// Bytes asked for.
        size: u64,
        /// What the system said.
        #[source]
        source: FromRangesError,
    },
}

/// Makes guest memory of `size` bytes (a multiple of 4096), laid out round the PCI hole.
pub fn create(size: u64) -> Result<GuestMemory, MemoryError> {
    let file = memory_file(size).map_err(|source| MemoryError::File { size, source })?;
    let (low, high) = layout::memory_ranges(size);
    let high_offset = low.end;
    let second = file
        .try_clone()
        .map_err(|source| MemoryError::File { size, source })?;
    let parts = [(low, file, 0), (high, second, high_offset)];
    let ranges = parts
        .into_iter()
        .filter(|(range, _, _)| !range.is_empty())
        .map(|(range, file, offset)| {
            let len = (range.end - range.start) as usize;
            let backing = FileOffset::new(file, offset);
            (GuestAddress(range.start), len, Some(backing))
        });
    GuestMemory::from_ranges_with_files(ranges.collect::<Vec<_>>())
        .map_err(|source| MemoryError::Map { size, source })
}

/// A memory file that can no longer change its size, so that its mapping can never fault.
fn memory_file(size: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("weir-guest-memory", flags)?);
    file.set_len(size)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestMemoryBackend};

    use super::*;
    use crate::layout::{GIB, MIB};

    #[test]
    fn memory_is_one_piece_below_the_hole() {
        let memory = create(128 * MIB).unwrap();
        assert_eq!(memory.num_regions(), 1);
        assert_eq!(memory.last_addr(), GuestAddress(128 * MIB - 1));
    }

    #[test]
    fn memory_beyond_the_hole_continues_at_4_gib() {
        let memory = create(5 * GIB).unwrap();
        assert_eq!(memory.num_regions(), 2);
        assert_eq!(memory.last_addr(), GuestAddress(6 * GIB - 1));
        assert!(!memory.address_in_range(GuestAddress(layout::PCI_HOLE)));
        memory.write_obj(7u32, GuestAddress(4 * GIB)).unwrap();
        let below: u32 = memory.read_obj(GuestAddress(3 * GIB - 4)).unwrap();
        assert_eq!(below, 0);
    }
}
