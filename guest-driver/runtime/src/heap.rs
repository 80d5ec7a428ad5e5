//! Which parts of the arena's data are in use.
//!
//! An arena is sparse: a page costs host memory once it has been touched. So allocations take the
//! lowest address that fits, and pages that were touched once are used again and again. Small
//! allocations come from slabs of one size each, so that they never lie scattered between large
//! ones and keep these from fitting.

use std::collections::{BTreeMap, BTreeSet};

const PAGE: u64 = 4096;
/// Largest allocation that comes from a slab; anything larger takes whole pages.
const SMALL: u64 = 2048;
/// Smallest allocation, so that no two lie in one cache line.
const SMALLEST: u64 = 64;
const SLAB: u64 = 16 * PAGE;
const CLASSES: usize = (SMALL.ilog2() - SMALLEST.ilog2() + 1) as usize;

/// An allocator over a range of offsets. It keeps its own books outside of that range.
#[derive(Debug)]
pub struct Heap {
    pages: Pages,
    /// For each size, the slabs that have room, lowest first.
    roomy: [BTreeSet<u64>; CLASSES],
    /// Slabs by offset.
    slabs: BTreeMap<u64, Slab>,
}

#[derive(Debug)]
struct Slab {
    /// Places in use, one bit each.
    used: [u64; (SLAB / SMALLEST / 64) as usize],
    count: u32,
}

impl Heap {
    /// A heap over the offsets from `start` to `end`, both multiples of 4096.
    pub fn new(start: u64, end: u64) -> Heap {
        Heap {
            pages: Pages {
                free: BTreeMap::from([(start, end.saturating_sub(start))]),
            },
            roomy: Default::default(),
            slabs: BTreeMap::new(),
        }
    }

    /// Takes `len` bytes; from 4096 bytes on, they begin on a page, else on a multiple of 64. `None`
    /// if there is no room.
    pub fn allocate(&mut self, len: u64) -> Option<u64> {
        if len > SMALL {
            return self.pages.allocate(whole_pages(len)?);
        }
        let class = class_of(len);
        let size = SMALLEST << class;
        let at = match self.roomy[class].first() {
            Some(at) => *at,
            None => self.new_slab(class)?,
        };
        let slab = self.slabs.get_mut(&at)?;
        let index = slab.take(SLAB / size)?;
        if u64::from(slab.count) == SLAB / size {
            self.roomy[class].remove(&at);
        }
        Some(at + index * size)
    }

    fn new_slab(&mut self, class: usize) -> Option<u64> {
        let at = self.pages.allocate(SLAB)?;
        let slab = Slab {
            used: Default::default(),
            count: 0,
        };
        self.slabs.insert(at, slab);
        self.roomy[class].insert(at);
        Some(at)
    }

    /// Gives back what [`allocate`](Self::allocate) gave for `len` bytes.
    pub fn free(&mut self, at: u64, len: u64) {
        if len > SMALL {
            if let Some(len) = whole_pages(len) {
                self.pages.free(at, len);
            }
            return;
        }
        let class = class_of(len);
        let size = SMALLEST << class;
        let Some((slab_at, slab)) = self.slabs.range_mut(..=at).next_back() else {
            return;
        };
        let slab_at = *slab_at;
        slab.give((at - slab_at) / size);
        if slab.count > 0 {
            self.roomy[class].insert(slab_at);
            return;
        }
        // One empty slab of a size stays, so that a lone allocation does not make and free one
        // each time.
        self.roomy[class].insert(slab_at);
        if self.roomy[class].len() > 1 {
            self.roomy[class].remove(&slab_at);
            self.slabs.remove(&slab_at);
            self.pages.free(slab_at, SLAB);
        }
    }
}

impl Slab {
    fn take(&mut self, places: u64) -> Option<u64> {
        let (word, bits) = self
            .used
            .iter_mut()
            .enumerate()
            .find(|(_, bits)| **bits != u64::MAX)?;
        let bit = bits.trailing_ones();
        let index = word as u64 * 64 + u64::from(bit);
        if index >= places {
            return None;
        }
        *bits |= 1 << bit;
        self.count += 1;
        Some(index)
    }

    fn give(&mut self, index: u64) {
        let bit = 1 << (index % 64);
        let bits = &mut self.used[(index / 64) as usize];
        debug_assert!(*bits & bit != 0, "freed twice");
        *bits &= !bit;
        self.count -= 1;
    }
}

fn class_of(len: u64) -> usize {
    let size = len.max(SMALLEST).next_power_of_two();
    (size.ilog2() - SMALLEST.ilog2()) as usize
}

fn whole_pages(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(PAGE)
}

/// First fit over whole pages; neighbours are merged.
#[derive(Debug)]
struct Pages {
    free: BTreeMap<u64, u64>,
}

impl Pages {
    fn allocate(&mut self, len: u64) -> Option<u64> {
        let (at, room) = self
            .free
            .iter()
            .find(|(_, room)| **room >= len)
            .map(|(at, room)| (*at, *room))?;
        self.free.remove(&at);
        if room > len {
            self.free.insert(at + len, room - len);
        }
        Some(at)
    }

    fn free(&mut self, mut at: u64, mut len: u64) {
        if let Some((before, room)) = self.free.range(..at).next_back()
            && before + room == at
        {
            let (before, room) = (*before, *room);
            self.free.remove(&before);
            at = before;
            len += room;
        }
        if let Some(room) = self.free.remove(&(at + len)) {
            len += room;
        }
        self.free.insert(at, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: u64 = 1 << 20;
    const END: u64 = START + (1 << 20);

    #[derive(Clone, Debug)]
    enum Step {
        Allocate(u64),
        Free(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let len = prop_oneof![1..3000u64, 4000..100_000u64, Just(0)];
        let step = prop_oneof![
            3 => len.prop_map(Step::Allocate),
            2 => any::<usize>().prop_map(Step::Free),
        ];
        prop::collection::vec(step, 1..400)
    }

    proptest! {
        #[test]
        fn allocations_never_overlap_and_all_comes_back(steps in steps()) {
            let mut heap = Heap::new(START, END);
            let mut live: Vec<(u64, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Allocate(len) => {
                        let Some(at) = heap.allocate(len) else { continue };
                        let aligned = if len >= PAGE { PAGE } else { SMALLEST };
                        prop_assert_eq!(at % aligned, 0);
                        prop_assert!(at >= START && at + len <= END);
                        for (other, size) in &live {
                            prop_assert!(at + len.max(1) <= *other || other + size.max(&1) <= at);
                        }
                        live.push((at, len));
                    }
                    Step::Free(which) if !live.is_empty() => {
                        let (at, len) = live.swap_remove(which % live.len());
                        heap.free(at, len);
                    }
                    Step::Free(_) => {}
                }
            }
            for (at, len) in live {
                heap.free(at, len);
            }
            // All but at most one empty slab of each size is one piece again.
            let room: u64 = heap.pages.free.values().sum();
            prop_assert!(room >= END - START - CLASSES as u64 * SLAB);
            prop_assert!(heap.pages.free.len() <= CLASSES + 1);
        }
    }

    #[test]
    fn lowest_addresses_are_used_first_and_again() {
        let mut heap = Heap::new(START, END);
        assert_eq!(heap.allocate(8192), Some(START));
        assert_eq!(heap.allocate(8192), Some(START + 8192));
        heap.free(START, 8192);
        assert_eq!(heap.allocate(4096), Some(START));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut heap = Heap::new(START, END);
        assert_eq!(heap.allocate(END - START + 1), None);
        assert_eq!(heap.allocate(u64::MAX), None);
        assert_eq!(heap.allocate(END - START), Some(START));
        assert_eq!(heap.allocate(1), None);
    }
}
