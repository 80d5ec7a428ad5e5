//! What the program holds in its hands: one small structure for each object.
//!
//! The address of a structure is what the program sees. All of them lie in one reserved range, at
//! the place that their slot gives; so address, slot and handle follow from one another without a
//! search, and an address that the program made up is found out without being followed.
//!
//! A slot is used again only when the mediator's table would let it: when the object has no
//! references and no living children. Both sides count alike.

use std::any::Any;
use std::collections::HashMap;
use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use rustix::mm::{MapFlags, ProtFlags};
use weir_wire::handle::{Handle, MAX_SLOTS};

use crate::lock;

/// An object's structure. Loaders read its first word and jump through it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Object {
    dispatch: AtomicPtr<c_void>,
    handle: AtomicU64,
    /// The kind plus one; 0: not in use.
    kind: AtomicU32,
    references: AtomicU32,
    children: AtomicU32,
    /// The parent's slot plus one; 0: none.
    parent: AtomicU32,
    /// The value that the API's spec says is kept with it.
    kept: AtomicU64,
    extra: Mutex<Extra>,
}

/// What the hand-written part of an API keeps with an object; it goes with the object.
pub type Extra = Option<Box<dyn Any + Send>>;

/// Memory that the program has lent an object, as its [`Extra`] at first.
#[derive(Clone, Copy, Debug)]
pub struct Lent {
    /// Where it begins.
    pub address: *const c_void,
    /// Bytes from one row to the next and from one slice to the next; 0: nothing is between them.
    pub pitches: [u64; 2],
}

// SAFETY: the program has promised that it stays valid as long as the object, from any thread.
unsafe impl Send for Lent {}

const SIZE: usize = size_of::<Object>();
const _: () = assert!(SIZE == 64);

/// References of an object that cannot be given up.
const PERMANENT: u32 = u32::MAX;

/// All objects of one client.
#[derive(Debug)]
pub struct Objects {
    base: NonNull<Object>,
    /// Slots below this one have been used before, and their structures are initialised.
    fresh: AtomicU32,
    free: Mutex<Vec<u32>>,
    /// Functions to be called when objects are gone, by slot.
    ends: Mutex<HashMap<u32, Functions>>,
}

/// A function that is called when an object is gone, with its address and this data.
type Function = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// Functions of one object, in the order in which they were given.
type Functions = Vec<(Function, Data)>;

/// What the program wants back when it is called.
#[derive(Debug)]
struct Data(*mut c_void);

// SAFETY: the program gave it to be used from any thread.
unsafe impl Send for Data {}

/// An object that is gone, and what is to be called then. Nothing else takes its slot before.
#[derive(Debug)]
pub struct Ended {
    slot: u32,
    /// Its kind.
    pub kind: usize,
    /// What it belonged to in the end.
    pub eldest: Handle,
    functions: Functions,
}

// SAFETY: the structures that `base` points to are made of atomics and a mutex, and the range stays
// mapped for the process's life.
unsafe impl Send for Objects {}
// SAFETY: as above.
unsafe impl Sync for Objects {}

impl Objects {
    /// Reserves the range. It takes memory only where it is used.
    pub fn new() -> io::Result<Objects> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                MAX_SLOTS as usize * SIZE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        Ok(Objects {
            base: NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?,
            fresh: AtomicU32::new(0),
            free: Mutex::new(Vec::new()),
            ends: Mutex::default(),
        })
    }

    fn at(&self, slot: u32) -> Option<&Object> {
        if slot >= self.fresh.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: slots below `fresh` are inside of the range and initialised; structures are never
        // moved or unmapped.
        Some(unsafe { self.base.add(slot as usize).as_ref() })
    }

    /// The object at an address that a program gave, if there is a living one of this kind.
    pub fn find(&self, address: *const c_void, kind: usize) -> Option<&Object> {
        self.find_any(address)
            .filter(|object| object.kind() == Some(kind))
    }

    /// The object at an address that a program gave, if there is a living one.
    pub fn find_any(&self, address: *const c_void) -> Option<&Object> {
        let distance = address.addr().checked_sub(self.base.addr().get())?;
        if !distance.is_multiple_of(SIZE) {
            return None;
        }
        let object = self.at(u32::try_from(distance / SIZE).ok()?)?;
        object.kind().map(|_| object)
    }

    /// The object that `handle` names, if it lives.
    pub fn named(&self, handle: Handle) -> Option<&Object> {
        self.at(handle.slot())
            .filter(|object| object.kind().is_some() && object.handle() == handle)
    }

    /// The address that a program knows the object `handle` by; null if there is none.
    pub fn address(&self, handle: Handle) -> *mut c_void {
        self.named(handle)
            .map_or(std::ptr::null_mut(), Object::address)
    }

    /// Makes an object of `kind` with one reference, which keeps `parent` alive. `dispatch` goes into
    /// its first word. `None` if there are [`MAX_SLOTS`] objects already.
    pub fn propose(
        &self,
        kind: usize,
        dispatch: *const c_void,
        parent: Option<&Object>,
    ) -> Option<&Object> {
        let mut free = lock(&self.free);
        let object = match free.pop() {
            Some(slot) => self.at(slot)?,
            None => self.extend()?,
        };
        let last = object.handle();
        let next = Handle::new(last.slot(), last.generation() + 1);
        object.handle.store(next.0, Ordering::Relaxed);
        object
            .dispatch
            .store(dispatch.cast_mut(), Ordering::Relaxed);
        object.references.store(1, Ordering::Relaxed);
        object.children.store(0, Ordering::Relaxed);
        object.kept.store(0, Ordering::Relaxed);
        let parent = parent.map_or(0, |parent| {
            parent.children.fetch_add(1, Ordering::Relaxed);
            parent.handle().slot() + 1
        });
        object.parent.store(parent, Ordering::Relaxed);
        object.kind.store(kind as u32 + 1, Ordering::Release);
        Some(object)
    }

    /// Initialises one more structure. The caller holds the lock.
    fn extend(&self) -> Option<&Object> {
        let slot = self.fresh.load(Ordering::Relaxed);
        if slot == MAX_SLOTS {
            return None;
        }
        let object = Object {
            dispatch: AtomicPtr::default(),
            handle: AtomicU64::new(Handle::new(slot, 0).0),
            kind: AtomicU32::new(0),
            references: AtomicU32::new(0),
            children: AtomicU32::new(0),
            parent: AtomicU32::new(0),
            kept: AtomicU64::new(0),
            extra: Mutex::new(None),
        };
        // SAFETY: the slot is inside of the range, and nobody looks at it before `fresh` says so.
        unsafe { self.base.add(slot as usize).write(object) };
        self.fresh.store(slot + 1, Ordering::Release);
        self.at(slot)
    }

    /// The object that `object` belongs to in the end: itself, if it has no parent.
    pub(crate) fn eldest<'a>(&'a self, mut object: &'a Object) -> &'a Object {
        while let Some(parent) = self.parent(object) {
            object = parent;
        }
        object
    }

    /// The object that `object` belongs to.
    pub(crate) fn parent(&self, object: &Object) -> Option<&Object> {
        let slot = object.parent.load(Ordering::Relaxed).checked_sub(1)?;
        self.at(slot)
    }

    /// Nobody yet.
    pub fn family(&self) -> Family<'_> {
        Family {
            objects: self,
            eldest: None,
            is_one: true,
        }
    }

    /// Makes `object` one that cannot be given up.
    pub fn keep(&self, object: &Object) {
        let _counts = lock(&self.free);
        object.references.store(PERMANENT, Ordering::Relaxed);
    }

    /// Counts one more reference.
    pub fn retain(&self, object: &Object) {
        let _counts = lock(&self.free);
        let references = object.references.load(Ordering::Relaxed);
        object
            .references
            .store(references.saturating_add(1), Ordering::Relaxed);
    }

    /// Has `function` called with `data` when `object` is gone, before those that were given before.
    pub fn at_end(&self, object: &Object, function: Function, data: *mut c_void) {
        let mut ends = lock(&self.ends);
        let functions = ends.entry(object.handle().slot()).or_default();
        functions.push((function, Data(data)));
    }

    /// Calls what is to be called for an object that is gone, the last given first.
    pub fn end(&self, ended: Ended) {
        if let Some(object) = self.at(ended.slot) {
            for (function, Data(data)) in ended.functions.into_iter().rev() {
                // SAFETY: the program gave it to be called so.
                unsafe { function(object.address(), data) };
            }
            self.give_back(&mut lock(&self.free), object);
        }
    }

    /// Lets another object take the slot of one that is gone.
    fn give_back(&self, free: &mut Vec<u32>, object: &Object) {
        // A slot whose generations are used up stays unused.
        if object.handle().generation() < u32::MAX {
            free.push(object.handle().slot());
        }
    }

    /// The addresses of all objects of `kind` that belong to `eldest` in the end.
    pub fn all_of(&self, kind: usize, eldest: Handle) -> Vec<*mut c_void> {
        let used = self.fresh.load(Ordering::Acquire);
        let objects = (0..used).filter_map(|slot| self.at(slot));
        let wanted = |object: &&Object| {
            object.kind() == Some(kind) && self.eldest(object).handle() == eldest
        };
        objects.filter(wanted).map(Object::address).collect()
    }

    /// Counts one reference less. An object without references and children is gone, and so may its
    /// parent be then. Returns those that are gone and have functions to be called.
    #[must_use = "somebody must call the functions of objects that are gone"]
    pub fn release(&self, object: &Object) -> Vec<Ended> {
        let mut ended = Vec::new();
        let mut dropped: Vec<Extra> = Vec::new();
        let mut free = lock(&self.free);
        match object.references.load(Ordering::Relaxed) {
            0 | PERMANENT => {}
            references => object.references.store(references - 1, Ordering::Relaxed),
        }
        let mut next = Some(object);
        while let Some(object) = next {
            let used = object.references.load(Ordering::Relaxed) > 0
                || object.children.load(Ordering::Relaxed) > 0;
            if used || object.kind().is_none() {
                break;
            }
            dropped.push(object.extra().take());
            let kind = object.kind();
            let slot = object.handle().slot();
            let functions = lock(&self.ends).remove(&slot);
            let eldest = self.eldest(object).handle();
            object.kind.store(0, Ordering::Release);
            match (functions, kind) {
                (Some(functions), Some(kind)) => ended.push(Ended {
                    slot,
                    kind,
                    eldest,
                    functions,
                }),
                _ => self.give_back(&mut free, object),
            }
            let parent = object.parent.load(Ordering::Relaxed);
            next = parent.checked_sub(1).and_then(|slot| self.at(slot));
            if let Some(parent) = next {
                parent.children.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // What was kept with the objects may free arena memory and so on: not under this lock.
        drop(free);
        drop(dropped);
        ended
    }
}

/// Objects, and whether all of them belong to the same one in the end.
#[derive(Debug)]
pub struct Family<'a> {
    objects: &'a Objects,
    eldest: Option<Handle>,
    is_one: bool,
}

impl Family<'_> {
    /// Adds an object, or none.
    pub fn add(&mut self, object: Option<&Object>) {
        if let Some(object) = object {
            let eldest = self.objects.eldest(object).handle();
            self.is_one &= *self.eldest.get_or_insert(eldest) == eldest;
        }
    }

    /// Adds the objects at `count` addresses.
    ///
    /// # Safety
    /// `list` must be null or valid for reading as many addresses.
    pub unsafe fn add_list(&mut self, list: *const *const c_void, count: i128) {
        if list.is_null() {
            return;
        }
        for index in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: so the caller says.
            match self.objects.find_any(unsafe { *list.add(index) }) {
                Some(object) => self.add(Some(object)),
                None => self.is_one = false,
            }
        }
    }

    /// Whether all that were added belong to the same object.
    pub fn is_one(&self) -> bool {
        self.is_one
    }
}

impl Object {
    /// The value that is kept with it.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Keeps `value` with it.
    pub fn keep(&self, value: u64) {
        self.kept.store(value, Ordering::Relaxed);
    }

    /// Takes note that the program has lent it the memory at `address`.
    pub fn lend(&self, address: *const c_void, pitches: [u64; 2]) {
        *self.extra() = Some(Box::new(Lent { address, pitches }));
    }

    /// The name under which mediator and worker know it.
    pub fn handle(&self) -> Handle {
        Handle(self.handle.load(Ordering::Relaxed))
    }

    /// Its kind; `None` if it is gone.
    pub fn kind(&self) -> Option<usize> {
        (self.kind.load(Ordering::Acquire) as usize).checked_sub(1)
    }

    /// The address that the program knows it by.
    pub fn address(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// What the hand-written part of its API keeps with it.
    pub fn extra(&self) -> MutexGuard<'_, Extra> {
        lock(&self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_DISPATCH: *const c_void = std::ptr::null();

    #[test]
    fn an_object_lives_as_long_as_it_has_references_or_children() {
        let objects = Objects::new().unwrap();
        let context = objects.propose(1, NO_DISPATCH, None).unwrap();
        let buffer = objects.propose(2, NO_DISPATCH, Some(context)).unwrap();
        let (context_at, buffer_at) = (context.address(), buffer.address());

        assert!(objects.release(context).is_empty());
        assert!(objects.find(context_at, 1).is_some(), "it has a child");
        objects.retain(buffer);
        assert!(objects.release(buffer).is_empty());
        assert!(objects.find(buffer_at, 2).is_some(), "it has a reference");
        assert!(objects.release(buffer).is_empty());
        assert!(objects.find(buffer_at, 2).is_none());
        assert!(objects.find(context_at, 1).is_none());
    }

    #[test]
    fn objects_of_one_ancestor_are_a_family() {
        let objects = Objects::new().unwrap();
        let [one, other] = [0; 2].map(|kind| objects.propose(kind, NO_DISPATCH, None).unwrap());
        let queue = objects.propose(1, NO_DISPATCH, Some(one)).unwrap();
        let event = objects.propose(2, NO_DISPATCH, Some(queue)).unwrap();
        let stranger = objects.propose(1, NO_DISPATCH, Some(other)).unwrap();
        let is_one = |list: &[*const c_void]| {
            let mut family = objects.family();
            family.add(Some(queue));
            family.add(None);
            // SAFETY: there are as many addresses.
            unsafe { family.add_list(list.as_ptr(), list.len() as i128) };
            family.is_one()
        };
        assert!(is_one(&[]));
        assert!(is_one(&[event.address(), one.address()]));
        assert!(!is_one(&[event.address(), stranger.address()]));
        assert!(!is_one(&[std::ptr::null()]));
    }

    unsafe extern "C" fn note(_object: *mut c_void, data: *mut c_void) {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        // SAFETY: the test gives the address of a number that stays.
        let place = unsafe { &*data.cast::<AtomicU32>() };
        place.store(1 + CALLS.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    #[test]
    fn functions_are_called_when_an_object_is_gone_the_last_first() {
        let objects = Objects::new().unwrap();
        let context = objects.propose(1, NO_DISPATCH, None).unwrap();
        let buffer = objects.propose(2, NO_DISPATCH, Some(context)).unwrap();
        let order: [AtomicU32; 3] = Default::default();
        for (object, place) in [(context, 0), (buffer, 1), (buffer, 2)] {
            let data = (&raw const order[place]).cast_mut().cast();
            objects.at_end(object, note, data);
        }
        assert!(objects.release(context).is_empty(), "it has a child");
        assert_eq!(objects.all_of(2, context.handle()), [buffer.address()]);
        let ended = objects.release(buffer);
        assert_eq!(ended.iter().map(|e| e.kind).collect::<Vec<_>>(), [2, 1]);
        assert!(ended.iter().all(|e| e.eldest == context.handle()));
        let other = objects.propose(2, NO_DISPATCH, None).unwrap();
        assert_eq!(other.handle().slot(), 2, "the others are taken still");
        ended.into_iter().for_each(|ended| objects.end(ended));
        let order = order.each_ref().map(|place| place.load(Ordering::Relaxed));
        assert_eq!(order, [3, 2, 1]);
        let again = objects.propose(2, NO_DISPATCH, None).unwrap();
        assert!(again.handle().slot() < 2);
    }

    #[test]
    fn what_is_kept_goes_with_the_object() {
        let objects = Objects::new().unwrap();
        let object = objects.propose(0, NO_DISPATCH, None).unwrap();
        object.keep(7);
        assert_eq!(object.kept(), 7);
        assert!(objects.release(object).is_empty());
        assert_eq!(objects.propose(0, NO_DISPATCH, None).unwrap().kept(), 0);
    }

    #[test]
    fn a_slot_used_again_has_another_generation() {
        let objects = Objects::new().unwrap();
        let first = objects.propose(0, NO_DISPATCH, None).unwrap().handle();
        assert!(objects.release(objects.named(first).unwrap()).is_empty());
        let second = objects.propose(0, NO_DISPATCH, None).unwrap().handle();
        assert_eq!(second.slot(), first.slot());
        assert_eq!(second.generation(), first.generation() + 1);
        assert!(objects.named(first).is_none());
        assert!(!objects.address(second).is_null());
    }

    #[test]
    fn addresses_that_name_no_object_are_found_out() {
        let objects = Objects::new().unwrap();
        let object = objects.propose(3, NO_DISPATCH, None).unwrap();
        let at = object.address();
        assert!(objects.find(at, 3).is_some());
        assert!(objects.find(at, 2).is_none(), "another kind");
        assert!(objects.find(at.wrapping_byte_add(8), 3).is_none());
        assert!(objects.find(at.wrapping_byte_add(SIZE), 3).is_none());
        assert!(objects.find(std::ptr::without_provenance(8), 3).is_none());
        assert!(objects.find(std::ptr::null(), 3).is_none());
    }

    #[test]
    fn permanent_objects_stay() {
        let objects = Objects::new().unwrap();
        let platform = objects.propose(0, NO_DISPATCH, None).unwrap();
        objects.keep(platform);
        for _ in 0..3 {
            assert!(objects.release(platform).is_empty());
        }
        objects.retain(platform);
        assert!(objects.find(platform.address(), 0).is_some());
    }
}
