//! Addresses for BARs.

use std::ops::Range;

use weir_devices::pci::BarKind;

/// Hands out addresses from the two windows, each at a multiple of its size as PCI demands.
pub struct Allocator {
    memory_32: Bump,
    memory_64: Bump,
}

struct Bump {
    window: Range<u64>,
    next: u64,
}

impl Allocator {
    /// Both windows are free.
    pub fn new(window_32: Range<u64>, window_64: Range<u64>) -> Self {
        let bump = |window: Range<u64>| Bump {
            next: window.start,
            window,
        };
        Self {
            memory_32: bump(window_32),
            memory_64: bump(window_64),
        }
    }

    /// An address for `size` bytes (a power of two), or else the window that has no room.
    pub fn allocate(&mut self, kind: BarKind, size: u64) -> Result<u64, Range<u64>> {
        let bump = match kind {
            BarKind::Memory32 => &mut self.memory_32,
            BarKind::Memory64Prefetchable => &mut self.memory_64,
        };
        // A BAR smaller than a page gets a page of its own: no two devices share one.
        let step = size.max(4096);
        bump.next
            .checked_next_multiple_of(step)
            .and_then(|start| Some((start, start.checked_add(step)?)))
            .filter(|(_, end)| *end <= bump.window.end)
            .map(|(start, end)| {
                bump.next = end;
                start
            })
            .ok_or_else(|| bump.window.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_window_is_told() {
        let mut allocator = Allocator::new(0x1000..0x3000, 0..0);
        assert_eq!(allocator.allocate(BarKind::Memory32, 16), Ok(0x1000));
        assert_eq!(allocator.allocate(BarKind::Memory32, 0x1000), Ok(0x2000));
        assert_eq!(
            allocator.allocate(BarKind::Memory32, 16),
            Err(0x1000..0x3000)
        );
        assert_eq!(
            allocator.allocate(BarKind::Memory64Prefetchable, 16),
            Err(0..0)
        );
    }

    proptest! {
        #[test]
        fn addresses_are_aligned_inside_and_apart(sizes in proptest::collection::vec(4u32..30, 1..40)) {
            let window = 0xc000_0000..0xe000_0000u64;
            let mut allocator = Allocator::new(window.clone(), 0..0);
            let mut end = 0;
            for size in sizes.into_iter().map(|bits| 1u64 << bits) {
                if let Ok(start) = allocator.allocate(BarKind::Memory32, size) {
                    prop_assert!(start.is_multiple_of(size) && start >= end);
                    end = start + size;
                    prop_assert!(window.contains(&start) && end <= window.end);
                }
            }
        }
    }
}
