//! The PCI bus: configuration space, and finding the device behind an address.

mod addresses;
mod host_bridge;

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use thiserror::Error;
use weir_devices::pci::PciDevice;

use crate::layout;
use addresses::Allocator;
use host_bridge::HostBridge;

/// Devices that one bus takes.
const SLOTS: usize = 32;
/// Bit of the configuration address port: an access to the data port is meant.
const CONFIG_ENABLE: u32 = 1 << 31;
/// Command register, and its bit that switches memory decoding on, with bus mastering.
const COMMAND: usize = 0x04;
const COMMAND_MEMORY_MASTER: u16 = 0x6;
/// First base address register.
const BAR_0: usize = 0x10;

/// Why the bus could not be set up.
#[derive(Debug, Error)]
pub enum PciError {
    /// More devices than slots.
    #[error("a machine takes at most {} PCI devices", SLOTS - 1)]
    Full,
    /// A window for BARs is too small.
    #[error("no {size:#x} bytes are left in the PCI window {window:x?} for {device}")]
    NoSpace {
        /// Who asked.
        device: String,
        /// Bytes asked for.
        size: u64,
        /// What there is to give.
        window: Range<u64>,
    },
}

/// One bus with all its devices, each in function 0 of a slot.
pub struct PciBus {
    slots: Vec<Mutex<Box<dyn PciDevice>>>,
    /// What the guest wrote last into the configuration address port.
    config_address: Mutex<u32>,
    /// Which device answers where, kept in step with the BARs.
    decoded: RwLock<Vec<Decoded>>,
}

/// A range of guest-physical memory that a device answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decoded {
    range: Range<u64>,
    slot: usize,
    bar: usize,
}

impl PciBus {
    /// A bus with a host bridge in slot 0 and `devices` behind it. BARs get their addresses as
    /// firmware would give them: 64-bit ones in `window_64`.
    pub fn new(
        devices: Vec<Box<dyn PciDevice>>,
        window_64: Option<Range<u64>>,
    ) -> Result<Self, PciError> {
        if devices.len() >= SLOTS {
            return Err(PciError::Full);
        }
        let mut slots: Vec<Box<dyn PciDevice>> = vec![Box::new(HostBridge)];
        slots.extend(devices);
        let mut allocator = Allocator::new(layout::PCI_WINDOW_32, window_64.unwrap_or(0..0));
        for device in &mut slots {
            assign_addresses(device.as_mut(), &mut allocator)?;
        }
        let bus = Self {
            slots: slots.into_iter().map(Mutex::new).collect(),
            config_address: Mutex::new(0),
            decoded: RwLock::default(),
        };
        for slot in 0..bus.slots.len() {
            bus.update_decoded(slot, bus.device(slot).as_ref());
        }
        Ok(bus)
    }

    /// Reads the ports of the older configuration mechanism; `port` is within them.
    pub fn port_read(&self, port: u16, data: &mut [u8]) {
        if layout::PCI_CONFIG_ADDRESS.contains(&port) {
            let address = *self.config_address();
            let from = usize::from(port - layout::PCI_CONFIG_ADDRESS.start);
            for (to, byte) in data.iter_mut().zip(&address.to_le_bytes()[from..]) {
                *to = *byte;
            }
        } else if let Some((slot, offset)) = self.config_target(port) {
            self.config_read(slot, offset, data);
        }
    }

    /// Writes the ports of the older configuration mechanism; `port` is within them.
    pub fn port_write(&self, port: u16, data: &[u8]) {
        if port == layout::PCI_CONFIG_ADDRESS.start {
            if let Ok(bytes) = data.try_into() {
                *self.config_address() = u32::from_le_bytes(bytes);
            }
        } else if layout::PCI_CONFIG_DATA.contains(&port)
            && let Some((slot, offset)) = self.config_target(port)
        {
            self.config_write(slot, offset, data);
        }
    }

    /// Slot and register that an access to data port `port` means.
    fn config_target(&self, port: u16) -> Option<(usize, usize)> {
        let address = *self.config_address();
        if address & CONFIG_ENABLE == 0 {
            return None;
        }
        let within = usize::from(port - layout::PCI_CONFIG_DATA.start);
        let register = (address & 0xfc) as usize + within;
        let (bus, slot, function) = (
            (address >> 16) & 0xff,
            ((address >> 11) & 0x1f) as usize,
            (address >> 8) & 0x7,
        );
        (bus == 0 && function == 0 && slot < self.slots.len()).then_some((slot, register))
    }

    /// Reads memory at `address`: configuration space or a BAR. `data` comes filled with ones and
    /// stays so where nothing answers.
    pub fn memory_read(&self, address: u64, data: &mut [u8]) {
        if layout::ECAM.contains(&address) {
            if let Some((slot, offset)) = self.ecam_target(address) {
                self.config_read(slot, offset, data);
            }
        } else if let Some((slot, bar, offset)) = self.find(address, data.len()) {
            self.device(slot).bar_read(bar, offset, data);
        }
    }

    /// Writes memory at `address`: configuration space or a BAR.
    pub fn memory_write(&self, address: u64, data: &[u8]) {
        if layout::ECAM.contains(&address) {
            if let Some((slot, offset)) = self.ecam_target(address) {
                self.config_write(slot, offset, data);
            }
        } else if let Some((slot, bar, offset)) = self.find(address, data.len()) {
            self.device(slot).bar_write(bar, offset, data);
        }
    }

    fn ecam_target(&self, address: u64) -> Option<(usize, usize)> {
        let within = (address - layout::ECAM.start) as usize;
        let (slot, function) = (within >> 15, (within >> 12) & 0x7);
        (function == 0 && slot < self.slots.len()).then_some((slot, within & 0xfff))
    }

    fn config_read(&self, slot: usize, offset: usize, data: &mut [u8]) {
        if is_register(offset, data.len()) {
            self.device(slot).config_read(offset, data);
        }
    }

    fn config_write(&self, slot: usize, offset: usize, data: &[u8]) {
        if !is_register(offset, data.len()) {
            return;
        }
        let mut device = self.device(slot);
        if device.config_write(offset, data) {
            // Still under the device's lock: two writes at once must not leave the older answer.
            self.update_decoded(slot, device.as_ref());
        }
    }

    fn update_decoded(&self, slot: usize, device: &dyn PciDevice) {
        let ranges = device.bars().into_iter().filter_map(|bar| {
            let start = bar.address?;
            let end = start.checked_add(bar.size)?;
            Some(Decoded {
                range: start..end,
                slot,
                bar: bar.index,
            })
        });
        let mut decoded = self.decoded.write().unwrap_or_else(PoisonError::into_inner);
        decoded.retain(|entry| entry.slot != slot);
        decoded.extend(ranges);
    }

    /// Slot, BAR and offset behind `len` bytes at `address`. Where a guest has laid BARs over one
    /// another, one of them answers.
    fn find(&self, address: u64, len: usize) -> Option<(usize, usize, u64)> {
        let decoded = self.decoded.read().unwrap_or_else(PoisonError::into_inner);
        let end = address.checked_add(len as u64)?;
        let entry = decoded
            .iter()
            .find(|entry| entry.range.contains(&address) && end <= entry.range.end)?;
        Some((entry.slot, entry.bar, address - entry.range.start))
    }

    fn device(&self, slot: usize) -> MutexGuard<'_, Box<dyn PciDevice>> {
        self.slots[slot]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn config_address(&self) -> MutexGuard<'_, u32> {
        self.config_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PciBus {
    /// Switches all devices off, so that they let go of guest memory, windows and threads.
    fn drop(&mut self) {
        for slot in 0..self.slots.len() {
            self.device(slot).reset();
        }
    }
}

/// Whether `len` bytes at `offset` are an access that configuration space knows.
fn is_register(offset: usize, len: usize) -> bool {
    matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len) && offset + len <= 4096
}

/// Gives every BAR of `device` an address and switches memory decoding on.
fn assign_addresses(device: &mut dyn PciDevice, allocator: &mut Allocator) -> Result<(), PciError> {
    let mut bars = device.bars();
    // The largest first wastes no room on alignment.
    bars.sort_by_key(|bar| std::cmp::Reverse(bar.size));
    for bar in &bars {
        let address =
            allocator
                .allocate(bar.kind, bar.size)
                .map_err(|window| PciError::NoSpace {
                    device: device.name().into(),
                    size: bar.size,
                    window,
                })?;
        let register = BAR_0 + 4 * bar.index;
        device.config_write(register, &(address as u32).to_le_bytes());
        if matches!(bar.kind, weir_devices::pci::BarKind::Memory64Prefetchable) {
            device.config_write(register + 4, &((address >> 32) as u32).to_le_bytes());
        }
    }
    if !bars.is_empty() {
        device.config_write(COMMAND, &COMMAND_MEMORY_MASTER.to_le_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
