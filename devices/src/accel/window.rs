//! Where arenas lie in the window.

use std::collections::BTreeMap;

/// Ranges of a window, each placed so that the guest can map it in large pages.
#[derive(Debug)]
pub(super) struct Places {
    size: u64,
    /// Bytes of each range by its offset.
    taken: BTreeMap<u64, u64>,
}

/// The largest page that a guest maps.
const LARGEST_PAGE: u64 = 1 << 30;

impl Places {
    /// A window of `size` bytes, all free.
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            taken: BTreeMap::new(),
        }
    }

    /// Takes the first gap that `len` bytes (more than 0) fit into; returns its offset.
    pub(super) fn take(&mut self, len: u64) -> Option<u64> {
        let alignment = len.checked_next_power_of_two()?.min(LARGEST_PAGE);
        let mut at = 0u64;
        for (&offset, &taken) in &self.taken {
            if at.checked_add(len)? <= offset {
                break;
            }
            at = (offset + taken).checked_next_multiple_of(alignment)?;
        }
        if at.checked_add(len)? > self.size {
            return None;
        }
        self.taken.insert(at, len);
        Some(at)
    }

    /// Gives back the range at `offset`.
    pub(super) fn give(&mut self, offset: u64) {
        self.taken.remove(&offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn gaps_are_filled_first() {
        let mut places = Places::new(64 * MIB);
        assert_eq!(places.take(16 * MIB), Some(0));
        assert_eq!(places.take(16 * MIB), Some(16 * MIB));
        assert_eq!(places.take(32 * MIB), Some(32 * MIB));
        assert_eq!(places.take(4 * MIB), None);
        places.give(16 * MIB);
        assert_eq!(places.take(4 * MIB), Some(16 * MIB));
        assert_eq!(places.take(16 * MIB), None);
        assert_eq!(places.take(8 * MIB), Some(24 * MIB));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let mut places = Places::new(64 * MIB);
        assert_eq!(places.take(64 * MIB + 4096), None);
        assert_eq!(places.take(u64::MAX), None);
        assert_eq!(places.take(64 * MIB), Some(0));
    }

    proptest! {
        #[test]
        fn ranges_lie_aligned_inside_and_apart(steps in prop::collection::vec((1u64..5000, any::<bool>()), 1..80)) {
            let size = 40 * MIB;
            let mut places = Places::new(size);
            let mut held: Vec<(u64, u64)> = Vec::new();
            for (pages, give) in steps {
                if give && !held.is_empty() {
                    let (at, _) = held.swap_remove(pages as usize % held.len());
                    places.give(at);
                } else if let Some(at) = places.take(pages * 4096) {
                    let len = pages * 4096;
                    prop_assert!(at + len <= size);
                    prop_assert!(at.is_multiple_of(len.next_power_of_two()));
                    prop_assert!(held.iter().all(|(o, l)| at + len <= *o || o + l <= at));
                    held.push((at, len));
                }
            }
        }
    }
}
