//! PCI configuration space of one function: a type 0 header and a list of capabilities, as bytes
//! with a mask of what software may write.

use crate::pci::{Bar, BarKind};

/// Size of the space that holds registers; the extended space reads as zero.
const SIZE: usize = 256;

const COMMAND: usize = 0x04;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_BUS_MASTER: u16 = 1 << 2;
const COMMAND_INTX_DISABLE: u16 = 1 << 10;
const STATUS: usize = 0x06;
const STATUS_CAPABILITIES: u16 = 1 << 4;
const BARS: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const FIRST_CAPABILITY: usize = 0x40;

const BAR_64BIT: u32 = 0b10 << 1;
const BAR_PREFETCHABLE: u32 = 1 << 3;

/// Who the function says it is.
pub(super) struct Identity {
    pub(super) vendor: u16,
    pub(super) device: u16,
    pub(super) revision: u8,
    /// Base class, subclass and programming interface in the low three bytes.
    pub(super) class: u32,
    pub(super) subsystem_vendor: u16,
    pub(super) subsystem: u16,
}

/// The bytes, what is writable in them, and what was put into them.
pub(super) struct ConfigSpace {
    bytes: [u8; SIZE],
    writable: [u8; SIZE],
    initial: [u8; SIZE],
    bars: Vec<(usize, BarKind, u64)>,
    /// Where the pointer to the next capability goes, and where that capability.
    link: usize,
    next: usize,
}

impl ConfigSpace {
    /// A header without base address registers and capabilities.
    pub(super) fn new(identity: &Identity) -> Self {
        let mut space = Self {
            bytes: [0; SIZE],
            writable: [0; SIZE],
            initial: [0; SIZE],
            bars: Vec::new(),
            link: CAPABILITIES,
            next: FIRST_CAPABILITY,
        };
        space.put(0x00, &identity.vendor.to_le_bytes());
        space.put(0x02, &identity.device.to_le_bytes());
        space.put(STATUS, &STATUS_CAPABILITIES.to_le_bytes());
        space.put(
            0x08,
            &(identity.class << 8 | u32::from(identity.revision)).to_le_bytes(),
        );
        space.put(0x2c, &identity.subsystem_vendor.to_le_bytes());
        space.put(0x2e, &identity.subsystem.to_le_bytes());
        let command = COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_INTX_DISABLE;
        space.allow(COMMAND, &command.to_le_bytes());
        space.allow(INTERRUPT_LINE, &[0xff]);
        space
    }

    fn put(&mut self, offset: usize, data: &[u8]) {
        self.bytes[offset..offset + data.len()].copy_from_slice(data);
        self.initial[offset..offset + data.len()].copy_from_slice(data);
    }

    fn allow(&mut self, offset: usize, mask: &[u8]) {
        self.writable[offset..offset + mask.len()].copy_from_slice(mask);
    }

    /// Adds base address register `index` of `size` bytes, a power of two of at least 16. Its
    /// writable bits are those above the size, so that software finds the size by writing ones.
    pub(super) fn add_bar(&mut self, index: usize, kind: BarKind, size: u64) {
        debug_assert!(size.is_power_of_two() && size >= 16);
        let offset = BARS + 4 * index;
        let mask = !(size - 1);
        self.allow(offset, &(mask as u32).to_le_bytes());
        if kind == BarKind::Memory64Prefetchable {
            self.put(offset, &(BAR_64BIT | BAR_PREFETCHABLE).to_le_bytes());
            self.allow(offset + 4, &((mask >> 32) as u32).to_le_bytes());
        }
        self.bars.push((index, kind, size));
    }

    /// Adds a capability: its id, then `body` after the pointer to the next one. `writable` is
    /// the mask of `body`, as far as it goes. Returns the capability's offset.
    pub(super) fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let offset = self.next;
        self.put(self.link, &[offset as u8]);
        self.put(offset, &[id, 0]);
        self.put(offset + 2, body);
        self.allow(offset + 2, writable);
        self.link = offset + 1;
        self.next = (offset + 2 + body.len()).next_multiple_of(4);
        offset
    }

    /// Back to power-on: nothing decoded, no addresses.
    pub(super) fn reset(&mut self) {
        self.bytes = self.initial;
    }

    /// Reads at any offset; what does not exist reads as zero.
    pub(super) fn read(&self, offset: usize, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = offset
                .checked_add(i)
                .and_then(|at| self.bytes.get(at))
                .copied()
                .unwrap_or(0);
        }
    }

    /// Writes what is writable at any offset.
    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        for (i, new) in data.iter().enumerate() {
            let Some(at) = offset.checked_add(i).filter(|at| *at < SIZE) else {
                return;
            };
            let mask = self.writable[at];
            self.bytes[at] = self.bytes[at] & !mask | new & mask;
        }
    }

    pub(super) fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.bytes[offset], self.bytes[offset + 1]])
    }

    pub(super) fn u32(&self, offset: usize) -> u32 {
        u32::from(self.u16(offset)) | u32::from(self.u16(offset + 2)) << 16
    }

    /// The base address registers as they stand. One that was never given an address decodes
    /// none: address zero would be the guest's own memory.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let decoding = self.u16(COMMAND) & COMMAND_MEMORY != 0;
        self.bars
            .iter()
            .map(|&(index, kind, size)| {
                let offset = BARS + 4 * index;
                let mut address = u64::from(self.u32(offset) & !0xf);
                if kind == BarKind::Memory64Prefetchable {
                    address |= u64::from(self.u32(offset + 4)) << 32;
                }
                Bar {
                    index,
                    kind,
                    size,
                    address: (decoding && address != 0).then_some(address),
                }
            })
            .collect()
    }
}
