//! Handles and the vendor library's pointers that they stand for.
//!
//! Which handles a client may use, the VMM's table decides; here an entry lives until its slot is
//! used again, so that an object which only its children keep alive can still be named.

use std::alloc::Layout;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use weir_wire::handle::{Handle, MAX_SLOTS};

/// Note of an object: commands given to it may end in another order than they were given in.
pub const UNORDERED: u64 = 1 << 63;

struct Slot {
    /// Generation and kind; 0 while it is being written.
    name: AtomicU64,
    pointer: AtomicPtr<c_void>,
    note: AtomicU64,
    kept: AtomicU64,
}

/// What is known of an object besides its kind and pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// A note of whoever made it.
    pub note: u64,
    /// The value that the spec says is kept with it.
    pub kept: u64,
    /// Whether answers can name it, so that [`Objects::handle_of`] finds it.
    pub can_be_named: bool,
}

/// The objects of one client. Looking one up takes no lock.
pub struct Objects {
    /// [`MAX_SLOTS`] of them, all zero at first; pages that are never touched cost nothing.
    slots: NonNull<Slot>,
    /// Handles of those objects that answers can name.
    named: Mutex<HashMap<usize, Handle>>,
}

// SAFETY: the slots are atomics that live as long as `self`.
unsafe impl Send for Objects {}
// SAFETY: as above.
unsafe impl Sync for Objects {}

impl Default for Objects {
    fn default() -> Self {
        Objects::new()
    }
}

impl Objects {
    fn layout() -> Layout {
        Layout::array::<Slot>(MAX_SLOTS as usize).expect("a table of 32 MiB")
    }

    /// No objects.
    pub fn new() -> Objects {
        // SAFETY: the layout is not empty. Zeroed atomics are valid.
        let slots = unsafe { std::alloc::alloc_zeroed(Self::layout()) };
        let slots = NonNull::new(slots.cast())
            .unwrap_or_else(|| std::alloc::handle_alloc_error(Self::layout()));
        Objects {
            slots,
            named: Mutex::default(),
        }
    }

    fn slot(&self, handle: Handle) -> Option<&Slot> {
        // SAFETY: a plausible handle's slot is below MAX_SLOTS.
        handle
            .is_plausible()
            .then(|| unsafe { self.slots.add(handle.slot() as usize).as_ref() })
    }

    fn name(handle: Handle, kind: usize) -> u64 {
        u64::from(handle.generation()) << 32 | (kind as u64 + 1)
    }

    /// Lets `handle` stand for `pointer`, an object of `kind`.
    pub fn bind(&self, handle: Handle, kind: usize, pointer: *mut c_void, known: Known) {
        let Some(slot) = self.slot(handle) else {
            return;
        };
        slot.name.store(0, Ordering::Release);
        slot.pointer.store(pointer, Ordering::Release);
        slot.note.store(known.note, Ordering::Release);
        slot.kept.store(known.kept, Ordering::Release);
        slot.name.store(Self::name(handle, kind), Ordering::Release);
        if known.can_be_named {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            named.insert(pointer as usize, handle);
        }
    }

    /// The object of `kind` that `handle` stands for, and its note.
    pub fn find(&self, handle: Handle, kind: usize) -> Option<(*mut c_void, u64)> {
        let (found, pointer, note) = self.find_any(handle)?;
        (found == kind).then_some((pointer, note))
    }

    /// Kind, pointer and note of the object that `handle` stands for.
    pub fn find_any(&self, handle: Handle) -> Option<(usize, *mut c_void, u64)> {
        let slot = self.slot(handle)?;
        let name = slot.name.load(Ordering::Acquire);
        let pointer = slot.pointer.load(Ordering::Acquire);
        let note = slot.note.load(Ordering::Acquire);
        // If the slot was bound anew meanwhile, what was read may be of two objects.
        let steady = slot.name.load(Ordering::Acquire) == name;
        let kind = (name as u32).checked_sub(1)? as usize;
        (steady && (name >> 32) as u32 == handle.generation()).then_some((kind, pointer, note))
    }

    /// The value that is kept with the object that `handle` stands for.
    pub fn kept(&self, handle: Handle) -> Option<u64> {
        let slot = self.slot(handle)?;
        let name = slot.name.load(Ordering::Acquire);
        let kept = slot.kept.load(Ordering::Acquire);
        let steady = slot.name.load(Ordering::Acquire) == name;
        (steady && name as u32 != 0 && (name >> 32) as u32 == handle.generation()).then_some(kept)
    }

    /// The handle that stands for `pointer`; null if this client has none.
    pub fn handle_of(&self, pointer: *mut c_void) -> Handle {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.get(&(pointer as usize)).copied().unwrap_or_default()
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and nothing borrows from `self` any more.
        unsafe { std::alloc::dealloc(self.slots.as_ptr().cast(), Self::layout()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(value: usize) -> *mut c_void {
        std::ptr::without_provenance_mut(value)
    }

    #[test]
    fn a_handle_names_its_kind_and_generation_only() {
        let objects = Objects::new();
        let handle = Handle::new(7, 2);
        let known = Known {
            note: 9,
            kept: 77,
            can_be_named: true,
        };
        objects.bind(handle, 3, pointer(64), known);
        assert_eq!(objects.kept(handle), Some(77));
        assert_eq!(objects.kept(Handle::new(7, 1)), None);
        assert_eq!(objects.kept(Handle::new(8, 2)), None);
        assert_eq!(objects.find(handle, 3), Some((pointer(64), 9)));
        assert_eq!(objects.find(handle, 4), None);
        assert_eq!(objects.find(Handle::new(7, 1), 3), None);
        assert_eq!(objects.find(Handle::new(8, 2), 3), None);
        assert_eq!(objects.find(Handle::new(MAX_SLOTS, 2), 3), None);
        assert_eq!(objects.find(Handle::NULL, 0), None);
        assert_eq!(objects.handle_of(pointer(64)), handle);
        assert_eq!(objects.handle_of(pointer(65)), Handle::NULL);
    }

    #[test]
    fn a_slot_that_is_used_again_forgets_the_older_object() {
        let objects = Objects::new();
        objects.bind(Handle::new(0, 1), 0, pointer(64), Known::default());
        objects.bind(Handle::new(0, 2), 1, pointer(128), Known::default());
        assert_eq!(objects.find(Handle::new(0, 1), 0), None);
        assert_eq!(objects.find(Handle::new(0, 2), 1), Some((pointer(128), 0)));
    }
}
