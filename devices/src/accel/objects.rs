//! The objects of one client: which handles name something, of what kind, and what it holds.
//!
//! An object lives while the program has references to it or other objects belong to it. Its slot
//! then rests until it is proposed with a higher generation, so that a stale handle never names
//! something newer.

use weir_wire::handle::{Handle, MAX_SLOTS};

/// What an object is: the API's number and its number among the API's kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KindOf {
    pub(super) api: u16,
    pub(super) kind: usize,
}

/// An object to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    pub(super) handle: Handle,
    pub(super) kind: KindOf,
    /// The object that the new one keeps alive, or null.
    pub(super) parent: Handle,
    /// Bytes of device memory that it holds.
    pub(super) bytes: u64,
    /// The value that the spec says is kept with it.
    pub(super) kept: u64,
    /// It is the platform's own: it does not go when its references do. It has no parent and holds
    /// no bytes.
    pub(super) permanent: bool,
}

const PAGE: u32 = 256;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    generation: u32,
    refs: u32,
    children: u32,
    parent: Handle,
    bytes: u64,
    kept: u64,
    api: u16,
    kind: u16,
    alive: bool,
    permanent: bool,
}

/// The table. Pages of it come into being as slots are used.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pages: Vec<Option<Box<[Slot; PAGE as usize]>>>,
    bytes: u64,
    count: u64,
}

impl Objects {
    /// Bytes of device memory that all objects hold.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        let page = self.pages.get((index / PAGE) as usize)?.as_ref()?;
        Some(&page[(index % PAGE) as usize])
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot> {
        let page = self.pages.get_mut((index / PAGE) as usize)?.as_mut()?;
        Some(&mut page[(index % PAGE) as usize])
    }

    fn living(&self, handle: Handle) -> Option<&Slot> {
        self.slot(handle.slot())
            .filter(|slot| slot.alive && slot.generation == handle.generation())
    }

    fn living_mut(&mut self, handle: Handle) -> Option<&mut Slot> {
        self.slot_mut(handle.slot())
            .filter(|slot| slot.alive && slot.generation == handle.generation())
    }

    /// What `handle` names, if it names anything.
    pub(super) fn kind(&self, handle: Handle) -> Option<KindOf> {
        self.living(handle).map(|slot| KindOf {
            api: slot.api,
            kind: usize::from(slot.kind),
        })
    }

    /// The value that is kept with what `handle` names.
    pub(super) fn kept(&self, handle: Handle) -> Option<u64> {
        self.living(handle).map(|slot| slot.kept)
    }

    /// Whether `handle` may be proposed: its slot is free, and its generation new.
    ///
    /// The slot of a permanent object that the program has given up is free as well: the object
    /// itself cannot go, but it may come again under another name.
    pub(super) fn is_free(&self, handle: Handle) -> bool {
        handle.slot() < MAX_SLOTS
            && handle.generation() != 0
            && self.slot(handle.slot()).is_none_or(|slot| {
                let taken = slot.alive && !(slot.permanent && slot.refs == 0);
                !taken && handle.generation() > slot.generation
            })
    }

    /// Whether a reference to `handle` can be added.
    pub(super) fn can_retain(&self, handle: Handle) -> bool {
        self.living(handle).is_some_and(|slot| slot.refs < u32::MAX)
    }

    /// Whether the program has a reference to `handle` that it can drop.
    pub(super) fn can_release(&self, handle: Handle) -> bool {
        self.living(handle)
            .is_some_and(|slot| slot.refs > 0 || slot.permanent)
    }

    /// Brings the proposed object into being, usable at once. Its handle must be free.
    pub(super) fn bind(&mut self, new: Proposal) {
        debug_assert!(self.is_free(new.handle));
        debug_assert!(!new.permanent || (new.bytes == 0 && new.parent.is_null()));
        let index = new.handle.slot();
        let page = (index / PAGE) as usize;
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let parent = match self.living_mut(new.parent) {
            Some(slot) => {
                slot.children += 1;
                new.parent
            }
            None => Handle::NULL,
        };
        self.bytes += new.bytes;
        // A permanent object that comes again is one already.
        let again = self.slot(index).is_some_and(|slot| slot.alive);
        self.count += u64::from(!again);
        let slots =
            self.pages[page].get_or_insert_with(|| Box::new([Slot::default(); PAGE as usize]));
        slots[(index % PAGE) as usize] = Slot {
            generation: new.handle.generation(),
            refs: 1,
            children: 0,
            parent,
            bytes: new.bytes,
            kept: new.kept,
            api: new.kind.api,
            kind: new.kind.kind as u16,
            alive: true,
            permanent: new.permanent,
        };
    }

    /// The object was not made after all, whatever happened to it meanwhile. Returns the bytes that
    /// are free by that.
    pub(super) fn unbind(&mut self, handle: Handle) -> u64 {
        self.end(handle)
    }

    /// Adds a reference.
    pub(super) fn retain(&mut self, handle: Handle) {
        if let Some(slot) = self.living_mut(handle) {
            slot.refs = slot.refs.saturating_add(1);
        }
    }

    /// Drops a reference. Returns the bytes that are free by that.
    pub(super) fn release(&mut self, handle: Handle) -> u64 {
        match self.living_mut(handle) {
            Some(slot) => slot.refs = slot.refs.saturating_sub(1),
            None => return 0,
        }
        self.end_unused(handle)
    }

    /// Ends `handle` if nothing keeps it.
    fn end_unused(&mut self, handle: Handle) -> u64 {
        match self.living(handle) {
            Some(slot) if slot.refs == 0 && slot.children == 0 && !slot.permanent => {
                self.end(handle)
            }
            _ => 0,
        }
    }

    /// Ends `handle`, and then each object that only it kept alive, up the line of parents.
    fn end(&mut self, mut handle: Handle) -> u64 {
        let (mut freed, mut ended) = (0, 0);
        while let Some(slot) = self.living_mut(handle) {
            slot.alive = false;
            ended += 1;
            freed += std::mem::take(&mut slot.bytes);
            handle = std::mem::take(&mut slot.parent);
            match self.living_mut(handle) {
                Some(parent) => {
                    parent.children -= 1;
                    if parent.refs > 0 || parent.children > 0 || parent.permanent {
                        break;
                    }
                }
                None => break,
            }
        }
        self.bytes -= freed;
        self.count -= ended;
        freed
    }

    /// Ends all objects. Returns the bytes that are free by that.
    pub(super) fn clear(&mut self) -> u64 {
        self.pages.clear();
        self.count = 0;
        std::mem::take(&mut self.bytes)
    }
}
