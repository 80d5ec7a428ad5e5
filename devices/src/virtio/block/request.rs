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

/// Carries out requests of one driver.
pub(super) struct Executor<'a> {
    pub(super) disk: &'a Disk,
    pub(super) memory: &'a GuestMemoryMmap,
    /// The driver cannot flush, so whatever it wrote must be stable when it learns of it
    /// (section 5.2.6.2).
    pub(super) write_through: bool,
}

impl Executor<'_> {
    /// Carries out the request in `buffers` and writes its status. Returns how many bytes were
    /// written to the chain, counted from its start without a gap.
    ///
    /// # Errors
    /// There is no header, or no status byte that could be written.
    pub(super) fn execute(&self, buffers: Buffers) -> Result<u32, queue::Error> {
        if buffers.readable.len() < HEADER || buffers.writable.is_empty() {
            return Err(queue::Error::NoRoom);
        }
        let (header, data_out) = buffers.readable.split_at(HEADER);
        let data_in_len = buffers.writable.len() - 1;
        let (data_in, status) = buffers.writable.split_at(data_in_len);

        let (code, written) = match self.perform(&header, &data_out, &data_in) {
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
            .write(self.memory, &[code as u8])
            .map_err(queue::Error::Memory)?;
        let whole = written == data_in_len;
        // A chain holds less than 2³² bytes.
        Ok((written + u64::from(whole)) as u32)
    }

    /// Returns the number of bytes written to `data_in`.
    fn perform(
        &self,
        header: &Segments,
        data_out: &Segments,
        data_in: &Segments,
    ) -> Result<u64, Failure> {
        let mut bytes = [0; HEADER as usize];
        header.read(self.memory, &mut bytes)?;
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = bytes;
        let sector = u64::from_le_bytes(sector);
        let mut file = &self.disk.file;

        match u32::from_le_bytes([t0, t1, t2, t3]) {
            VIRTIO_BLK_T_IN => {
                seek(self.disk, sector, data_in.len())?;
                for (address, len) in data_in.iter() {
                    self.memory
                        .read_exact_volatile_from(address, &mut file, len as usize)?;
                }
                Ok(data_in.len())
            }
            VIRTIO_BLK_T_OUT if self.disk.read_only => Err(Failure::ReadOnly),
            VIRTIO_BLK_T_OUT => {
                seek(self.disk, sector, data_out.len())?;
                for (address, len) in data_out.iter() {
                    self.memory
                        .write_all_volatile_to(address, &mut file, len as usize)?;
                }
                if self.write_through {
                    file.sync_data()?;
                }
                Ok(0)
            }
            VIRTIO_BLK_T_FLUSH => {
                file.sync_data()?;
                Ok(0)
            }
            VIRTIO_BLK_T_GET_ID => Ok(data_in.write(self.memory, &self.disk.id)? as u64),
            other => Err(Failure::Unsupported(other)),
        }
    }
}

/// Puts the image's position at `sector`, if `len` bytes from there are whole sectors of the disk.
fn seek(disk: &Disk, sector: u64, len: u64) -> Result<(), Failure> {
    let fits = sector
        .checked_add(len / SECTOR)
        .is_some_and(|end| end <= disk.sectors);
    if !fits || !len.is_multiple_of(SECTOR) {
        return Err(Failure::Range { sector, len });
    }
    (&disk.file).seek(SeekFrom::Start(sector * SECTOR))?;
    Ok(())
}
