//! A tenant's side of sharing: which commands may begin on the device, and what they have used.
//!
//! A command that makes the device work begins at once if the tenant has a turn and the turn has room
//! for it; else it is sent behind a closed gate (`client::work`), and its gate is opened later, when
//! it is ready. How turns come and go, `arbiter::pages` tells.
//!
//! While nobody contends, a turn has no end, and only the time that the work on the device will
//! probably take is bounded: enough to keep the device busy, and little enough for whoever comes.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::arbiter::{Arbiter, Grant, PolicyKind, Tenancy, TenantEnd, Terms, Usage};

/// In a turn without end the next command begins when what is on the device will probably take no
/// longer than this.
const CREDIT: u64 = 500_000;
/// What a command is expected to take that is like no other before it.
const UNKNOWN: u64 = 1_000_000;
/// Most commands that one turn begins, or that are on the device in a turn without end.
const MOST_AT_ONCE: u32 = 256;
const MOST_IN_A_TURN: u32 = 64;
/// Kinds of commands whose length is remembered.
const MOST_LENGTHS: usize = 4096;
/// Of how much later or earlier an end the arbiter is told at once.
const NEWS: u64 = 200_000;

/// The gates of one tenant.
pub(super) struct Gatekeeper {
    /// Without it, no gate is ever closed.
    end: Option<Arc<TenantEnd>>,
    /// Where there is no arbiter elsewhere.
    own: Option<(Tenancy, Arbiter)>,
    /// The turn that the next figures are about.
    turn: u64,
    begun: u32,
    begun_ns: u64,
    exhausted: bool,
    sealed: u64,
    ended: u64,
    on_device: u32,
    on_device_ns: u64,
    ends_at: u64,
    /// Since when there has been something on the device, and what was charged since then.
    busy_since: u64,
    charged: u64,
    used: u64,
    wanted: bool,
    next: u64,
    said: Usage,
    lengths: HashMap<u64, u64>,
    /// Clients start from here in the tenant's own fair queue.
    pub(super) virtual_time: u64,
}

impl Gatekeeper {
    fn new(end: Option<Arc<TenantEnd>>, own: Option<(Tenancy, Arbiter)>) -> Self {
        // Whoever was here before has left nothing on the device.
        let turn = end.as_ref().map_or(0, |end| end.grant().turn);
        let said = end.as_ref().map(|end| end.said()).unwrap_or_default();
        Self {
            end,
            own,
            turn,
            begun: 0,
            begun_ns: 0,
            exhausted: false,
            sealed: turn,
            ended: turn,
            on_device: 0,
            on_device_ns: 0,
            ends_at: 0,
            busy_since: 0,
            charged: 0,
            used: said.used,
            wanted: false,
            next: UNKNOWN,
            said,
            lengths: HashMap::new(),
            virtual_time: 0,
        }
    }

    /// Gates that are never closed: every command begins at once.
    pub(super) fn open() -> Self {
        Self::new(None, None)
    }

    /// Gates that an arbiter elsewhere rules.
    pub(super) fn at(end: Arc<TenantEnd>) -> Self {
        Self::new(Some(end), None)
    }

    /// Gates that an arbiter of their own rules.
    pub(super) fn alone(name: &str, terms: Terms) -> io::Result<Self> {
        let arbiter = Arbiter::start(name, PolicyKind::default())?;
        let (tenancy, files) = arbiter.join(name, terms)?;
        let end = Arc::new(TenantEnd::open(files)?);
        Ok(Self::new(Some(end), Some((tenancy, arbiter))))
    }

    /// Changes what the tenant is entitled to, where that is decided here.
    pub(super) fn set_terms(&self, terms: Terms) {
        if let Some((tenancy, _)) = &self.own {
            tenancy.set_terms(terms);
        }
    }

    /// What rings when the arbiter has something to say.
    pub(super) fn event(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(|end| end.event())
    }

    /// How long a command like those of `key` will probably take.
    pub(super) fn expected(&self, key: u64) -> u64 {
        self.lengths.get(&key).copied().unwrap_or(UNKNOWN)
    }

    /// Whether commands that are ready wait for their gates.
    pub(super) fn wanted(&self) -> bool {
        self.wanted
    }

    /// How long the tenant has waited for turns, in nanoseconds.
    pub(super) fn waited(&self) -> u64 {
        self.end.as_ref().map_or(0, |end| end.waited())
    }

    /// Turns that the tenant has had.
    pub(super) fn turns(&self) -> u64 {
        self.turn
    }

    /// Whether the end of a command must be heard of at once.
    pub(super) fn listens(&self) -> bool {
        let Some(end) = &self.end else { return false };
        let grant = end.grant();
        self.wanted || (grant.turn > self.ended && (grant.most != u64::MAX || grant.revoked))
    }

    fn look(&mut self, grant: Grant) {
        if grant.turn != self.turn {
            self.turn = grant.turn;
            (self.begun, self.begun_ns, self.exhausted) = (0, 0, false);
        }
    }

    /// Lets a command begin that will probably take `expected`, if there is room for it.
    pub(super) fn try_begin(&mut self, expected: u64, now: u64) -> bool {
        let Some(end) = &self.end else {
            self.begin(expected, now);
            return true;
        };
        let grant = end.grant();
        self.look(grant);
        if grant.turn <= self.ended || grant.turn <= self.sealed || grant.revoked {
            return false;
        }
        let room = if grant.most == u64::MAX {
            let soon = self.ends_at > now && self.ends_at - now < CREDIT;
            self.on_device == 0 || (self.on_device < MOST_AT_ONCE && soon)
        } else {
            let fits = self.begun_ns.saturating_add(expected) <= grant.most;
            self.begun == 0 || (self.begun < MOST_IN_A_TURN && fits)
        };
        if !room {
            self.exhausted = grant.most != u64::MAX;
            return false;
        }
        if self.on_device == 0 {
            // Either the arbiter sees this, or we see that it has taken the turn back.
            if let Some(end) = &self.end {
                end.set_busy(true);
                if end.grant().revoked {
                    end.set_busy(false);
                    return false;
                }
            }
        }
        self.begin(expected, now);
        true
    }

    fn begin(&mut self, expected: u64, now: u64) {
        if self.on_device == 0 {
            (self.busy_since, self.charged) = (now, 0);
        }
        self.begun += 1;
        self.begun_ns = self.begun_ns.saturating_add(expected);
        self.on_device += 1;
        self.on_device_ns = self.on_device_ns.saturating_add(expected);
        self.ends_at = self.ends_at.max(now).saturating_add(expected);
    }

    /// A command that was to take `expected` is no longer on the device.
    pub(super) fn leave(&mut self, expected: u64, now: u64) {
        self.on_device = self.on_device.saturating_sub(1);
        self.on_device_ns = self.on_device_ns.saturating_sub(expected);
        self.ends_at = now.saturating_add(self.on_device_ns);
    }

    /// A command of `key` that began at `since`, and was to take `expected`, has ended; the worker
    /// says that it took `device_ns`. Returns what it is charged: no more than the time that has
    /// passed, for it alone and for all commands together.
    pub(super) fn end(
        &mut self,
        key: u64,
        since: u64,
        expected: u64,
        device_ns: u64,
        now: u64,
    ) -> u64 {
        let passed = now.saturating_sub(self.busy_since);
        let charge = device_ns
            .min(now.saturating_sub(since))
            .min(passed.saturating_sub(self.charged));
        self.charged += charge;
        self.used += charge;
        self.leave(expected, now);
        if self.lengths.len() >= MOST_LENGTHS && !self.lengths.contains_key(&key) {
            self.lengths.clear();
        }
        let length = self.lengths.entry(key).or_insert(device_ns);
        // Rather too long than too short.
        *length = match device_ns > *length {
            true => *length + (device_ns - *length).div_ceil(2),
            false => *length - (*length - device_ns) / 4,
        };
        charge
    }

    /// Everything that can begin has begun. `next` is how long the next command will probably take
    /// that is ready and waits for its gate, if there is one. Tells the arbiter.
    pub(super) fn settle(&mut self, next: Option<u64>) {
        let Some(end) = &self.end else { return };
        let grant = end.grant();
        self.look(grant);
        self.wanted = next.is_some();
        self.next = next.unwrap_or(self.next);
        let turn = grant.turn;
        if turn > self.ended {
            let finite = grant.most != u64::MAX;
            // Who gives short commands one by one has nothing to begin now and then: the turn goes on
            // as long as something is on the device.
            let dry = !self.wanted && (self.on_device == 0 || self.begun_ns >= grant.most);
            let over = grant.revoked || (finite && (dry || self.exhausted));
            if over {
                self.sealed = self.sealed.max(turn);
            }
            if self.sealed >= turn && self.on_device == 0 {
                self.ended = turn;
            }
        }
        let usage = Usage {
            wanted: self.wanted,
            busy: self.on_device > 0,
            sealed: self.sealed,
            ended: self.ended,
            used: self.used,
            ends_at: self.ends_at,
            next: self.next,
        };
        if usage == self.said {
            return;
        }
        let Some(end) = &self.end else { return };
        end.write(usage);
        let before = std::mem::replace(&mut self.said, usage);
        let moved = usage.ends_at.abs_diff(before.ends_at) > NEWS && self.sealed > self.ended;
        let news = (usage.wanted, usage.sealed, usage.ended)
            != (before.wanted, before.sealed, before.ended);
        if news || moved {
            end.ring();
        }
    }

    /// When a command that waits for its gate may begin although nothing happens until then.
    pub(super) fn wake_at(&self) -> Option<u64> {
        let end = self.end.as_ref().filter(|_| self.wanted)?;
        let grant = end.grant();
        let endless = grant.most == u64::MAX && grant.turn > self.sealed && !grant.revoked;
        (endless && self.on_device > 0).then(|| self.ends_at.saturating_sub(CREDIT - 1))
    }
}

impl Drop for Gatekeeper {
    /// Gives back what the tenant has: its mediator ends, and its workers have ended.
    fn drop(&mut self) {
        self.on_device = 0;
        if let Some(end) = &self.end {
            self.sealed = end.grant().turn;
        }
        self.settle(None);
    }
}
