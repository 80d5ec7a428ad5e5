//! What a supervisor, its machines and its users say to one another: JSON, one object a line.

use serde::{Deserialize, Serialize};
use weir_devices::accel::AccelStats;

use crate::spec::AcceleratorSpec;
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
    /// Let the machine use so much of an accelerator from now on; answer with [`FromVm::Set`].
    Set {
        /// The accelerator, and all of the grant.
        grant: AcceleratorSpec,
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
    /// A [`ToVm::Set`] has been done.
    Set,
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
    /// Change what a tenant may use of an accelerator; answer with [`FromSupervisor::Changed`].
    Set {
        /// The tenant's name in the configuration.
        tenant: String,
        /// The accelerator's, where the tenant has several.
        accelerator: Option<String>,
        /// Keys of the grant, and their values as a user writes them.
        changes: Vec<(String, String)>,
    },
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
    /// The grant has been changed.
    Changed {
        /// The accelerator's name.
        accelerator: String,
        /// Each key, its value before, and its value now.
        values: Vec<(String, String, String)>,
        /// What the user should know about it, in sentences.
        notes: Vec<String>,
    },
    /// The request is under way.
    Done,
    /// It is not, and why.
    Refused {
        /// A sentence.
        message: String,
    },
}
