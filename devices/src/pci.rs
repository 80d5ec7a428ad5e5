//! What a PCI device offers its machine, and what a machine offers its PCI devices.

use std::io;
use std::os::fd::BorrowedFd;

use vmm_sys_util::eventfd::EventFd;

/// Kind of memory that a base address register asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// 32-bit, not prefetchable: registers.
    Memory32,
    /// 64-bit, prefetchable: windows onto memory. Takes this BAR's index and the next.
    Memory64Prefetchable,
}

/// One base address register as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Index of the register (0 to 5) in the configuration header.
    pub index: usize,
    /// What it asks for.
    pub kind: BarKind,
    /// Bytes; a power of two.
    pub size: u64,
    /// Guest-physical address now programmed, or `None` while memory decoding is off.
    pub address: Option<u64>,
}

/// A device on the PCI bus, as the bus sees it.
///
/// The bus assigns addresses by writing the BARs through [`config_write`](Self::config_write)
/// before the guest starts, as firmware would; a guest may move them later.
pub trait PciDevice: Send {
    /// Short name for messages, such as `virtio-blk`.
    fn name(&self) -> &str;

    /// Reads `data.len()` (1, 2 or 4) bytes of configuration space at `offset` (below 4096).
    fn config_read(&mut self, offset: usize, data: &mut [u8]);

    /// Writes `data.len()` (1, 2 or 4) bytes of configuration space at `offset`. Returns whether
    /// [`bars`](Self::bars) may answer differently from now on.
    fn config_write(&mut self, offset: usize, data: &[u8]) -> bool;

    /// The base address registers that the device implements.
    fn bars(&self) -> Vec<Bar>;

    /// A guest read of `data.len()` bytes at `offset` in BAR `bar`.
    fn bar_read(&mut self, bar: usize, offset: u64, data: &mut [u8]);

    /// A guest write of `data.len()` bytes at `offset` in BAR `bar`.
    fn bar_write(&mut self, bar: usize, offset: u64, data: &[u8]);

    /// Puts the device into its state at power-on and gives back everything it held for the guest.
    fn reset(&mut self);
}

/// Message-signalled interrupts of one device, as its machine delivers them.
pub trait Msix: Send + Sync {
    /// Programs `vector` with the message that the guest wrote into the MSI-X table.
    /// A masked vector delivers nothing until it is unmasked; an event raised meanwhile stays
    /// pending and is delivered then. A vector that was never programmed is masked.
    fn program(&self, vector: u16, address: u64, data: u32, masked: bool) -> io::Result<()>;

    /// An event that raises `vector` when written (an irqfd). Any process that holds it can raise
    /// this interrupt and no other. Each call returns a duplicate of the same event, which does
    /// not block, and is readable while an interrupt is pending behind a mask.
    fn event(&self, vector: u16) -> io::Result<EventFd>;
}

/// Doorbells: guest writes that end in an event rather than in the VMM (ioeventfds).
pub trait Doorbells: Send + Sync {
    /// From now on a 2-byte guest write of any value at guest-physical `address` signals `event`.
    fn register(&self, address: u64, event: &EventFd) -> io::Result<()>;

    /// Undoes [`register`](Self::register).
    fn unregister(&self, address: u64, event: &EventFd) -> io::Result<()>;
}

/// A range of guest-physical memory behind a prefetchable BAR into which a device maps memory
/// files: a virtio shared-memory region. What is not mapped reads as all ones.
pub trait Window: Send + Sync {
    /// Bytes of the window.
    fn size(&self) -> u64;

    /// Lets the guest reach `len` bytes of `file` (from its start) at `offset` in the window.
    /// `offset` and `len` are multiples of 4096, and the range overlaps no other mapping.
    fn map(&self, offset: u64, len: u64, file: BorrowedFd<'_>) -> io::Result<()>;

    /// Takes back what [`map`](Self::map) gave at `offset`.
    fn unmap(&self, offset: u64) -> io::Result<()>;

    /// The BAR has moved to guest-physical `base`, or decodes no longer (`None`); mappings follow.
    fn moved(&self, base: Option<u64>);
}
