//! Model-specific registers as firmware would leave them.

use kvm_bindings::{Msrs, kvm_msr_entry};

use crate::layout::{MEMORY_ABOVE_4G, PCI_HOLE};

const MISC_ENABLE: u32 = 0x1a0;
const MISC_ENABLE_FAST_STRING: u64 = 1;

const MTRR_PHYS_BASE_0: u32 = 0x200;
const MTRR_PHYS_MASK_0: u32 = 0x201;
const MTRR_MASK_VALID: u64 = 1 << 11;
const MTRR_DEF_TYPE: u32 = 0x2ff;
const MTRR_ENABLE: u64 = 1 << 11;
const TYPE_UNCACHED: u64 = 0;
const TYPE_WRITE_BACK: u64 = 6;

/// Registers of a processor with `address_bits` physical address bits.
///
/// Memory type ranges are on, with write-back as the default and only the hole below 4 GiB
/// uncached. Linux asks them before it maps a range write-back that is not memory; were they off,
/// it would fall back to uncached and the accelerators' windows would crawl.
pub fn at_boot(address_bits: u8) -> Msrs {
    let hole = MEMORY_ABOVE_4G - PCI_HOLE;
    let address_mask = ((1u64 << address_bits) - 1) & !(hole - 1);
    let entries = [
        (MISC_ENABLE, MISC_ENABLE_FAST_STRING),
        (MTRR_PHYS_BASE_0, PCI_HOLE | TYPE_UNCACHED),
        (MTRR_PHYS_MASK_0, address_mask | MTRR_MASK_VALID),
        (MTRR_DEF_TYPE, MTRR_ENABLE | TYPE_WRITE_BACK),
    ]
    .map(|(index, data)| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    });
    Msrs::from_entries(&entries).expect("four entries fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hole_is_uncached_and_nothing_else() {
        let msrs = at_boot(40);
        let get = |index| {
            let found = msrs.as_slice().iter().find(|entry| entry.index == index);
            found.unwrap().data
        };
        assert_eq!(get(MTRR_DEF_TYPE), 0x806);
        assert_eq!(get(MTRR_PHYS_BASE_0), 0xc000_0000);
        assert_eq!(get(MTRR_PHYS_MASK_0), 0xff_c000_0800);
    }
}
