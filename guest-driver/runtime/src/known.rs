//! Calls that are known to succeed, because equal ones have.
//!
//! Two calls are equal if function, numbers, objects and the bytes that they read are, and if the
//! objects are in the same state: what calls have set of an object (a kernel's arguments) is part of
//! it. What a call need not wait to find out, it is queued for.

use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use crate::connection::Connection;
use crate::lock;
use crate::objects::Object;

/// Most calls and states that are remembered; then all is forgotten, and calls wait once more.
const MOST: usize = 1 << 16;

/// What is known of one connection's calls.
#[derive(Debug, Default)]
pub struct Known(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    calls: HashSet<u64>,
    /// By the handles of objects of which something has been set.
    states: HashMap<u64, State>,
}

/// What has been set of an object: for each part of it, the call that did.
#[derive(Debug, Default)]
struct State {
    parts: HashMap<u64, u64>,
    /// All parts together, in whatever order they were set.
    sum: u64,
}

impl Known {
    fn state(&self, object: &Object) -> u64 {
        let inner = lock(&self.0);
        let state = inner.states.get(&object.handle().0);
        state.map_or(0, |state| state.sum)
    }
}

impl Inner {
    fn set(&mut self, object: u64, part: u64, call: u64) {
        let state = self.states.entry(object).or_default();
        let mut hasher = DefaultHasher::new();
        (part, call).hash(&mut hasher);
        let now = hasher.finish();
        let before = state.parts.insert(part, now);
        state.sum = state
            .sum
            .wrapping_sub(before.unwrap_or(0))
            .wrapping_add(now);
    }
}

/// What makes a call equal to another.
#[derive(Debug)]
pub struct Equal {
    weir: &'static Connection,
    hasher: DefaultHasher,
    /// The object of which the call sets a part, and the part.
    sets: Option<(u64, u64)>,
}

impl Equal {
    pub(crate) fn new(weir: &'static Connection, function: u16) -> Equal {
        let mut hasher = DefaultHasher::new();
        function.hash(&mut hasher);
        Equal {
            weir,
            hasher,
            sets: None,
        }
    }

    /// A number, or whether a pointer is null.
    pub fn number(&mut self, value: u64) {
        value.hash(&mut self.hasher);
    }

    /// An object in its state.
    pub fn object(&mut self, object: Option<&Object>) {
        let named = object.map(|object| (object.handle().0, self.weir.known.state(object)));
        named.hash(&mut self.hasher);
    }

    /// An object of which the call sets this part.
    pub fn sets(&mut self, object: Option<&Object>, part: u64) {
        let handle = object.map_or(0, |object| object.handle().0);
        handle.hash(&mut self.hasher);
        self.sets = Some((handle, part));
    }

    /// An object of which only matters what it belongs to in the end.
    pub fn kin(&mut self, object: Option<&Object>) {
        let eldest = object.map(|object| self.weir.objects.eldest(object).handle().0);
        eldest.hash(&mut self.hasher);
    }

    /// A list of `count` objects; of each only matters what it belongs to in the end if `kin`.
    ///
    /// # Safety
    /// `list` must be null or valid for reading as many addresses.
    pub unsafe fn objects(&mut self, list: *const *const c_void, count: u64, kin: bool) {
        list.is_null().hash(&mut self.hasher);
        for index in 0..if list.is_null() { 0 } else { count as usize } {
            // SAFETY: so the caller says.
            let object = self.weir.objects.find_any(unsafe { *list.add(index) });
            match kin {
                true => self.kin(object),
                false => self.object(object),
            }
        }
    }

    /// Bytes that the call reads.
    ///
    /// # Safety
    /// `bytes` must be null or valid for reading `len` bytes.
    pub unsafe fn bytes(&mut self, bytes: *const c_void, len: u64) {
        bytes.is_null().hash(&mut self.hasher);
        if !bytes.is_null() && len > 0 {
            // SAFETY: so the caller says.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), len as usize) };
            bytes.hash(&mut self.hasher);
        }
    }

    /// What may be an object or bytes. Of bytes only matters whether there are any, and of those
    /// that could be an object, whether they are not null.
    ///
    /// # Safety
    /// As for [`bytes`](Self::bytes).
    pub unsafe fn object_or_bytes(
        &mut self,
        object: Option<&Object>,
        bytes: *const c_void,
        len: u64,
    ) {
        self.object(object);
        bytes.is_null().hash(&mut self.hasher);
        if object.is_none() && !bytes.is_null() && len == 8 {
            // SAFETY: so the caller says.
            let word = unsafe { bytes.cast::<u64>().read_unaligned() };
            (word == 0).hash(&mut self.hasher);
        }
    }

    /// Whether an equal call has succeeded.
    pub fn is_known(&self) -> bool {
        lock(&self.weir.known.0)
            .calls
            .contains(&self.hasher.finish())
    }

    /// It has succeeded, or is known to.
    pub fn learn(self) {
        let call = self.hasher.finish();
        let mut inner = lock(&self.weir.known.0);
        if inner.calls.len() >= MOST || inner.states.len() >= MOST {
            *inner = Inner::default();
        }
        inner.calls.insert(call);
        if let Some((object, part)) = self.sets {
            inner.set(object, part, call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_the_same_in_whatever_order_it_came_about() {
        let mut inner = Inner::default();
        inner.set(1, 0, 10);
        let first = inner.states[&1].sum;
        inner.set(1, 1, 20);
        let both = inner.states[&1].sum;
        assert_ne!(first, both);
        inner.set(1, 0, 11);
        assert_ne!(inner.states[&1].sum, both);
        inner.set(1, 0, 10);
        assert_eq!(inner.states[&1].sum, both);
        inner.set(2, 1, 20);
        inner.set(2, 0, 10);
        assert_eq!(inner.states[&2].sum, both);
        inner.set(3, 0, 20);
        inner.set(3, 1, 10);
        assert_ne!(inner.states[&3].sum, both, "parts are told apart");
    }
}
