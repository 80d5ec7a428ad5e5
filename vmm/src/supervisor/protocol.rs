//! What a supervisor, its machines and its users say to one another: JSON, one object a line.

use serde::{Deserialize, Serialize};
use weir_devices::accel::AccelStats;

use crate::status::VmStatus;

/// From the supervisor to a machine's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum ToVm {
    /// Answer with [`FromVm::Status`].
    Status,
    /// Power off, or end at once.
    Stop {
        /// Do not ask the guest.
        now: bool,
        /// How long the guest gets, where that differs from what the machine was started with.
        grace_ms: Option<u64>,
    },
    /// Somebody typed at the console.
    Input {
        /// What.
        bytes: Vec<u8>,
    },
}

/// From a machine's process to the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum FromVm {
    /// The guest runs, for the first time or again.
    Running,
    /// Present figures.
    Status {
        /// Of each accelerator.
        accelerators: Vec<AccelStats>,
    },
    /// The guest has restarted itself.
    Restarting,
    /// The machine has ended, and the process is about to.
    Ended {
        /// Why, as a sentence.
        message: String,
        /// Last figures of each accelerator.
        accelerators: Vec<AccelStats>,
    },
}

/// From `weir ps`, `weir stop` and `weir console` to the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum ToSupervisor {
    /// Answer with [`FromSupervisor::Machines`].
    Ps,
    /// Stop machine `name`.
    Stop {
        /// Its name in the configuration.
        name: String,
        /// Do not ask the guest.
        now: bool,
        /// How long the guest gets, where that differs from what the machine was started with.
        grace_ms: Option<u64>,
    },
    /// After [`FromSupervisor::Done`] this connection is the console of machine `name`: bytes both
    /// ways, no more lines.
    Console {
        /// Its name in the configuration.
        name: String,
        /// Start with the last few kibibytes that the guest has printed.
        replay: bool,
    },
}

/// From the supervisor to `weir ps`, `weir stop` and `weir console`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum FromSupervisor {
    /// All machines.
    Machines {
        /// In the order of the configuration.
        vms: Vec<VmStatus>,
    },
    /// The request is under way.
    Done,
    /// It is not, and why.
    Refused {
        /// A sentence.
        message: String,
    },
}
