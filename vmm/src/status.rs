//! What is told about a running machine: the figures behind `weir ps`.
//!
//! These types are the JSON that `weir ps --json` and `weir up --json` print; a field once there
//! keeps its name and unit.

use serde::{Deserialize, Serialize};
use weir_devices::accel::AccelStats;

/// A machine as its supervisor knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VmStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub kind: Kind,
    /// Process of the machine's VMM or of the tenant's mediator, while it runs.
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
    pub accelerators: Vec<AccelStats>,
}

/// What a tenant is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A virtual machine.
    #[default]
    Vm,
    /// Programs of the host. It has no processors or memory of its own.
    Local,
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
