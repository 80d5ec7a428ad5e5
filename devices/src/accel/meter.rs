//! What is counted, and how others read it.
//!
//! The mediator's thread counts; any other thread reads at any time. A figure is never torn, but two
//! figures read together may be a command apart.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::config::AccelConfig;
use super::events::{Events, Kind};
use super::limits::{Limits, LimitsCell};
use super::quota::Quota;

/// An accelerator's figures, for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccelStats {
    /// Its name in the configuration.
    pub name: String,
    /// The API that it executes.
    pub api: String,
    /// When these figures were read, in nanoseconds on the host's monotonic clock.
    #[serde(default)]
    pub at_ns: u64,
    /// The tenant's weight.
    pub share: u32,
    /// Most of the device's time that the tenant gets, in percent.
    #[serde(default)]
    pub cap: Option<u32>,
    /// Bytes of device memory that the tenant may hold.
    pub memory_quota: u64,
    /// Bytes of device memory that it holds.
    pub memory: u64,
    /// The most that it held at a time.
    pub memory_peak: u64,
    /// Clients that there have been.
    pub clients_total: u64,
    /// Sums over all clients that there have been.
    #[serde(flatten)]
    pub totals: Traffic,
    /// For how long a command of the tenant was ready and waited for the device, in nanoseconds.
    #[serde(default)]
    pub queue_wait_ns: u64,
    /// For how long calls waited because there were too many in a second, in nanoseconds.
    #[serde(default)]
    pub throttled_ns: u64,
    /// Turns on the device that the tenant has had.
    #[serde(default)]
    pub turns: u64,
    /// Clients that were ended because a command took too long.
    #[serde(default)]
    pub timeouts: u64,
    /// How often the tenant's doorbell woke the mediator.
    pub kicks: u64,
    /// How often the mediator slept.
    pub sleeps: u64,
    /// Announcements that named no client.
    pub strays: u64,
    /// The clients that there are.
    pub clients: Vec<ClientStats>,
}

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Well-formed calls, whether they were admitted or not.
    pub calls: u64,
    /// Batches that were taken.
    pub batches: u64,
    /// Bytes of commands and of what they carry to the device.
    pub bytes_in: u64,
    /// Bytes that calls asked for.
    pub bytes_out: u64,
    /// Calls and batches that were refused.
    pub refused: u64,
    /// Time on the device, in nanoseconds.
    pub device_time_ns: u64,
    /// How often a sleeping worker was woken.
    pub worker_wakes: u64,
}

impl AccelStats {
    /// Adds what `before` counted: the same tenant's figures from before its machine restarted.
    pub fn add(&mut self, before: &Self) {
        self.totals.add(&before.totals);
        self.memory_peak = self.memory_peak.max(before.memory_peak);
        self.clients_total += before.clients_total;
        self.queue_wait_ns += before.queue_wait_ns;
        self.throttled_ns += before.throttled_ns;
        self.turns += before.turns;
        self.timeouts += before.timeouts;
        self.kicks += before.kicks;
        self.sleeps += before.sleeps;
        self.strays += before.strays;
    }
}

impl Traffic {
    fn add(&mut self, other: &Traffic) {
        self.calls += other.calls;
        self.batches += other.batches;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.refused += other.refused;
        self.device_time_ns += other.device_time_ns;
        self.worker_wakes += other.worker_wakes;
    }
}

/// A client's figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientStats {
    /// The client's number.
    pub id: u32,
    /// The process, as the guest numbers it.
    pub pid: u32,
    /// The process's name, as the guest gives it.
    pub comm: String,
    /// The worker process on the host; 0 if there is none.
    pub worker_pid: u32,
    /// What state it is in.
    pub state: ClientState,
    /// Bytes of device memory that it holds.
    pub memory: u64,
    /// The most that it held at a time.
    pub memory_peak: u64,
    /// What went through.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// The states of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ClientState {
    /// Its worker is being started. Its calls are taken.
    Starting,
    /// Its worker serves it.
    Running,
    /// Its worker is gone; the client has not been closed yet.
    Lost,
}

/// A figure with one writer.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        // One writer: no need for a locked addition.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts for one client.
#[derive(Debug)]
pub(super) struct ClientMeter {
    id: u32,
    pid: u32,
    comm: String,
    accelerator: String,
    events: Arc<Events>,
    worker_pid: AtomicU32,
    state: AtomicU8,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    pub(super) calls: Counter,
    pub(super) batches: Counter,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    pub(super) refused: Counter,
    pub(super) device_time_ns: Counter,
    pub(super) worker_wakes: Counter,
}

impl ClientMeter {
    fn new(id: u32, pid: u32, comm: String, tenant: &Tenant) -> Self {
        Self {
            id,
            pid,
            comm,
            accelerator: tenant.name.clone(),
            events: tenant.events.clone(),
            worker_pid: AtomicU32::new(0),
            state: AtomicU8::new(ClientState::Starting as u8),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            calls: Counter::default(),
            batches: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            refused: Counter::default(),
            device_time_ns: Counter::default(),
            worker_wakes: Counter::default(),
        }
    }

    /// Tells the log that something happened to the client; `what` says more, in words with values.
    pub(super) fn note(&self, kind: Kind, what: fmt::Arguments<'_>) {
        self.events.note(kind, self, what);
    }

    pub(super) fn set_worker(&self, pid: u32) {
        self.worker_pid.store(pid, Relaxed);
    }

    pub(super) fn set_state(&self, state: ClientState) {
        self.state.store(state as u8, Relaxed);
    }

    pub(super) fn state(&self) -> ClientState {
        match self.state.load(Relaxed) {
            0 => ClientState::Starting,
            1 => ClientState::Running,
            _ => ClientState::Lost,
        }
    }

    pub(super) fn set_memory(&self, bytes: u64) {
        self.memory.store(bytes, Relaxed);
        if bytes > self.memory_peak.load(Relaxed) {
            self.memory_peak.store(bytes, Relaxed);
        }
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            calls: self.calls.get(),
            batches: self.batches.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            refused: self.refused.get(),
            device_time_ns: self.device_time_ns.get(),
            worker_wakes: self.worker_wakes.get(),
        }
    }

    fn stats(&self) -> ClientStats {
        ClientStats {
            id: self.id,
            pid: self.pid,
            comm: self.comm.clone(),
            worker_pid: self.worker_pid.load(Relaxed),
            state: self.state(),
            memory: self.memory.load(Relaxed),
            memory_peak: self.memory_peak.load(Relaxed),
            traffic: self.traffic(),
        }
    }
}

impl fmt::Display for ClientMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            pid,
            comm,
            accelerator,
            ..
        } = self;
        write!(
            f,
            "accelerator={accelerator} client={id} pid={pid} comm={comm:?}"
        )
    }
}

/// What the mediator and its watchers share about one tenant on one accelerator.
#[derive(Debug)]
pub(super) struct Tenant {
    name: String,
    api: String,
    pub(super) limits: LimitsCell,
    pub(super) quota: Quota,
    pub(super) queue_wait_ns: AtomicU64,
    pub(super) turns: AtomicU64,
    pub(super) throttled_ns: AtomicU64,
    pub(super) timeouts: Counter,
    pub(super) kicks: Counter,
    pub(super) sleeps: Counter,
    pub(super) strays: Counter,
    events: Arc<Events>,
    roster: Mutex<Roster>,
}

#[derive(Debug, Default)]
struct Roster {
    clients: Vec<Arc<ClientMeter>>,
    ever: u64,
    ended: Traffic,
}

impl Tenant {
    pub(super) fn new(config: &AccelConfig) -> Arc<Self> {
        Arc::new(Self {
            name: config.name.clone(),
            api: config.api.clone(),
            limits: LimitsCell::new(Limits::of(config)),
            quota: Quota::new(config.memory_quota),
            queue_wait_ns: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            throttled_ns: AtomicU64::new(0),
            timeouts: Counter::default(),
            kicks: Counter::default(),
            sleeps: Counter::default(),
            strays: Counter::default(),
            events: Arc::default(),
            roster: Mutex::default(),
        })
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts for a new client.
    pub(super) fn enter(&self, id: u32, pid: u32, comm: String) -> Arc<ClientMeter> {
        let meter = Arc::new(ClientMeter::new(id, pid, comm, self));
        let mut roster = self.roster();
        roster.clients.push(meter.clone());
        roster.ever += 1;
        meter
    }

    /// Shows how long the tenant has waited for the device, how many turns it had, and how long its
    /// calls were held.
    pub(super) fn show_waiting(&self, waited: u64, turns: u64, held: u64) {
        self.queue_wait_ns.store(waited, Relaxed);
        self.turns.store(turns, Relaxed);
        self.throttled_ns.store(held, Relaxed);
    }

    /// Adds what a client that is over has used to the tenant's sums.
    pub(super) fn leave(&self, meter: &Arc<ClientMeter>) {
        let mut roster = self.roster();
        roster.clients.retain(|other| !Arc::ptr_eq(other, meter));
        roster.ended.add(&meter.traffic());
    }

    fn stats(&self) -> AccelStats {
        let limits = self.limits.get();
        let roster = self.roster();
        let clients: Vec<_> = roster.clients.iter().map(|meter| meter.stats()).collect();
        let mut totals = roster.ended;
        for client in &clients {
            totals.add(&client.traffic);
        }
        AccelStats {
            name: self.name.clone(),
            api: self.api.clone(),
            at_ns: monotonic_ns(),
            share: limits.share,
            cap: limits.cap,
            memory_quota: self.quota.limit(),
            memory: self.quota.used(),
            memory_peak: self.quota.peak(),
            clients_total: roster.ever,
            totals,
            queue_wait_ns: self.queue_wait_ns.load(Relaxed),
            throttled_ns: self.throttled_ns.load(Relaxed),
            turns: self.turns.load(Relaxed),
            timeouts: self.timeouts.get(),
            kicks: self.kicks.get(),
            sleeps: self.sleeps.get(),
            strays: self.strays.get(),
            clients,
        }
    }
}

fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A view of one tenant's use of an accelerator, for any thread. It outlives the accelerator.
#[derive(Clone, Debug)]
pub struct AccelHandle {
    pub(super) tenant: Arc<Tenant>,
}

impl AccelHandle {
    /// The accelerator's name in the configuration.
    pub fn name(&self) -> &str {
        &self.tenant.name
    }

    /// The figures of this moment.
    pub fn stats(&self) -> AccelStats {
        self.tenant.stats()
    }

    /// Changes the tenant's quota of device memory. What it holds it keeps.
    pub fn set_memory_quota(&self, bytes: u64) {
        self.tenant.quota.set_limit(bytes);
    }

    /// What the tenant may use of the accelerator, memory apart.
    pub fn limits(&self) -> Limits {
        self.tenant.limits.get()
    }

    /// Changes what the tenant may use. A share, a cap and a priority count where the mediator has an
    /// arbiter of its own; elsewhere they are for the accelerator's arbiter to know.
    pub fn set_limits(&self, limits: Limits) {
        self.tenant.limits.set(limits);
    }

    /// Changes the tenant's weight, as [`set_limits`](Self::set_limits).
    pub fn set_share(&self, share: u32) {
        self.set_limits(Limits {
            share,
            ..self.limits()
        });
    }
}
