//! What a tenant may use of an accelerator, memory apart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_wire::handle::MAX_SLOTS;

use super::arbiter::Terms;
use super::config::AccelConfig;

/// What a tenant may use. What stands here by default no honest program meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Weight where the accelerator is contended.
    pub share: u32,
    /// Most of the device's time, in percent.
    pub cap: Option<u32>,
    /// Whether the tenant goes ahead of others as long as it has not used up its share.
    pub interactive: bool,
    /// Longest that a command may be on the device; its client is ended then.
    pub timeout: Option<Duration>,
    /// Most calls in a second.
    pub calls_per_second: u64,
    /// Most bytes that calls carry in a second, both ways together.
    pub bytes_per_second: u64,
    /// Most objects of one client at a time.
    pub handles: u32,
    /// Most commands of one client that have been sent and are not over.
    pub queue_depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            share: 1,
            cap: None,
            interactive: false,
            timeout: None,
            calls_per_second: 20_000_000,
            bytes_per_second: 1 << 40,
            handles: MAX_SLOTS,
            queue_depth: 1 << 20,
        }
    }
}

impl Limits {
    pub(super) fn of(config: &AccelConfig) -> Self {
        config.limits
    }

    /// What the arbiter is to know of them.
    pub fn terms(&self) -> Terms {
        Terms {
            share: self.share,
            cap: self.cap,
            interactive: self.interactive,
        }
    }
}

/// Limits that any thread may change, and the mediator's looks at again and again.
#[derive(Debug)]
pub(super) struct LimitsCell {
    limits: Mutex<Limits>,
    changes: AtomicU64,
}

impl LimitsCell {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits: Mutex::new(limits),
            changes: AtomicU64::new(1),
        }
    }

    pub(super) fn get(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// The limits, if they have changed since `seen`, which is brought up to date.
    pub(super) fn changed(&self, seen: &mut u64) -> Option<Limits> {
        let now = self.changes.load(Ordering::Acquire);
        (std::mem::replace(seen, now) != now).then(|| self.get())
    }
}
