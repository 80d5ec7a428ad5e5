//! The part of a guest library that every API shares.
//!
//! A generated C entry point makes a [`Call`](call::Call), puts its arguments into it and sends it:
//! queued, if the program need not wait, or waiting for the answer. What lies beneath:
//!
//! | module | what it does |
//! |---|---|
//! | [`connection`] | one client per process, made at the first call; what becomes of it after `fork` |
//! | [`transport`] | the kernel module's device file, or a Unix socket on the same machine |
//! | [`stream`] | the one ordered stream of commands, in batches |
//! | [`lanes`] | reply slots, and waiting for answers |
//! | [`heap`], [`memory`] | which parts of the arena's data are in use |
//! | [`includes`] | files that source text includes |
//! | [`objects`] | what the program holds in its hands |
//! | [`deferred`] | bulk transfers that go on after their call has returned |
//! | [`cache`] | answers that cannot change |
//! | [`known`] | calls that are known to succeed, because equal ones have |
//! | [`call`] | one call, from its arguments to its answer |

pub mod cache;
pub mod call;
pub mod connection;
pub mod deferred;
pub mod heap;
pub mod includes;
pub mod known;
pub mod lanes;
pub mod memory;
pub mod objects;
pub mod stream;
pub mod transport;

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use weir_wire::function::Errors;
use weir_wire::handle::Handle;

/// What the shared part must know of an API.
#[derive(Debug)]
pub struct Face {
    /// Name, as in a configuration file.
    pub name: &'static str,
    /// Number, as in commands.
    pub id: u16,
    /// Errors that Weir itself gives.
    pub errors: Errors,
    /// For each kind of object, the error for a pointer that is none.
    pub invalid: &'static [i64],
    /// What goes into the first word of each object.
    pub dispatch: fn() -> *const c_void,
    /// Whether a function, when it has waited, reports errors of calls that nobody waited for.
    pub reports: fn(function: u16) -> bool,
    /// Calls the functions of an object that is gone, with [`Objects::end`](objects::Objects::end),
    /// as soon as the device does not use it any more either.
    pub ended: fn(&'static connection::Connection, objects::Ended),
    /// Waits until all transfers of an object, such as a command queue, are complete. Called when
    /// the arena is full.
    pub drain: fn(owner: Handle),
}

/// An error of the API, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub i64);

/// Locks `mutex`, also after a thread has panicked with it: all that is kept under a lock here is
/// consistent after each single step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
