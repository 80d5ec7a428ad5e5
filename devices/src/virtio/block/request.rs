//! Block requests (section 5.2.6): a header, data, and a status byte.

use std::io::{self, Seek, SeekFrom};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use vm_memory::{Bytes, GuestMemoryError, GuestMemoryMmap};

use super::{Disk, SECTOR};
use crate::virtio::queue::{self, Buffers, Segments};

const HEADER: u64 = 16;

/// Why a request fails. The guest learns no more than its status byte.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("request type {0} is unknown")]
    Unsupported(u32),
    #[error("writing to a read-only disk")]
    ReadOnly,
    #[error("{len} bytes at sector {sector} are not whole sectors of the disk")]
    Range { sector: u64, len: u64 },
    #[error("moving data between the image and guest memory")]
    Transfer(#[from] GuestMemoryError),
    #[error("accessing the image")]
    Image(#[from] io::Error),
}

/// Carries out the request in `buffers` and writes its status. Returns how many bytes were written
/// to the chain, counted from its start without a gap.
///
/// # Errors
/// There is no header, or no status byte that could be written.
pub(super) fn execute(
    disk: &Disk,
    memory: &GuestMemoryMmap,
    buffers: Buffers,
) -> Result<u32, queue::Error> {
    if buffers.readable.len() < HEADER || buffers.writable.is_empty() {
        return Err(queue::Error::NoRoom);
    }
    let (header, data_out) = buffers.readable.split_at(HEADER);
    let data_in_len = buffers.writable.len() - 1;
    let (data_in, status) = buffers.writable.split_at(data_in_len);

    let (code, written) = match perform(disk, memory, &header, &data_out, &data_in) {
        Ok(written) => (VIRTIO_BLK_S_OK, written),
        Err(failure) => {
            log::debug!("virtio-blk: {failure}");
            match failure {
                Failure::Unsupported(_) => (VIRTIO_BLK_S_UNSUPP, 0),
                _ => (VIRTIO_BLK_S_IOERR, 0),
            }
        }
    };
    status
        .write(memory, &[code as u8])
        .map_err(queue::Error::Memory)?;
    // A chain holds less than 2³² bytes.
    Ok(if written == data_in_len {
        (written + 1) as u32
    } else {
        written as u32
    })
}

/// Returns the number of bytes written to `data_in`.
fn perform(
    disk: &Disk,
    memory: &GuestMemoryMmap,
    header: &Segments,
    data_out: &Segments,
    data_in: &Segments,
) -> Result<u64, Failure> {
    let mut bytes = [0; HEADER as usize];
    header.read(memory, &mut bytes)?;
    let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = bytes;
    let sector = u64::from_le_bytes(sector);

    match u32::from_le_bytes([t0, t1, t2, t3]) {
        VIRTIO_BLK_T_IN => {
            seek(disk, sector, data_in.len())?;
            for (address, len) in data_in.iter() {
                memory.read_exact_volatile_from(address, &mut &disk.file, len as usize)?;
            }
            Ok(data_in.len())
        }
        VIRTIO_BLK_T_OUT if disk.read_only => Err(Failure::ReadOnly),
        VIRTIO_BLK_T_OUT => {
            seek(disk, sector, data_out.len())?;
            for (address, len) in data_out.iter() {
                memory.write_all_volatile_to(address, &mut &disk.file, len as usize)?;
            }
            Ok(0)
        }
        VIRTIO_BLK_T_FLUSH => {
            disk.file.sync_data()?;
            Ok(0)
        }
        VIRTIO_BLK_T_GET_ID => Ok(data_in.write(memory, &disk.id)? as u64),
        other => Err(Failure::Unsupported(other)),
    }
}

/// Puts the image's position at `sector`, if `len` bytes from there are whole sectors of the disk.
fn seek(disk: &Disk, sector: u64, len: u64) -> Result<(), Failure> {
    let fits = sector
        .checked_add(len / SECTOR)
        .is_some_and(|end| end <= disk.sectors);
    if !fits || len % SECTOR != 0 {
        return Err(Failure::Range { sector, len });
    }
    (&disk.file).seek(SeekFrom::Start(sector * SECTOR))?;
    Ok(())
}
