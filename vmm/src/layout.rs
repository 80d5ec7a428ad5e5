//! Every guest-physical address and I/O port that the machine fixes, and why it is there.
//!
//! ```text
//! 0                 conventional memory: boot structures at the addresses below
//! 0x0009_fc00       reserved up to 1 MiB, where a PC keeps video memory and firmware;
//!                   the ACPI tables lie in it
//! 0x0010_0000       memory, up to 3 GiB
//! 0xc000_0000       32-bit PCI window (registers of devices)
//! 0xe000_0000       PCI configuration space of bus 0 (ECAM)
//! 0xfec0_0000       I/O APIC, local APICs, and three pages that KVM wants for itself
//! 0x1_0000_0000     the rest of memory
//! above it          64-bit PCI window (windows of accelerators)
//! ```

use std::ops::Range;

/// One mebibyte.
pub const MIB: u64 = 1 << 20;
/// One gibibyte.
pub const GIB: u64 = 1 << 30;

/// Global descriptor table for the kernel's first instructions; free in the real-mode map.
pub const GDT: u64 = 0x500;
/// Interrupt descriptor table for the same time: empty.
pub const IDT: u64 = 0x520;
/// The boot parameters ("zero page"), where firmware traditionally leaves them.
pub const ZERO_PAGE: u64 = 0x7000;
/// Top of the stack at entry. The boot protocol wants none; an early fault then hits memory.
pub const BOOT_STACK: u64 = 0x8ff0;
/// First of the page tables that identity-map the first 4 GiB: one root, one directory pointer
/// table, four directories.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line, in conventional memory, clear of what lies below.
pub const CMDLINE: u64 = 0x2_0000;
/// Bytes that a command line may take, with its final zero, whatever the kernel would allow.
pub const CMDLINE_MAX: usize = 0x1_0000;
/// End of conventional memory: above it a PC has its extended BIOS data area.
pub const CONVENTIONAL_END: u64 = 0x9_fc00;
/// The ACPI root pointer. It is handed over in the boot parameters as well, but a kernel that
/// does not know that field searches 0xe0000 to 0xfffff.
pub const RSDP: u64 = 0xe_0000;
/// Where a BIOS starts (F000:FFF0): end of the room for ACPI tables. Some kernels reset a machine by
/// jumping here.
pub const RESET_VECTOR: u64 = 0xf_fff0;
/// Start of extended memory.
pub const HIGH_MEMORY: u64 = 0x10_0000;

/// Where a relocatable kernel is loaded: where Linux prefers to run (16 MiB), so that it has no
/// need to move itself.
pub const KERNEL: u64 = 16 * MIB;

/// Start of the hole that memory leaves below 4 GiB; also the 32-bit window for PCI devices.
pub const PCI_HOLE: u64 = 3 * GIB;
/// Addresses for 32-bit BARs.
pub const PCI_WINDOW_32: Range<u64> = PCI_HOLE..0xe000_0000;
/// Memory-mapped PCI configuration space, 1 MiB for the one bus.
pub const ECAM: Range<u64> = 0xe000_0000..0xe010_0000;
/// The I/O APIC, where every PC has it and KVM puts it.
pub const IO_APIC: u32 = 0xfec0_0000;
/// The local APICs, at their address after reset.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// One page for KVM: identity map for real mode on old Intel processors.
pub const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages for KVM: task state segment for the same.
pub const KVM_TSS: usize = 0xfffb_d000;
/// Where memory goes on after the hole.
pub const MEMORY_ABOVE_4G: u64 = 4 * GIB;

/// Smallest memory that a stock kernel with a small initrd boots in.
pub const MEMORY_MIN: u64 = 128 * MIB;
/// Most virtual CPUs; beyond 255 an x2APIC table would be needed, beyond 16 nothing is tested.
pub const CPUS_MAX: u32 = 16;

/// First serial port, as on every PC.
pub const COM1: Range<u16> = 0x3f8..0x400;
/// Interrupt of the first serial port, as on every PC.
pub const COM1_IRQ: u32 = 4;
/// Interrupt of the Generic Event Device (power button); any free I/O APIC pin would do.
pub const EVENT_IRQ: u32 = 9;
/// Keyboard controller's command port: writing 0xfe resets a PC. Kernels told `reboot=k` do so.
pub const KEYBOARD_COMMAND: u16 = 0x64;
/// Panic notification port, at the address that the Linux driver's other machine uses.
pub const PVPANIC: u16 = 0x505;
/// ACPI sleep control register (hardware-reduced): the guest powers off through it.
pub const SLEEP_CONTROL: u16 = 0x600;
/// ACPI sleep status register.
pub const SLEEP_STATUS: u16 = 0x601;
/// ACPI reset register.
pub const RESET: u16 = 0x602;
/// Which events the Generic Event Device has to tell; reading clears them.
pub const EVENTS: u16 = 0x603;
/// PCI configuration address port (the older way, which early kernel code uses).
pub const PCI_CONFIG_ADDRESS: Range<u16> = 0xcf8..0xcfc;
/// PCI configuration data port.
pub const PCI_CONFIG_DATA: Range<u16> = 0xcfc..0xd00;

/// First interrupt number behind the 24 pins of the I/O APIC; message-signalled ones start here.
pub const FIRST_MSI: u32 = 24;

/// The two parts of guest memory of `size` bytes: below the hole, and above 4 GiB (maybe empty).
pub fn memory_ranges(size: u64) -> (Range<u64>, Range<u64>) {
    let low = size.min(PCI_HOLE);
    (0..low, MEMORY_ABOVE_4G..MEMORY_ABOVE_4G + (size - low))
}

/// Addresses for 64-bit prefetchable BARs with memory of `memory` bytes on a processor with
/// `address_bits` physical address bits, or `None` if nothing is left above memory.
///
/// The window starts at the first multiple of 64 GiB above memory, or of 1 GiB where the
/// processor's addresses end before that. It stays below 64 TiB, which is what Linux can map
/// directly with four-level page tables, and below the range that AMD processors with 40 bits
/// keep for HyperTransport.
pub fn pci_window_64(memory: u64, address_bits: u8) -> Option<Range<u64>> {
    const HYPERTRANSPORT_40: u64 = 0xfd_0000_0000;
    let end = match address_bits {
        40 => HYPERTRANSPORT_40,
        bits => 1u64.checked_shl(u32::from(bits.min(46)))?,
    };
    let memory_end = memory_ranges(memory).1.end;
    [64 * GIB, GIB]
        .into_iter()
        .map(|step| memory_end.next_multiple_of(step))
        .find(|start| *start < end)
        .map(|start| start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_memory_lies_below_the_hole() {
        assert_eq!(memory_ranges(MEMORY_MIN), (0..MEMORY_MIN, 4 * GIB..4 * GIB));
        assert_eq!(memory_ranges(3 * GIB), (0..3 * GIB, 4 * GIB..4 * GIB));
    }

    #[test]
    fn large_memory_goes_round_the_hole() {
        let (low, high) = memory_ranges(6 * GIB);
        assert_eq!((low.end, high.clone()), (3 * GIB, 4 * GIB..7 * GIB));
        assert_eq!(low.end - low.start + high.end - high.start, 6 * GIB);
    }

    #[test]
    fn the_64_bit_window_lies_above_memory_and_below_the_address_limit() {
        assert_eq!(pci_window_64(GIB, 40), Some(64 * GIB..0xfd_0000_0000));
        assert_eq!(pci_window_64(GIB, 52), Some(64 * GIB..1 << 46));
        assert_eq!(pci_window_64(GIB, 36), Some(4 * GIB..64 * GIB));
        assert_eq!(pci_window_64(100 * GIB, 46), Some(128 * GIB..1 << 46));
        assert_eq!(pci_window_64(100 * GIB, 36), None);
    }

    #[test]
    fn fixed_places_do_not_overlap() {
        let places = [
            GDT..GDT + 32,
            IDT..IDT + 8,
            ZERO_PAGE..ZERO_PAGE + 4096,
            PAGE_TABLES..PAGE_TABLES + 6 * 4096,
            CMDLINE..CMDLINE + CMDLINE_MAX as u64,
            RSDP..HIGH_MEMORY,
        ];
        for pair in places.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{pair:x?}");
        }
        const { assert!(BOOT_STACK < PAGE_TABLES && BOOT_STACK >= ZERO_PAGE + 4096) };
        const { assert!(CMDLINE + CMDLINE_MAX as u64 <= CONVENTIONAL_END) };
    }
}
