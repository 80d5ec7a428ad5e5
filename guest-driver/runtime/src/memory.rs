//! Arena memory in use, which comes back by itself.

use std::sync::Mutex;

use crate::heap::Heap;
use crate::lock;

/// A part of an arena's data. Dropping it frees it.
#[derive(Debug)]
pub struct Region {
    heap: &'static Mutex<Heap>,
    at: u64,
    len: u64,
}

impl Region {
    /// Takes `len` bytes of `heap`; `None` if there is no room.
    pub fn allocate(heap: &'static Mutex<Heap>, len: u64) -> Option<Region> {
        let at = lock(heap).allocate(len)?;
        Some(Region { heap, at, len })
    }

    /// Offset in the arena.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        lock(self.heap).free(self.at, self.len);
    }
}
