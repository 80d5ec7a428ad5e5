//! A call's answer, and bringing it to where the program wants it.

use std::ffi::c_void;
use std::sync::Arc;

use weir_wire::handle::Handle;

use super::{Call, OutputId};
use crate::cache::Answer;

/// The answer of a call that succeeded, or that nobody waits for.
#[derive(Debug)]
pub struct Reply {
    call: Call,
    /// The return value's bits; 0 for a call that nobody waits for.
    pub value: u64,
    /// Where the outputs are; `None`: in the arena.
    kept: Option<Arc<Answer>>,
}

impl Reply {
    pub(super) fn from_arena(call: Call, value: u64) -> Reply {
        Reply {
            call,
            value,
            kept: None,
        }
    }

    pub(super) fn kept(call: Call, answer: Arc<Answer>) -> Reply {
        Reply {
            call,
            value: answer.value,
            kept: Some(answer),
        }
    }

    /// The same for the next time.
    pub(super) fn to_answer(&self) -> Arc<Answer> {
        let ids = 0..self.call.work.outputs.len();
        Arc::new(Answer {
            value: self.value,
            outputs: ids
                .map(|id| self.bytes(OutputId(id), u64::MAX).into_boxed_slice())
                .collect(),
        })
    }

    /// The first bytes of an output, at most `limit`.
    fn bytes(&self, id: OutputId, limit: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.len(id, limit)];
        self.read(id, &mut bytes);
        bytes
    }

    fn len(&self, id: OutputId, limit: u64) -> usize {
        let output = self.call.work.outputs.get(id.0);
        output.map_or(0, |output| output.len.min(limit) as usize)
    }

    /// Reads the beginning of an output; `into` is no longer than it.
    fn read(&self, id: OutputId, into: &mut [u8]) {
        match &self.kept {
            Some(answer) => into.copy_from_slice(&answer.outputs[id.0][..into.len()]),
            None => {
                let at = self.call.work.outputs[id.0].at;
                // The heap gave this place out, so it lies inside of the arena.
                let _ = self.call.weir.arena().memory().read(at, into);
            }
        }
    }

    /// An output of up to 8 bytes as a number; 0 if the program passed null.
    pub fn number(&self, id: OutputId) -> u64 {
        let mut bytes = [0; 8];
        let len = self.len(id, 8);
        self.read(id, &mut bytes[..len]);
        u64::from_le_bytes(bytes)
    }

    /// Copies the first bytes of an output, at most `limit`, to the program's memory.
    ///
    /// # Safety
    /// `target` must be null or valid for writing as many bytes.
    pub unsafe fn copy(&self, id: OutputId, target: *mut c_void, limit: u64) {
        let len = self.len(id, limit);
        if target.is_null() || len == 0 {
            return;
        }
        let target: *mut u8 = target.cast();
        match &self.kept {
            Some(answer) => {
                let from = &answer.outputs[id.0][..len];
                // SAFETY: the caller answers for the target.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), target, len) };
            }
            None => {
                let at = self.call.work.outputs[id.0].at;
                let from = self.call.weir.arena().memory().address(at, len as u64);
                if let Ok(from) = from {
                    // SAFETY: the arena range was checked; the caller answers for the target.
                    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), target, len) };
                }
            }
        }
    }

    /// Copies an answer of handles as what the program knows the objects by. Objects that it cannot
    /// know are null.
    ///
    /// # Safety
    /// As for [`copy`](Self::copy).
    pub unsafe fn copy_handles(&self, id: OutputId, target: *mut c_void, limit: u64) {
        let translate = |_, word| self.address(word);
        // SAFETY: the caller answers for it.
        unsafe { self.copy_words(id, target, limit, translate) };
    }

    /// Copies an answer that is a property list, in which the values of `keys` are handles.
    ///
    /// # Safety
    /// As for [`copy`](Self::copy).
    pub unsafe fn copy_properties(
        &self,
        id: OutputId,
        target: *mut c_void,
        limit: u64,
        keys: &[u64],
    ) {
        let mut key = 0;
        let translate = |index: usize, word| {
            if index.is_multiple_of(2) {
                key = word;
                word
            } else if keys.contains(&key) {
                self.address(word)
            } else {
                word
            }
        };
        // SAFETY: the caller answers for it.
        unsafe { self.copy_words(id, target, limit, translate) };
    }

    fn address(&self, handle: u64) -> u64 {
        let address = self.call.weir.objects.address(Handle(handle));
        address.expose_provenance() as u64
    }

    /// # Safety
    /// As for [`copy`](Self::copy).
    unsafe fn copy_words(
        &self,
        id: OutputId,
        target: *mut c_void,
        limit: u64,
        mut translate: impl FnMut(usize, u64) -> u64,
    ) {
        if target.is_null() {
            return;
        }
        let bytes = self.bytes(id, limit);
        let target: *mut u8 = target.cast();
        for (i, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let word = translate(i, u64::from_le_bytes(*word)).to_le_bytes();
            // SAFETY: the caller answers for as many bytes as there are; they need no alignment.
            unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), target.add(8 * i), 8) };
        }
    }

    /// Copies a list of objects that were found or made, as what the program knows them by. Those
    /// that are new `stay` for good, or not.
    ///
    /// # Safety
    /// As for [`copy`](Self::copy).
    pub unsafe fn copy_objects(&mut self, id: OutputId, target: *mut *mut c_void, stay: bool) {
        let bytes = self.bytes(id, u64::MAX);
        for (i, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let handle = Handle(u64::from_le_bytes(*word));
            // There may be fewer than there is room for.
            let Some(object) = self.call.weir.objects.named(handle) else {
                continue;
            };
            let found = &mut self.call.work.found;
            if let Some(proposed) = found.iter().position(|proposed| *proposed == handle) {
                found.swap_remove(proposed);
                if stay {
                    self.call.weir.objects.keep(object);
                }
            }
            if !target.is_null() {
                // SAFETY: the caller answers for room for all of them.
                unsafe { target.add(i).write(object.address()) };
            }
        }
    }
}
