//! The MSI-X table and its pending bits (PCI 3.0, section 6.8.2), in a BAR of their own.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vmm_sys_util::eventfd::EventFd;

use crate::pci::Msix;

/// The most vectors that a function can have.
pub(super) const MAX_VECTORS: usize = 2048;

const ENTRY: usize = 16;
const ENTRY_MASKED: u32 = 1;

/// Bits of the message control register.
pub(super) const CONTROL_ENABLE: u16 = 1 << 15;
pub(super) const CONTROL_FUNCTION_MASK: u16 = 1 << 14;

/// Where table and pending bits lie for `vectors` vectors: the offset of the pending bits, and the
/// size of the BAR.
pub(super) fn layout(vectors: usize) -> (u32, u64) {
    let pending = (vectors * ENTRY).next_power_of_two().max(0x800);
    (pending as u32, 2 * pending as u64)
}

#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    data: u32,
    control: u32,
}

const AT_POWER_ON: Entry = Entry {
    address: 0,
    data: 0,
    control: ENTRY_MASKED,
};

/// The table, and what the machine was told of it.
pub(super) struct Table {
    msix: Arc<dyn Msix>,
    events: Vec<EventFd>,
    entries: Vec<Entry>,
    /// The message that the machine delivers for each vector, if it is not masked.
    programmed: Vec<Option<(u64, u32)>>,
    control: u16,
    pending_offset: u64,
}

impl Table {
    /// A table for as many vectors as there are `events`, everything masked.
    pub(super) fn new(msix: Arc<dyn Msix>, events: Vec<EventFd>) -> Self {
        let vectors = events.len();
        Self {
            msix,
            events,
            entries: vec![AT_POWER_ON; vectors],
            programmed: vec![None; vectors],
            control: 0,
            pending_offset: u64::from(layout(vectors).0),
        }
    }

    /// Follows the message control register.
    pub(super) fn set_control(&mut self, control: u16) {
        let control = control & (CONTROL_ENABLE | CONTROL_FUNCTION_MASK);
        if control != self.control {
            self.control = control;
            for vector in 0..self.entries.len() {
                self.program(vector);
            }
        }
    }

    /// Back to power-on.
    pub(super) fn reset(&mut self) {
        self.control = 0;
        for vector in 0..self.entries.len() {
            self.entries[vector] = AT_POWER_ON;
            self.program(vector);
            if self.is_pending(vector) {
                // Fails only where someone else was faster.
                let _ = self.events[vector].read();
            }
        }
    }

    /// Reads table or pending bits at `offset` in the BAR, at any width.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = offset
                .checked_add(i as u64)
                .map_or(0, |at| self.read_byte(at));
        }
    }

    fn read_byte(&self, offset: u64) -> u8 {
        if let Some(first) = offset.checked_sub(self.pending_offset) {
            return (0..8)
                .filter(|bit| {
                    first
                        .checked_mul(8)
                        .and_then(|base| usize::try_from(base + bit).ok())
                        .is_some_and(|vector| self.is_pending(vector))
                })
                .fold(0, |byte, bit| byte | 1 << bit);
        }
        let (index, at) = (offset as usize / ENTRY, offset as usize % ENTRY);
        self.entries.get(index).map_or(0, |entry| {
            let low = u128::from(entry.address) | u128::from(entry.data) << 64;
            (low | u128::from(entry.control) << 96).to_le_bytes()[at]
        })
    }

    /// A masked vector is pending while its event is raised and the machine has not taken it.
    fn is_pending(&self, vector: usize) -> bool {
        let Some(event) = self.events.get(vector) else {
            return false;
        };
        if self.programmed[vector].is_some() {
            return false;
        }
        // SAFETY: `event` owns the descriptor and outlives this borrow of it.
        let event = unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) };
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut raised = [PollFd::new(&event, PollFlags::IN)];
        matches!(poll(&mut raised, Some(&now)), Ok(1))
    }

    /// Writes the table. Software may write aligned words of four or eight bytes, and only those
    /// are taken.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        if !offset.is_multiple_of(data.len().max(4) as u64) {
            return;
        }
        match *data {
            [a, b, c, d] => self.write_word(offset, u32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => {
                self.write_word(offset, u32::from_le_bytes([a, b, c, d]));
                self.write_word(offset + 4, u32::from_le_bytes([e, f, g, h]));
            }
            _ => {}
        }
    }

    fn write_word(&mut self, offset: u64, value: u32) {
        let vector = usize::try_from(offset / ENTRY as u64).unwrap_or(usize::MAX);
        let Some(entry) = self.entries.get_mut(vector) else {
            return;
        };
        match offset % ENTRY as u64 {
            0 => entry.address = entry.address & !0xffff_ffff | u64::from(value & !0b11),
            4 => entry.address = entry.address & 0xffff_ffff | u64::from(value) << 32,
            8 => entry.data = value,
            _ => entry.control = value & ENTRY_MASKED,
        }
        self.program(vector);
    }

    /// Tells the machine of `vector`, if that changes anything for it.
    fn program(&mut self, vector: usize) {
        let entry = self.entries[vector];
        let open = self.control == CONTROL_ENABLE && entry.control & ENTRY_MASKED == 0;
        let wanted = open.then_some((entry.address, entry.data));
        if wanted == self.programmed[vector] {
            return;
        }
        let told: io::Result<()> =
            self.msix
                .program(vector as u16, entry.address, entry.data, !open);
        if let Err(error) = told {
            log::error!("programming MSI-X vector {vector}: {error}");
        }
        self.programmed[vector] = wanted;
    }
}
