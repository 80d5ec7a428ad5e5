//! How objects are named: a slot and a generation, never an address.

use std::fmt;

/// Most slots that one client can use at a time.
pub const MAX_SLOTS: u32 = 1 << 20;

/// Most new objects of one call.
pub const MAX_PROPOSALS: usize = 1024;

/// The name of an object of one client: the slot (below [`MAX_SLOTS`]) in the low 32 bits, the
/// slot's generation (1 or more) in the high 32 bits. Zero is the null handle.
///
/// The guest library proposes the slot of a new object and raises its generation each time that it
/// uses a slot again; so a stale handle never names a newer object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(transparent)]
pub struct Handle(pub u64);

impl Handle {
    /// Names no object.
    pub const NULL: Handle = Handle(0);

    /// Handle of `slot` in its `generation`.
    pub fn new(slot: u32, generation: u32) -> Handle {
        Handle(u64::from(generation) << 32 | u64::from(slot))
    }

    /// Index into a client's table.
    pub fn slot(self) -> u32 {
        self.0 as u32
    }

    /// How often the slot has been used, this time included.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether this is the null handle.
    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Whether it could name an object at all: slot in range, generation not zero.
    pub fn is_plausible(self) -> bool {
        self.slot() < MAX_SLOTS && self.generation() != 0
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot(), self.generation())
    }
}
