//! Virtio over PCI (section 4.1): modern devices only, with MSI-X and without an interrupt pin.
//!
//! | BAR | what lies there |
//! |---|---|
//! | 0 | registers: common configuration, interrupt status, device configuration, doorbells |
//! | 1 | MSI-X table and pending bits |
//! | 2, 3 | the device's shared-memory region, if it has one; 64-bit, prefetchable |

mod common;
mod config_space;
mod interrupt;
mod msix;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ids::{
    VIRTIO_ID_BLOCK, VIRTIO_ID_CONSOLE, VIRTIO_ID_NET, VIRTIO_ID_RNG,
};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueT;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use self::common::{Common, Effect};
use self::config_space::{ConfigSpace, Identity};
use self::interrupt::Interrupt;
use super::{ActivateError, Activation, Memory, SharedMemory, VirtioDevice, VirtioInterrupt};
use crate::pci::{Bar, BarKind, Doorbells, Msix, PciDevice};

const VENDOR: u16 = 0x1af4;
const DEVICE_BASE: u16 = 0x1040;
/// The identifiers that PCI reserves for virtio end at 0x107f.
const MAX_DEVICE_TYPE: u32 = 63;

const REGISTERS_BAR: usize = 0;
const MSIX_BAR: usize = 1;
const WINDOW_BAR: usize = 2;

const REGISTERS_SIZE: u64 = 0x4000;
const COMMON: u64 = 0x0000;
const ISR: u64 = 0x1000;
const DEVICE: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
/// Bytes for each of the four.
const PART: u64 = 0x1000;
const NOTIFY_MULTIPLIER: u64 = 4;
const MAX_QUEUES: usize = (PART / NOTIFY_MULTIPLIER) as usize;

const CAPABILITY_VENDOR: u8 = 0x09;
const CAPABILITY_MSIX: u8 = 0x11;

/// Kinds of virtio's own capabilities (section 4.1.4).
#[derive(Clone, Copy)]
#[repr(u8)]
enum Structure {
    Common = 1,
    Notify = 2,
    Isr = 3,
    Device = 4,
    PciAccess = 5,
    SharedMemory = 8,
}

/// Why a device cannot be put on a PCI bus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transport has identifiers, queues, vectors and sizes within limits.
    #[error("{device} cannot be a PCI device: {why}")]
    Unfit {
        /// The device.
        device: String,
        /// What about it does not fit.
        why: &'static str,
    },
    /// The machine has no event for a vector.
    #[error("getting an event for MSI-X vector {vector}")]
    Vector {
        /// The vector.
        vector: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A virtio device on the PCI bus.
pub struct VirtioPci {
    device: Box<dyn VirtioDevice>,
    memory: Memory,
    doorbells: Arc<dyn Doorbells>,
    shared_memory: Option<SharedMemory>,
    config: ConfigSpace,
    /// Offsets of the two capabilities in `config` that do something.
    access_capability: usize,
    msix_capability: usize,
    msix: msix::Table,
    common: Common,
    interrupt: Arc<Interrupt>,
    /// Queue and event of each doorbell, while the device is active.
    kicks: Vec<(u16, EventFd)>,
    /// Where the machine was told of the doorbells, and the window of its place.
    doorbells_at: Option<u64>,
    window_at: Option<u64>,
}

impl VirtioPci {
    /// Puts `device` behind a PCI function of its own, with one MSI-X vector per queue and one
    /// for changes of configuration.
    ///
    /// # Errors
    /// The device exceeds what the transport can express, or `msix` has no events.
    pub fn new(
        device: Box<dyn VirtioDevice>,
        msix: Arc<dyn Msix>,
        doorbells: Arc<dyn Doorbells>,
        memory: Memory,
    ) -> Result<Self, Error> {
        check(&*device)?;
        let queues = device.queue_max_sizes().len();
        let vectors = queues + 1;
        let mut events = Vec::new();
        let mut raising = Vec::new();
        for vector in 0..vectors as u16 {
            let error = |source| Error::Vector { vector, source };
            let event = msix.event(vector).map_err(error)?;
            raising.push(event.try_clone().map_err(error)?);
            events.push(event);
        }
        let interrupt = Arc::new(Interrupt::new(queues, raising));
        let table = msix::Table::new(msix, events);
        let offered = device.features()
            | 1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | 1 << VIRTIO_RING_F_INDIRECT_DESC;
        let common = Common::new(offered, device.queue_max_sizes());
        let shared_memory = device.shared_memory();

        let mut config = ConfigSpace::new(&Identity {
            vendor: VENDOR,
            device: DEVICE_BASE + device.device_type() as u16,
            // Modern devices are revision 1 and have a subsystem from 0x40 up (section 4.1.2.1).
            revision: 1,
            class: class_code(device.device_type()),
            subsystem_vendor: VENDOR,
            subsystem: DEVICE_BASE + device.device_type() as u16,
        });
        let (access_capability, msix_capability) =
            describe(&mut config, queues, shared_memory.as_ref());
        Ok(Self {
            device,
            memory,
            doorbells,
            shared_memory,
            config,
            access_capability,
            msix_capability,
            msix: table,
            common,
            interrupt,
            kicks: Vec::new(),
            doorbells_at: None,
            window_at: None,
        })
    }

    fn activate(&mut self) {
        if let Err(error) = self.try_activate() {
            let why = std::error::Error::source(&*error)
                .map_or_else(String::new, |source| format!(": {source}"));
            log::warn!("{} needs a reset: {error}{why}", self.device.name());
            self.kicks.clear();
            self.interrupt.needs_reset();
        }
        self.follow_bars();
    }

    fn try_activate(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let mut queues = Vec::new();
        for (index, queue) in self
            .common
            .build_queues(&self.memory)?
            .into_iter()
            .enumerate()
        {
            let kick = EventFd::new(EFD_NONBLOCK).map_err(ActivateError::Io)?;
            if queue.ready() {
                let doorbell = kick.try_clone().map_err(ActivateError::Io)?;
                doorbell.write(1).map_err(ActivateError::Io)?;
                self.kicks.push((index as u16, doorbell));
            }
            queues.push((queue, kick));
        }
        self.device.activate(Activation {
            memory: self.memory.clone(),
            queues,
            interrupt: self.interrupt.clone(),
            features: self.common.features(),
        })?;
        Ok(())
    }

    /// The driver's reset (section 2.4): all of virtio's state, none of PCI's.
    fn reset_device(&mut self) {
        self.move_doorbells(None);
        self.kicks.clear();
        self.device.reset();
        self.common.reset();
        self.interrupt.reset();
    }

    /// Has doorbells and window follow what the base address registers now say.
    fn follow_bars(&mut self) {
        let bars = self.config.bars();
        let address = |index| bars.iter().find(|bar| bar.index == index)?.address;
        self.move_doorbells(address(REGISTERS_BAR));
        let window = address(WINDOW_BAR);
        if window != self.window_at {
            self.window_at = window;
            if let Some(shared) = &self.shared_memory {
                shared.window.moved(window);
            }
        }
    }

    fn move_doorbells(&mut self, registers: Option<u64>) {
        let wanted = registers.filter(|_| !self.kicks.is_empty());
        if wanted == self.doorbells_at {
            return;
        }
        let at = |base: u64, queue: u16| base + NOTIFY + NOTIFY_MULTIPLIER * u64::from(queue);
        for (queue, kick) in &self.kicks {
            // What cannot be registered still works: the write then comes to `bar_write`.
            if let Some(old) = self.doorbells_at
                && let Err(error) = self.doorbells.unregister(at(old, *queue), kick)
            {
                log::debug!("{}: removing a doorbell: {error}", self.device.name());
            }
            if let Some(new) = wanted
                && let Err(error) = self.doorbells.register(at(new, *queue), kick)
            {
                log::warn!("{}: adding a doorbell: {error}", self.device.name());
            }
        }
        self.doorbells_at = wanted;
    }

    fn read_registers(&mut self, offset: u64, data: &mut [u8]) {
        let at = offset % PART;
        match offset - at {
            COMMON => super::copy_config(&self.common.read(&self.interrupt), at, data),
            ISR if at == 0 && !data.is_empty() => data[0] = self.interrupt.take_isr(),
            DEVICE => self.device.read_config(at, data),
            _ => {}
        }
    }

    fn write_registers(&mut self, offset: u64, data: &[u8]) {
        let at = offset % PART;
        match offset - at {
            COMMON => match self.common.write(at, data, &self.interrupt) {
                Effect::Nothing => {}
                Effect::Reset => self.reset_device(),
                Effect::Activate => self.activate(),
            },
            DEVICE => self.device.write_config(at, data),
            NOTIFY if at.is_multiple_of(NOTIFY_MULTIPLIER) => {
                let queue = at / NOTIFY_MULTIPLIER;
                if let Some((_, kick)) = self.kicks.iter().find(|(q, _)| u64::from(*q) == queue) {
                    // Fails only where the counter is full, and then it is signalled already.
                    let _ = kick.write(1);
                }
            }
            _ => {}
        }
    }

    /// The access that the configuration access capability now describes (section 4.1.4.9): offset
    /// in BAR 0 and width, if they make sense.
    fn described_access(&self) -> Option<(u64, usize)> {
        let bar = self.config.u32(self.access_capability + 4) as u8;
        let offset = self.config.u32(self.access_capability + 8);
        let width = self.config.u32(self.access_capability + 12);
        let fits = usize::from(bar) == REGISTERS_BAR
            && matches!(width, 1 | 2 | 4)
            && offset.is_multiple_of(width);
        fits.then_some((u64::from(offset), width as usize))
    }

    /// Whether an access to configuration space touches the window of that capability.
    fn is_access_data(&self, offset: usize, len: usize) -> bool {
        let window = self.access_capability + 16;
        offset < window + 4 && offset.saturating_add(len) > window
    }
}

impl PciDevice for VirtioPci {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn config_read(&mut self, offset: usize, data: &mut [u8]) {
        if self.is_access_data(offset, data.len())
            && let Some((at, width)) = self.described_access()
        {
            let mut value = [0; 4];
            self.bar_read(REGISTERS_BAR, at, &mut value[..width]);
            self.config.write(self.access_capability + 16, &value);
        }
        self.config.read(offset, data);
    }

    fn config_write(&mut self, offset: usize, data: &[u8]) -> bool {
        let before = self.config.bars();
        self.config.write(offset, data);
        if self.is_access_data(offset, data.len())
            && let Some((at, width)) = self.described_access()
        {
            let value = self.config.u32(self.access_capability + 16).to_le_bytes();
            self.bar_write(REGISTERS_BAR, at, &value[..width]);
        }
        let control = self.config.u16(self.msix_capability + 2);
        self.interrupt
            .set_msix_enabled(control & msix::CONTROL_ENABLE != 0);
        self.msix.set_control(control);
        let changed = self.config.bars() != before;
        if changed {
            self.follow_bars();
        }
        changed
    }

    fn bars(&self) -> Vec<Bar> {
        self.config.bars()
    }

    fn bar_read(&mut self, bar: usize, offset: u64, data: &mut [u8]) {
        data.fill(0);
        match bar {
            REGISTERS_BAR if offset < REGISTERS_SIZE => self.read_registers(offset, data),
            MSIX_BAR => self.msix.read(offset, data),
            // Where the window has memory, reads do not come here.
            WINDOW_BAR => data.fill(0xff),
            _ => {}
        }
    }

    fn bar_write(&mut self, bar: usize, offset: u64, data: &[u8]) {
        match bar {
            REGISTERS_BAR if offset < REGISTERS_SIZE => self.write_registers(offset, data),
            MSIX_BAR => self.msix.write(offset, data),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.reset_device();
        self.config.reset();
        self.interrupt.set_msix_enabled(false);
        self.msix.reset();
        self.follow_bars();
    }
}

impl Drop for VirtioPci {
    fn drop(&mut self) {
        self.reset();
    }
}

fn check(device: &dyn VirtioDevice) -> Result<(), Error> {
    let sizes = device.queue_max_sizes();
    let why = if device.device_type() > MAX_DEVICE_TYPE {
        "its device type has no PCI identifier"
    } else if sizes.len() > MAX_QUEUES.min(msix::MAX_VECTORS - 1) {
        "it has too many queues"
    } else if !sizes.iter().all(|size| size.is_power_of_two()) {
        "the size of a queue is not a power of two"
    } else if device.shared_memory().is_some_and(|shared| {
        !shared.window.size().is_power_of_two() || shared.window.size() < 4096
    }) {
        "the size of its shared memory is not a power of two"
    } else {
        return Ok(());
    };
    Err(Error::Unfit {
        device: device.name().to_owned(),
        why,
    })
}

/// Adds BARs and capabilities to `config`. Returns the offsets of the configuration access and
/// MSI-X capabilities.
fn describe(
    config: &mut ConfigSpace,
    queues: usize,
    shared_memory: Option<&SharedMemory>,
) -> (usize, usize) {
    let (pending_offset, msix_size) = msix::layout(queues + 1);
    config.add_bar(REGISTERS_BAR, BarKind::Memory32, REGISTERS_SIZE);
    config.add_bar(MSIX_BAR, BarKind::Memory32, msix_size);

    let registers = |kind, offset: u64, len: u32, more: &[u8]| {
        structure(kind, REGISTERS_BAR, 0, offset as u32, len, more)
    };
    let notify_len = queues as u32 * NOTIFY_MULTIPLIER as u32;
    let multiplier = (NOTIFY_MULTIPLIER as u32).to_le_bytes();
    for body in [
        registers(Structure::Common, COMMON, common::LEN, &[]),
        registers(Structure::Isr, ISR, 1, &[]),
        registers(Structure::Device, DEVICE, PART as u32, &[]),
        registers(Structure::Notify, NOTIFY, notify_len, &multiplier),
    ] {
        config.add_capability(CAPABILITY_VENDOR, &body, &[]);
    }

    // The driver writes BAR, offset and width, then reads or writes the data that follows.
    let mut writable = [0xff; 18];
    writable[..2].fill(0);
    writable[3..6].fill(0);
    let access = config.add_capability(
        CAPABILITY_VENDOR,
        &structure(Structure::PciAccess, 0, 0, 0, 0, &[0; 4]),
        &writable,
    );

    if let Some(shared) = shared_memory {
        let size = shared.window.size();
        config.add_bar(WINDOW_BAR, BarKind::Memory64Prefetchable, size);
        let mut high = [0; 8];
        high[4..].copy_from_slice(&((size >> 32) as u32).to_le_bytes());
        config.add_capability(
            CAPABILITY_VENDOR,
            &structure(
                Structure::SharedMemory,
                WINDOW_BAR,
                shared.shmid,
                0,
                size as u32,
                &high,
            ),
            &[],
        );
    }

    let mut body = [0; 10];
    // The table's size is given less one, which is the number of queues.
    body[0..2].copy_from_slice(&(queues as u16).to_le_bytes());
    body[2..6].copy_from_slice(&(MSIX_BAR as u32).to_le_bytes());
    body[6..10].copy_from_slice(&(pending_offset | MSIX_BAR as u32).to_le_bytes());
    let control = (msix::CONTROL_ENABLE | msix::CONTROL_FUNCTION_MASK).to_le_bytes();
    let msix = config.add_capability(CAPABILITY_MSIX, &body, &control);
    (access, msix)
}

/// Body of a virtio capability: length, kind, place, and what follows for this kind.
fn structure(kind: Structure, bar: usize, id: u8, offset: u32, len: u32, more: &[u8]) -> Vec<u8> {
    let mut body = vec![16 + more.len() as u8, kind as u8, bar as u8, id, 0, 0];
    body.extend_from_slice(&offset.to_le_bytes());
    body.extend_from_slice(&len.to_le_bytes());
    body.extend_from_slice(more);
    body
}

/// Base class, subclass and programming interface for a device type.
fn class_code(device_type: u32) -> u32 {
    match device_type {
        VIRTIO_ID_NET => 0x02_00_00,
        VIRTIO_ID_BLOCK => 0x01_80_00,
        VIRTIO_ID_CONSOLE => 0x07_80_00,
        VIRTIO_ID_RNG => 0xff_00_00,
        // What this crate has beyond the standard are accelerators.
        _ => 0x12_00_00,
    }
}
