//! How threads of a client that sleep are woken.

use rustix::thread::futex;
use weir_wire::arena::{Arena, EVENTS, MAX_LANES, SLOT_SEQ};

use super::super::bell::Bell;

/// How threads of a client that sleep are woken.
#[derive(Debug)]
pub(in super::super) enum Wake {
    /// An event that reaches them all: a guest's interrupt.
    Event(Bell),
    /// They sleep on the words of the arena itself.
    Futex,
}

impl Wake {
    /// Wakes who sleeps until the word at `offset` changes.
    pub(super) fn word(&self, arena: &Arena, offset: u64) {
        match self {
            Wake::Event(bell) => bell.ring(),
            Wake::Futex => {
                if let Ok(word) = arena.memory().atomic_u32(offset) {
                    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
                }
            }
        }
    }

    /// Wakes all that sleep.
    pub(super) fn all(&self, arena: &Arena) {
        match self {
            Wake::Event(_) => self.word(arena, 0),
            Wake::Futex => {
                for lane in 0..MAX_LANES {
                    self.word(arena, Arena::lane_offset(lane) + SLOT_SEQ);
                }
                self.word(arena, EVENTS);
            }
        }
    }
}
