//! What is told about a running machine: the figures behind `weir ps`.
//!
//! These types are the JSON that `weir ps --json` and `weir up --json` print; a field once there
//! keeps its name and unit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A machine as its supervisor knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VmStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Process of the machine's VMM, while it runs.
    pub pid: Option<u32>,
    /// Where it stands.
    pub state: VmState,
    /// Seconds since it was started; of a machine that has ended, how long it ran.
    pub uptime_seconds: f64,
    /// Number of processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// How often the guest has restarted itself.
    pub restarts: u32,
    /// Exit status of a machine that has ended.
    pub exit_status: Option<i32>,
    /// Why it ended, as a sentence.
    pub message: Option<String>,
    /// The guest's console.
    pub console: Option<std::path::PathBuf>,
    /// Its accelerators; of a machine that has ended, the last figures.
    pub accelerators: Vec<AcceleratorStatus>,
}

/// Where a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmState {
    /// Its process is there but has not said yet that the guest runs.
    Starting,
    /// The guest runs.
    Running,
    /// It has been told to power off.
    Stopping,
    /// It has ended.
    Ended,
}

/// One machine's use of one accelerator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AcceleratorStatus {
    /// The accelerator's name in the configuration.
    pub name: String,
    /// Configured weight.
    pub share: u32,
    /// Calls that were let through to the device.
    pub calls: u64,
    /// Batches in which they came.
    pub batches: u64,
    /// Bytes from the guest to the device.
    pub bytes_in: u64,
    /// Bytes from the device to the guest.
    pub bytes_out: u64,
    /// Bytes of device memory now in use.
    pub memory: u64,
    /// Most bytes of device memory that were in use at once.
    pub memory_peak: u64,
    /// Device time used, in nanoseconds.
    pub device_time_ns: u64,
    /// Guest processes that have the accelerator open.
    pub clients: Vec<ClientStatus>,
}

/// A guest process that has an accelerator open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientStatus {
    /// Number of the client in this machine.
    pub id: u32,
    /// Process in the guest, as the guest says.
    pub pid: u32,
    /// Name of that process, as the guest says.
    pub comm: String,
    /// Process on the host that executes its calls, if there is one.
    pub worker_pid: Option<u32>,
    /// Bytes of device memory in use.
    pub memory: u64,
}

/// Where a running machine can be asked about one of its accelerators.
pub type AcceleratorHandle = Arc<dyn Fn() -> AcceleratorStatus + Send + Sync>;

impl AcceleratorStatus {
    /// Adds what `before` counted: the same machine's figures before its guest restarted.
    pub fn add(&mut self, before: &Self) {
        self.calls += before.calls;
        self.batches += before.batches;
        self.bytes_in += before.bytes_in;
        self.bytes_out += before.bytes_out;
        self.device_time_ns += before.device_time_ns;
        self.memory_peak = self.memory_peak.max(before.memory_peak);
    }
}
