//! The boot parameters ("zero page") that the kernel reads first, with the memory map.

use linux_loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::{Bytes, GuestAddress};

use super::{BootError, Loaded};
use crate::layout;
use crate::memory::GuestMemory;

/// Boot loader type for one without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;
/// Bit of `loadflags`: the protected-mode part lies above 1 MiB.
const LOADED_HIGH: u8 = 1;

/// Kinds of memory in the map.
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

/// Writes the boot parameters for a guest with `memory_size` bytes.
pub fn write(memory: &GuestMemory, memory_size: u64, kernel: &Loaded) -> Result<(), BootError> {
    let mut parameters = boot_params {
        hdr: kernel.header,
        acpi_rsdp_addr: layout::RSDP,
        ..Default::default()
    };
    parameters.hdr.type_of_loader = LOADER_UNDEFINED;
    parameters.hdr.loadflags |= LOADED_HIGH;
    let map = memory_map(memory_size);
    parameters.e820_entries = map.len() as u8;
    parameters.e820_table[..map.len()].copy_from_slice(&map);
    memory.write_obj(parameters, GuestAddress(layout::ZERO_PAGE))?;
    Ok(())
}

/// What lies where, for the kernel: memory, and what is not to be touched.
fn memory_map(memory_size: u64) -> Vec<boot_e820_entry> {
    let (low, high) = layout::memory_ranges(memory_size);
    [
        (0..layout::CONVENTIONAL_END, E820_RAM),
        (layout::CONVENTIONAL_END..layout::HIGH_MEMORY, E820_RESERVED),
        (layout::HIGH_MEMORY..low.end, E820_RAM),
        (layout::ECAM, E820_RESERVED),
        (high, E820_RAM),
    ]
    .into_iter()
    .filter(|(range, _)| !range.is_empty())
    .map(|(range, kind)| boot_e820_entry {
        addr: range.start,
        size: range.end - range.start,
        r#type: kind,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{GIB, MIB};

    #[test]
    fn the_map_adds_up_and_is_in_order() {
        for size in [128 * MIB, GIB, 3 * GIB, 3 * GIB + MIB, 12 * GIB] {
            let map = memory_map(size);
            let ends: Vec<_> = map.iter().map(|e| (e.addr, e.addr + e.size)).collect();
            assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            let usable: u64 = map
                .iter()
                .filter(|e| e.r#type == E820_RAM)
                .map(|e| e.size)
                .sum();
            let firmware = layout::HIGH_MEMORY - layout::CONVENTIONAL_END;
            assert_eq!(usable + firmware, size);
        }
    }

    #[test]
    fn parameters_reach_guest_memory() {
        let memory = crate::memory::create(layout::MEMORY_MIN).unwrap();
        let kernel = Loaded {
            entry: 0,
            header: super::super::elf_header(),
            end: 0,
        };
        write(&memory, layout::MEMORY_MIN, &kernel).unwrap();
        let read: boot_params = memory.read_obj(GuestAddress(layout::ZERO_PAGE)).unwrap();
        let (rsdp, entries, flag) = (read.acpi_rsdp_addr, read.e820_entries, read.hdr.boot_flag);
        assert_eq!((rsdp, entries, flag), (layout::RSDP, 4, 0xaa55));
    }
}
