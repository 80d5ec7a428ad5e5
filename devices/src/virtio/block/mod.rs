//! Block device (section 5.2) on a raw image file or a block device of the host.

mod request;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_ID_BYTES,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_queue::Queue;

use super::event_loop::{Attachment, EventLoop, QueueService};
use super::queue::{self, Served};
use super::{ActivateError, Activation, Memory, VirtioDevice, VirtioInterrupt};

const SECTOR: u64 = 512;
const QUEUE_SIZE: u16 = 256;

/// Data segments of a request: what a chain holds beside header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;

/// Requests answered before the event loop's other work has its turn.
const BATCH: usize = 64;

/// Why an image cannot serve as a disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, or not for writing.
    #[error("opening the disk image {}", path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two writers, or a writer and a reader, would destroy each other's file systems.
    #[error("the disk image {} is in use by another process", path.display())]
    InUse {
        /// The image.
        path: PathBuf,
    },
    /// A disk consists of whole sectors.
    #[error("the disk image {} has {size} bytes, which is not a positive multiple of 512", path.display())]
    Size {
        /// The image.
        path: PathBuf,
        /// Its bytes.
        size: u64,
    },
}

/// A disk: an open image and what is said of it to the guest.
struct Disk {
    file: File,
    sectors: u64,
    read_only: bool,
    id: [u8; VIRTIO_BLK_ID_BYTES as usize],
}

/// The block device.
pub struct Block {
    disk: Arc<Disk>,
    event_loop: EventLoop,
    attachment: Option<Attachment>,
}

impl Block {
    /// A disk on the image `path`, served by `event_loop`. The image is locked: for one writer
    /// alone, or for readers. `id` is the serial number that the guest sees, cut at 20 bytes.
    ///
    /// # Errors
    /// The image cannot be opened, is in use, or does not consist of whole sectors.
    pub fn open(
        path: &Path,
        read_only: bool,
        id: &str,
        event_loop: EventLoop,
    ) -> Result<Self, Error> {
        Self::new(
            Self::open_image(path, read_only)?,
            path,
            read_only,
            id,
            event_loop,
        )
    }

    /// Opens the image at `path`, and locks it against other uses that do not go with this one.
    ///
    /// # Errors
    /// The image cannot be opened, or is in use.
    pub fn open_image(path: &Path, read_only: bool) -> Result<File, Error> {
        let open_error = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(path)
            .map_err(open_error)?;
        match lock(&file, read_only) {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(open_error(source)),
        }
    }

    /// A disk of the image in `file`, from [`open_image`](Self::open_image), which is called `path`.
    ///
    /// # Errors
    /// The image does not consist of whole sectors.
    pub fn new(
        mut file: File,
        path: &Path,
        read_only: bool,
        id: &str,
        event_loop: EventLoop,
    ) -> Result<Self, Error> {
        let open_error = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        // By seeking, since the metadata of a block device says nothing of its size.
        let size = file.seek(SeekFrom::End(0)).map_err(open_error)?;
        if size == 0 || !size.is_multiple_of(SECTOR) {
            return Err(Error::Size {
                path: path.to_owned(),
                size,
            });
        }
        let mut serial = [0; VIRTIO_BLK_ID_BYTES as usize];
        for (to, from) in serial.iter_mut().zip(id.bytes()) {
            *to = from;
        }
        Ok(Self {
            disk: Arc::new(Disk {
                file,
                sectors: size / SECTOR,
                read_only,
                id: serial,
            }),
            event_loop,
            attachment: None,
        })
    }

    /// The head of `struct virtio_blk_config` (section 5.2.4), up to the last field in use.
    fn config(&self) -> [u8; 24] {
        let mut config = [0; 24];
        config[0..8].copy_from_slice(&self.disk.sectors.to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        config
    }
}

fn lock(file: &File, read_only: bool) -> Result<(), TryLockError> {
    let locked = if read_only {
        file.try_lock_shared()
    } else {
        file.try_lock()
    };
    match locked {
        // Some file systems know no locks; a disk there is no worse off than with any other tool.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        locked => locked,
    }
}

impl VirtioDevice for Block {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn name(&self) -> &str {
        "virtio-blk"
    }

    fn features(&self) -> u64 {
        let read_only = if self.disk.read_only {
            1 << VIRTIO_BLK_F_RO
        } else {
            0
        };
        1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_FLUSH | read_only
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        super::copy_config(&self.config(), offset, data);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn activate(&mut self, mut activation: Activation) -> Result<(), ActivateError> {
        let (queue, kick) = activation.only_queue()?;
        let service = Service {
            disk: self.disk.clone(),
            write_through: activation.features & 1 << VIRTIO_BLK_F_FLUSH == 0,
            queue,
            memory: activation.memory,
            interrupt: activation.interrupt,
            broken: false,
        };
        self.attachment = Some(self.event_loop.attach(vec![kick], service)?);
        Ok(())
    }

    fn reset(&mut self) {
        self.attachment = None;
    }
}

/// The half of the device that lives on the event loop while a driver runs it.
struct Service {
    disk: Arc<Disk>,
    write_through: bool,
    queue: Queue,
    memory: Memory,
    interrupt: Arc<dyn VirtioInterrupt>,
    broken: bool,
}

impl QueueService for Service {
    fn serve(&mut self, _index: usize) -> Served {
        if self.broken {
            return Served::All;
        }
        let executor = request::Executor {
            disk: &self.disk,
            memory: &self.memory,
            write_through: self.write_through,
        };
        queue::serve(
            &mut self.queue,
            &self.memory,
            BATCH,
            |buffers| executor.execute(buffers),
            || self.interrupt.queue(0),
        )
        .unwrap_or_else(|error| {
            log::warn!("virtio-blk stops until its driver resets it: {error}");
            self.broken = true;
            self.interrupt.needs_reset();
            Served::All
        })
    }
}
