//! Bulk transfers that are still under way when their call has returned.
//!
//! The worker marks each as complete in a word of the arena, at the latest before it answers a call
//! that the program could learn of it by. Before such a call returns, the results of all complete
//! transfers are copied to where the program wants them, and their arena memory is free again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use weir_wire::arena::Arena;
use weir_wire::handle::Handle;

use crate::lock;
use crate::memory::Region;

/// The transfer is not complete yet.
const PENDING: u32 = 0;
/// The transfer is complete, and what it wrote is valid.
const COMPLETE: u32 = 1;

/// Where in the program's memory the bytes of a transfer go: rows of bytes, evenly spaced, in evenly
/// spaced slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a row.
    pub row: usize,
    /// Rows of a slice.
    pub rows: usize,
    /// Slices.
    pub slices: usize,
    /// Bytes from one row to the next.
    pub row_pitch: usize,
    /// Bytes from one slice to the next.
    pub slice_pitch: usize,
}

impl Shape {
    /// `len` bytes in one piece.
    pub fn line(len: usize) -> Shape {
        Shape {
            row: len,
            rows: 1,
            slices: 1,
            row_pitch: len,
            slice_pitch: len,
        }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.row * self.rows * self.slices
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For each row, its offset in the program's memory and its offset among the packed bytes.
    pub fn each_row(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let shape = *self;
        (0..shape.slices).flat_map(move |slice| {
            (0..shape.rows).map(move |row| {
                let spread = slice * shape.slice_pitch + row * shape.row_pitch;
                (spread, (slice * shape.rows + row) * shape.row)
            })
        })
    }

    /// Copies packed bytes to where they belong.
    ///
    /// # Safety
    /// `packed` must be valid for reading [`len`](Self::len) bytes, and `target` for writing at each
    /// row's place; the two must not overlap.
    pub unsafe fn spread(&self, packed: *const u8, target: *mut u8) {
        for (spread, at) in self.each_row() {
            // SAFETY: the caller answers for both ranges.
            unsafe { std::ptr::copy_nonoverlapping(packed.add(at), target.add(spread), self.row) };
        }
    }

    /// Packs bytes from where they belong.
    ///
    /// # Safety
    /// As for [`spread`](Self::spread), with reading and writing exchanged.
    pub unsafe fn pack(&self, source: *const u8, packed: *mut u8) {
        for (spread, at) in self.each_row() {
            // SAFETY: the caller answers for both ranges.
            unsafe { std::ptr::copy_nonoverlapping(source.add(spread), packed.add(at), self.row) };
        }
    }
}

/// A transfer under way.
#[derive(Debug)]
pub struct Transfer {
    /// The word that says when it is complete.
    pub done: Region,
    /// The arena memory that it uses, kept until then; `None` where that is the program's business.
    pub data: Option<Arc<Region>>,
    /// Where the data goes in the end; `None` for a transfer to the device.
    pub target: Option<Target>,
    /// The object whose completion completes it, such as its command queue.
    pub owner: Handle,
}

/// A place in the program's memory.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it begins.
    pub address: *mut u8,
    /// How the bytes lie there.
    pub shape: Shape,
}

// SAFETY: the program promised that the memory stays valid, from whatever thread, until it has
// learned that the transfer is complete.
unsafe impl Send for Target {}

/// The transfers of a client that are under way.
#[derive(Debug, Default)]
pub struct Deferred {
    transfers: Mutex<Vec<Transfer>>,
    count: AtomicUsize,
}

impl Deferred {
    /// Takes note of a transfer. Its command has been appended, or is about to be.
    pub fn add(&self, transfer: Transfer) {
        let mut transfers = lock(&self.transfers);
        transfers.push(transfer);
        self.count.store(transfers.len(), Ordering::Release);
    }

    /// Forgets the transfer whose word lies at `done`: its call has failed.
    pub fn forget(&self, done: u64) {
        let mut transfers = lock(&self.transfers);
        transfers.retain(|transfer| transfer.done.at() != done);
        self.count.store(transfers.len(), Ordering::Release);
    }

    /// Ends all transfers that are complete. When it returns, so are those that another thread has
    /// begun to end.
    pub fn collect(&self, arena: &Arena) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut transfers = lock(&self.transfers);
        transfers.retain(|transfer| {
            let Ok(word) = arena.memory().atomic_u32(transfer.done.at()) else {
                return false;
            };
            match word.load(Ordering::Acquire) {
                PENDING => true,
                COMPLETE => {
                    transfer.finish(arena);
                    false
                }
                _ => false,
            }
        });
        self.count.store(transfers.len(), Ordering::Release);
    }

    /// The owner of the oldest transfer under way.
    pub fn oldest(&self) -> Option<Handle> {
        lock(&self.transfers).first().map(|transfer| transfer.owner)
    }
}

impl Transfer {
    fn finish(&self, arena: &Arena) {
        let (Some(data), Some(target)) = (&self.data, &self.target) else {
            return;
        };
        let len = target.shape.len().min(data.len() as usize) as u64;
        if let Ok(from) = arena.memory().address(data.at(), len)
            && len == target.shape.len() as u64
        {
            // SAFETY: the arena range was checked; the program has promised the target until now.
            unsafe { target.shape.spread(from.as_ptr(), target.address) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_packs_and_spreads_its_rows_only() {
        let shape = Shape {
            row: 2,
            rows: 2,
            slices: 2,
            row_pitch: 3,
            slice_pitch: 8,
        };
        let source: Vec<u8> = (0..16).collect();
        let mut packed = [0; 8];
        let mut spread = [99; 16];
        // SAFETY: all ranges lie inside of the arrays.
        unsafe {
            shape.pack(source.as_ptr(), packed.as_mut_ptr());
            shape.spread(packed.as_ptr(), spread.as_mut_ptr());
        }
        assert_eq!(packed, [0, 1, 3, 4, 8, 9, 11, 12]);
        for (i, byte) in spread.iter().enumerate() {
            let copied = packed.contains(&(i as u8));
            assert_eq!(*byte, if copied { i as u8 } else { 99 });
        }
    }
}
