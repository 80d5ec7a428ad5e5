//! What one virtual machine shall be, checked and complete.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_devices::accel::arbiter::PolicyKind;

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSpec {
    /// Its name in messages, and in `weir ps`.
    pub name: String,
    /// A bzImage or an ELF vmlinux.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: String,
    /// Number of processors.
    pub cpus: u32,
    /// Bytes of memory, a multiple of 4096.
    pub memory: u64,
    /// Disks, in the order in which the guest names them.
    pub disks: Vec<DiskSpec>,
    /// Accelerators, in the order of their names.
    pub accelerators: Vec<AcceleratorSpec>,
}

/// A tenant without a machine: programs of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSpec {
    /// Its name in messages, and in `weir ps`.
    pub name: String,
    /// Accelerators, in the order of their names.
    pub accelerators: Vec<AcceleratorSpec>,
}

/// A disk of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// The raw image.
    pub path: PathBuf,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// An accelerator as one machine has it: which device, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceleratorSpec {
    /// Its name in the configuration.
    pub name: String,
    /// The API by which guests use it.
    pub api: String,
    /// What the platform's name contains.
    pub platform: Option<String>,
    /// Number of the device among the platform's.
    pub device: u32,
    /// How the device is shared among all who use it.
    pub policy: PolicyKind,
    /// Weight among those who use the device at the same time.
    pub share: u32,
    /// Most of the device's time, in percent.
    pub cap: Option<u32>,
    /// Most bytes of device memory.
    pub memory: Option<u64>,
    /// Most calls per second.
    pub calls_per_second: Option<u64>,
    /// Longest that one command may run.
    pub timeout: Option<Duration>,
    /// Whether it goes ahead of others as long as it has not used up its share.
    #[serde(default)]
    pub interactive: bool,
    /// Most bytes that calls carry in a second.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// Most processes that have it open at once.
    #[serde(default)]
    pub clients: Option<u32>,
    /// Most objects of one process.
    #[serde(default)]
    pub handles: Option<u32>,
    /// Most calls of one process that have been sent and are not over.
    #[serde(default)]
    pub queue_depth: Option<u32>,
    /// Largest arena of one process, in bytes.
    #[serde(default)]
    pub arena: Option<u64>,
}

/// Kernel command line where none is given.
///
/// The serial port is the console; a panic resets at once, which Weir recognizes; and the kernel
/// keeps its messages to itself, since each character of them leaves the guest.
pub const DEFAULT_CMDLINE: &str = "console=ttyS0 panic=-1 quiet";
/// Processors where no number is given.
pub const DEFAULT_CPUS: u32 = 1;
/// Memory where no size is given.
pub const DEFAULT_MEMORY: u64 = 512 << 20;
