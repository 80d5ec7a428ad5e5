//! The arena: memory that one client, its VMM and its worker share. One sealed memory file.
//!
//! ```text
//! 0        header   one page: identity, state, positions, wake-ups
//! 4096     lanes    MAX_LANES reply slots of 64 bytes
//! 20480    (to the next multiple of 64 KiB: unused)
//! 65536    stream   command bytes: a ring that the guest fills and the VMM empties
//!          data     inputs, outputs and bulk data; the guest library is its allocator
//! ```
//!
//! A guest can write all of it at any time. VMM and worker therefore only ever *write* here, or
//! copy bytes out; of the words below they read only [`SLEEPERS`], as a hint.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::handle::Handle;
use crate::shared::SharedMemory;

/// First word of every arena: "WEIR".
pub const MAGIC: u32 = 0x5249_4557;
/// Reply slots, one per lane.
pub const MAX_LANES: u32 = 256;
/// Bytes of a reply slot.
pub const LANE_SIZE: u64 = 64;
/// Where the reply slots begin.
pub const LANES_OFFSET: u64 = 4096;
/// Where the stream begins.
pub const STREAM_OFFSET: u64 = 64 << 10;
/// Bytes of the stream; a power of two.
pub const STREAM_SIZE: u64 = 1 << 20;
/// Where data begins; page-aligned.
pub const DATA_OFFSET: u64 = STREAM_OFFSET + STREAM_SIZE;
/// Smallest arena.
pub const MIN_SIZE: u64 = 4 << 20;
/// Arena of a client that asks for no particular size. It is sparse: only touched pages cost.
pub const DEFAULT_SIZE: u64 = 1 << 30;
/// Largest arena.
pub const MAX_SIZE: u64 = 64 << 30;

// Offsets of the header's words.
/// `u32`: [`MAGIC`].
pub const MAGIC_AT: u64 = 0x00;
/// `u32`: [`crate::VERSION`].
pub const VERSION_AT: u64 = 0x04;
/// `u32`: [`STATE_RUNNING`] or [`STATE_LOST`]; written by the VMM.
pub const STATE: u64 = 0x08;
/// `u32`: why the client was lost, one of [`Lost`]; written before the state.
pub const LOST_REASON: u64 = 0x0c;
/// `u64`: bytes of the arena.
pub const SIZE_AT: u64 = 0x10;
/// `u64`: batches that the VMM has copied out so far; their part of the stream is free again.
pub const CONSUMED: u64 = 0x40;
/// `u32`: threads asleep, or about to sleep, until a reply comes; written by the guest driver.
pub const SLEEPERS: u64 = 0x80;
/// `u32`: raised by the worker whenever something happened outside of any call.
pub const EVENTS: u64 = 0xc0;
/// `u32`: the first error of a call that nobody waits for and that is given to no line, such as a
/// queue; see [`Arena::take_error`].
pub const ASYNC_ERROR: u64 = 0xc8;
/// [`MAX_LATE`] times `u64`: the first error of each line's calls that nobody waits for, in the low
/// half; in the high half, slot and generation of the line's handle, 20 and 12 bits of them.
pub const LATE_ERRORS: u64 = 0x100;
/// Lines that can have such an error at the same time.
pub const MAX_LATE: u64 = 32;

/// The client can be used.
pub const STATE_RUNNING: u32 = 1;
/// The client is over: every call gets the API's error for a lost device.
pub const STATE_LOST: u32 = 2;

/// Why a client was ended; stored in [`LOST_REASON`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Lost {
    /// Its worker died.
    Worker = 1,
    /// It broke the rules of submission (more batches in flight than allowed).
    Protocol = 2,
    /// It was ended from outside.
    Ended = 3,
    /// A command of it was on the device for longer than its tenant may use it.
    Timeout = 4,
}

/// Batches that a client may have submitted and the VMM not yet copied out.
pub const MAX_BATCHES: u64 = 256;

// A reply slot.
/// `u32` in a reply slot: number of the lane's last answered call. Written last.
pub const SLOT_SEQ: u64 = 0;
/// `u64` in a reply slot: the call's return value, as its bits.
pub const SLOT_RETURN: u64 = 8;

/// A mapped arena. The guest library, the VMM and the worker each hold one over the same memory.
#[derive(Debug)]
pub struct Arena {
    memory: SharedMemory,
}

impl Arena {
    /// Makes an arena of `size` bytes, a multiple of 4096 from [`MIN_SIZE`] to [`MAX_SIZE`].
    pub fn create(size: u64) -> io::Result<(Arena, OwnedFd)> {
        if !(MIN_SIZE..=MAX_SIZE).contains(&size) || !size.is_multiple_of(4096) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (memory, file) = SharedMemory::create("weir-arena", size)?;
        let arena = Arena { memory };
        for (at, value) in [
            (MAGIC_AT, MAGIC),
            (VERSION_AT, crate::VERSION),
            (STATE, STATE_RUNNING),
        ] {
            arena.word(at).store(value, Ordering::Relaxed);
        }
        arena.long(SIZE_AT).store(size, Ordering::Relaxed);
        let geometry = [
            (0x18, LANES_OFFSET),
            (0x1c, u64::from(MAX_LANES)),
            (0x20, STREAM_OFFSET),
        ]
        .into_iter()
        .chain([(0x24, STREAM_SIZE), (0x28, DATA_OFFSET)]);
        for (at, value) in geometry {
            arena.word(at).store(value as u32, Ordering::Relaxed);
        }
        Ok((arena, file))
    }

    /// Maps an existing arena of `size` bytes.
    pub fn map(file: impl AsFd, size: u64) -> io::Result<Arena> {
        if size < MIN_SIZE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Arena {
            memory: SharedMemory::map(file, size)?,
        })
    }

    /// The memory itself.
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Bytes of the arena, as mapped here (not as the header says).
    pub fn size(&self) -> u64 {
        self.memory.len()
    }

    fn word(&self, at: u64) -> &AtomicU32 {
        // The header and the lanes are inside of every arena: MIN_SIZE says so.
        self.memory
            .atomic_u32(at)
            .expect("an arena holds its header")
    }

    fn long(&self, at: u64) -> &AtomicU64 {
        self.memory
            .atomic_u64(at)
            .expect("an arena holds its header")
    }

    /// Batches that the VMM has copied out of the stream, in all.
    pub fn consumed(&self) -> u64 {
        self.long(CONSUMED).load(Ordering::Acquire)
    }

    /// Tells the guest how many batches have been copied out of the stream, in all.
    pub fn set_consumed(&self, batches: u64) {
        self.long(CONSUMED).store(batches, Ordering::Release);
    }

    /// Whether the client is over, and why.
    pub fn lost(&self) -> Option<u32> {
        (self.word(STATE).load(Ordering::Acquire) != STATE_RUNNING)
            .then(|| self.word(LOST_REASON).load(Ordering::Relaxed))
    }

    /// Ends the client. The caller then wakes its sleepers.
    pub fn set_lost(&self, reason: Lost) {
        self.word(LOST_REASON)
            .store(reason as u32, Ordering::Relaxed);
        self.word(STATE).store(STATE_LOST, Ordering::SeqCst);
    }

    /// Offset of the sequence word of `lane`'s reply slot, which must be below [`MAX_LANES`].
    pub fn lane_offset(lane: u32) -> u64 {
        LANES_OFFSET + u64::from(lane) * LANE_SIZE
    }

    /// Answers call number `seq` of `lane` (below [`MAX_LANES`]) with `value`. All outputs must have
    /// been written before. Returns whether somebody sleeps and must be woken.
    #[must_use]
    pub fn reply(&self, lane: u32, seq: u32, value: u64) -> bool {
        let slot = Self::lane_offset(lane.min(MAX_LANES - 1));
        self.long(slot + SLOT_RETURN)
            .store(value, Ordering::Relaxed);
        self.word(slot + SLOT_SEQ).store(seq, Ordering::Release);
        self.has_sleepers()
    }

    /// Whether call number `seq` of `lane` has been answered, and with what.
    pub fn answer(&self, lane: u32, seq: u32) -> Option<u64> {
        let slot = Self::lane_offset(lane.min(MAX_LANES - 1));
        (self.word(slot + SLOT_SEQ).load(Ordering::Acquire) == seq)
            .then(|| self.long(slot + SLOT_RETURN).load(Ordering::Relaxed))
    }

    /// Whether somebody sleeps until a reply comes. Ordered after all earlier writes: a sleeper
    /// announces itself first and then looks again, so one of the two sees the other.
    pub fn has_sleepers(&self) -> bool {
        fence(Ordering::SeqCst);
        self.word(SLEEPERS).load(Ordering::Relaxed) != 0
    }

    /// Count of threads asleep; the guest's transport raises it before it looks a last time.
    pub fn sleepers(&self) -> &AtomicU32 {
        self.word(SLEEPERS)
    }

    /// Count of things that happened outside of any call.
    pub fn events(&self) -> &AtomicU32 {
        self.word(EVENTS)
    }

    /// Keeps the error `code` (not 0) of a call that nobody waits for, unless an earlier one of the
    /// same `line` has not been taken yet. The line is null where there is none.
    pub fn put_error(&self, line: Handle, code: i32) {
        if !line.is_null() {
            let late = late(line) | u64::from(code as u32);
            for place in self.late_errors() {
                let before = place.compare_exchange(0, late, Ordering::AcqRel, Ordering::Acquire);
                match before {
                    Ok(_) => return,
                    Err(other) if of_same_line(other, late) => return,
                    Err(_) => {}
                }
            }
            // With so many lines that failed, it is told wherever errors are looked for.
        }
        let _ = self.word(ASYNC_ERROR).compare_exchange(
            0,
            code as u32,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }

    /// Takes the first error of the calls that nobody waited for and that were given to one of
    /// `lines` or to none; 0 if there was none.
    pub fn take_error(&self, lines: &[Handle]) -> i32 {
        for place in self.late_errors() {
            let found = place.load(Ordering::Acquire);
            let is_of = |line: &Handle| of_same_line(found, late(*line));
            // Somebody else may take it just now.
            if found != 0 && lines.iter().any(is_of) && place.swap(0, Ordering::AcqRel) == found {
                return found as u32 as i32;
            }
        }
        self.word(ASYNC_ERROR).swap(0, Ordering::AcqRel) as i32
    }

    fn late_errors(&self) -> impl Iterator<Item = &AtomicU64> {
        let places = (0..MAX_LATE).map(|index| LATE_ERRORS + 8 * index);
        // All of them lie in the header, aligned.
        places.filter_map(|at| self.memory().atomic_u64(at).ok())
    }
}

/// What the high half of a late error says of its line.
fn late(line: Handle) -> u64 {
    let named = (line.generation() & 0xfff) << 20 | line.slot() & 0xf_ffff;
    u64::from(named) << 32
}

fn of_same_line(one: u64, other: u64) -> bool {
    one >> 32 == other >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_errors_are_told_by_line() {
        let (arena, _file) = Arena::create(MIN_SIZE).unwrap();
        let [one, two] = [Handle::new(0, 1), Handle::new(5, 9)];
        arena.put_error(two, -5);
        arena.put_error(one, -4);
        arena.put_error(two, -6);
        arena.put_error(Handle::NULL, -7);
        assert_eq!(arena.take_error(&[one]), -4);
        assert_eq!(arena.take_error(&[one]), -7, "of no line");
        assert_eq!(arena.take_error(&[one]), 0);
        assert_eq!(arena.take_error(&[one, two]), -5, "the first one");
        assert_eq!(arena.take_error(&[two]), 0);
    }

    #[test]
    fn no_error_is_lost_for_want_of_places() {
        let (arena, _file) = Arena::create(MIN_SIZE).unwrap();
        for line in 0..=MAX_LATE as u32 {
            arena.put_error(Handle::new(line, 1), -1 - line as i32);
        }
        assert_eq!(arena.take_error(&[]), -1 - MAX_LATE as i32);
        assert_eq!(arena.take_error(&[Handle::new(3, 1)]), -4);
    }
}
