//! The arbiter: the one scheduler of an accelerator, for all its tenants.
//!
//! | file | what it holds |
//! |---|---|
//! | `policy` | what a policy of sharing decides, and which there are |
//! | `fair` | fair queueing over device time: the one that is used |
//! | `simple` | two to compare with |
//! | `core` | how the policy's decisions become turns on the device |
//! | `pages` | what arbiter and mediator say to one another |
//!
//! It is one thread in the supervisor, or, where there is none, in the mediator's own process.

mod core;
mod fair;
mod pages;
mod policy;
mod simple;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use self::core::{TenantFigures, Tuning};
pub use self::pages::{DESCRIPTORS, TenantEnd};
pub use self::policy::{Choice, Policy, PolicyKind, Ready, TenantId, Terms};

pub(super) use self::pages::{Grant, Usage};

use self::core::Core;
use super::bell::Bell;

/// Nanoseconds of the clock that arbiters and mediators share.
pub(super) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

struct State {
    core: Core,
    quit: bool,
}

struct Shared {
    state: Mutex<State>,
    event: Bell,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One accelerator's arbiter. Dropping it ends its thread; its tenants then get no more turns.
pub struct Arbiter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Arbiter {
    /// Starts an arbiter for the accelerator called `name`.
    ///
    /// # Errors
    /// The system lacks something, or the policy is that there is no arbiter.
    pub fn start(name: &str, policy: PolicyKind) -> io::Result<Self> {
        let policy = policy.build().ok_or(io::ErrorKind::InvalidInput)?;
        Self::with(name, policy, Tuning::default())
    }

    /// The same, with everything chosen.
    ///
    /// # Errors
    /// The system lacks something.
    pub fn with(name: &str, policy: Box<dyn Policy>, tuning: Tuning) -> io::Result<Self> {
        let state = State {
            core: Core::new(policy, tuning),
            quit: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            event: Bell::new()?,
        });
        let running = shared.clone();
        let thread = std::thread::Builder::new().name(format!("arbiter-{name}"));
        let thread = thread.spawn(move || run(&running))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Takes in a tenant. Returns it, and the descriptors for its mediator's [`TenantEnd`].
    ///
    /// # Errors
    /// The system lacks something.
    pub fn join(
        &self,
        name: impl Into<String>,
        terms: Terms,
    ) -> io::Result<(Tenancy, [OwnedFd; DESCRIPTORS])> {
        let (end, files) = pages::create(&self.shared.event)?;
        let id = self.shared.lock().core.join(name.into(), terms, end, now());
        let tenancy = Tenancy {
            shared: self.shared.clone(),
            id,
        };
        Ok((tenancy, files))
    }

    /// The figures of all tenants, in the order in which they came.
    pub fn figures(&self) -> Vec<TenantFigures> {
        self.shared.lock().core.figures()
    }
}

impl Drop for Arbiter {
    fn drop(&mut self) {
        self.shared.lock().quit = true;
        self.shared.event.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("an arbiter's thread panicked");
        }
    }
}

/// A tenant at its arbiter, as whoever configures it sees it. Dropping it gives back what the tenant
/// held: its mediator must be gone by then, or get no more turns.
pub struct Tenancy {
    shared: Arc<Shared>,
    id: TenantId,
}

impl Tenancy {
    /// Changes what the tenant is entitled to.
    pub fn set_terms(&self, terms: Terms) {
        self.shared.lock().core.set_terms(self.id, terms, now());
        self.shared.event.ring();
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        self.shared.lock().core.leave(self.id);
        self.shared.event.ring();
    }
}

fn run(shared: &Shared) {
    loop {
        let again = {
            let mut state = shared.lock();
            if state.quit {
                return;
            }
            state.core.step(now())
        };
        let timeout = again.map(|at| Duration::from_nanos(at.saturating_sub(now())));
        let timeout = timeout.map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut polled = [PollFd::new(&shared.event, PollFlags::IN)];
        // An interrupted wait only means to look once more.
        if let Ok(1..) = poll(&mut polled, timeout.as_ref()) {
            shared.event.clear();
        }
    }
}
