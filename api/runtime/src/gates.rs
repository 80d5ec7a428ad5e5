//! Gates: what keeps the device from beginning with a command before the VMM lets it.
//!
//! A gated command is given to the vendor library at once, so that all ordering stays the library's,
//! but waits there for an event that nothing has set: its gate. The VMM may open a gate before the
//! command has come as well as after.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::library::Library;

/// How a gate is.
enum Gate {
    /// Opened before anybody came to it.
    Open,
    /// The library's event is waited for.
    Closed(Event),
}

struct Event {
    library: Arc<dyn Library>,
    event: *mut c_void,
}

// SAFETY: events of a vendor library may be used from any thread.
unsafe impl Send for Event {}

/// The gates of one client, by the numbers of their commands.
#[derive(Default)]
pub struct Gates {
    gates: Mutex<HashMap<u64, Gate>>,
    opened: Condvar,
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the gate of command `id` is open already. If so, that is forgotten: it is asked once.
    pub fn pass(&self, id: u64) -> bool {
        matches!(self.lock().remove(&id), Some(Gate::Open))
    }

    /// Lets the event `gate` of `library` be the gate of command `id`. Returns whether it is closed;
    /// if not, it has been opened.
    ///
    /// # Safety
    ///
    /// `gate` is from the library's [`make_gate`](Library::make_gate), and this is its last use by
    /// the caller.
    pub unsafe fn close(&self, id: u64, library: Arc<dyn Library>, gate: *mut c_void) -> bool {
        let mut gates = self.lock();
        if let Some(Gate::Open) = gates.remove(&id) {
            drop(gates);
            // SAFETY: the caller says so.
            unsafe { library.open_gate(gate) };
            return false;
        }
        let event = Event {
            library,
            event: gate,
        };
        gates.insert(id, Gate::Closed(event));
        true
    }

    /// Opens the gate of command `id`.
    pub fn open(&self, id: u64) {
        let mut gates = self.lock();
        match gates.remove(&id) {
            Some(Gate::Closed(Event { library, event })) => {
                drop(gates);
                // SAFETY: the gate was taken out of the table, so this is its only use.
                unsafe { library.open_gate(event) };
            }
            _ => {
                gates.insert(id, Gate::Open);
                self.opened.notify_all();
            }
        }
    }

    /// The command `id` has come to nothing: its gate is not needed.
    pub fn forget(&self, id: u64) {
        if let Some(Gate::Closed(Event { library, event })) = self.lock().remove(&id) {
            // SAFETY: as in `open`.
            unsafe { library.open_gate(event) };
        }
    }

    /// Waits until the gate of command `id`, which is no event, is open.
    pub fn wait(&self, id: u64) {
        let mut gates = self.lock();
        while !matches!(gates.get(&id), Some(Gate::Open)) {
            gates = self
                .opened
                .wait(gates)
                .unwrap_or_else(PoisonError::into_inner);
        }
        gates.remove(&id);
    }
}
