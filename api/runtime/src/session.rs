//! One client as its worker sees it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use weir_wire::arena::{Arena, SLOT_SEQ};
use weir_wire::channel::{Completion, CompletionWriter, Event};

use crate::gates::Gates;
use crate::objects::Objects;
use crate::tracker::Tracker;

/// How a guest thread that sleeps until it is answered is woken.
#[derive(Debug)]
pub enum Wake {
    /// By writing this event, which is an interrupt to the guest.
    Event(OwnedFd),
    /// By waking the futex of the lane's sequence number: the client is a local process.
    Futex,
}

/// Everything that the calls of one client share.
pub struct Session {
    /// The client's arena.
    pub arena: Arena,
    /// The client's objects.
    pub objects: Objects,
    /// Commands that the device has not finished.
    pub tracker: Tracker,
    /// What keeps the device from beginning with some of them.
    pub gates: Gates,
    completions: Mutex<CompletionWriter>,
    vmm: OwnedFd,
    wake: Wake,
}

impl Session {
    /// A client with no objects yet. `vmm` is the event that the VMM sleeps on.
    pub fn new(arena: Arena, completions: CompletionWriter, vmm: OwnedFd, wake: Wake) -> Session {
        Session {
            arena,
            objects: Objects::new(),
            tracker: Tracker::default(),
            gates: Gates::default(),
            completions: Mutex::new(completions),
            vmm,
            wake,
        }
    }

    /// Tells the VMM what became of command `id`.
    pub fn report(&self, id: u64, event: Event) {
        let completion = Completion { id, event };
        let mut writer = self
            .completions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            match writer.push(completion) {
                Some(true) => return raise(&self.vmm),
                Some(false) => return,
                // The ring is full: the VMM is behind. It is told, and gets the time to catch up.
                None => {
                    raise(&self.vmm);
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Answers call number `seq` of `lane` and wakes whoever sleeps until then.
    pub fn reply(&self, lane: u32, seq: u32, value: u64) {
        if !self.arena.reply(lane, seq, value) {
            return;
        }
        match &self.wake {
            Wake::Event(event) => raise(event),
            Wake::Futex => self.wake_futex(Arena::lane_offset(lane) + SLOT_SEQ),
        }
    }

    fn wake_futex(&self, at: u64) {
        let Ok(word) = self.arena.memory().atomic_u32(at) else {
            return;
        };
        let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), u32::MAX);
    }
}

/// Writes an event that somebody sleeps on. If that fails it is full, and the sleeper wakes anyway.
pub fn raise(event: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: the descriptor is open and the eight bytes are there.
    unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}
