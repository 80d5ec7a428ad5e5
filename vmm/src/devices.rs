//! The machine's PCI devices, from its description.

use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;
use weir_devices::accel::arbiter::PolicyKind;
use weir_devices::accel::{self, Accel, AccelConfig, AccelHandle, Limits, Sharing};
use weir_devices::pci::{Doorbells, PciDevice, Window};
use weir_devices::virtio::block::{self, Block};
use weir_devices::virtio::entropy::Entropy;
use weir_devices::virtio::event_loop::EventLoop;
use weir_devices::virtio::pci::VirtioPci;
use weir_devices::virtio::{self, Memory, VirtioDevice};

use crate::accelerators;
use crate::arbiter;
use crate::cache;
use crate::doctor::limits::host_memory;
use crate::kvm::doorbells::KvmDoorbells;
use crate::kvm::interrupts::Routing;
use crate::kvm::vm::Vm;
use crate::kvm::window::KvmWindow;
use crate::opened::Opened;
use crate::spec::{AcceleratorSpec, VmSpec};

/// Why an accelerator could not be made.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each passes on what went wrong")]
pub enum AcceleratorError {
    #[error(transparent)]
    Config(#[from] accel::ConfigError),
    #[error("looking for the worker's program, or making a folder for what workers compile")]
    Files(#[from] std::io::Error),
}

/// Why a device could not be made.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// A disk.
    #[error(transparent)]
    Disk(#[from] block::Error),
    /// The transport.
    #[error(transparent)]
    Transport(#[from] virtio::pci::Error),
    /// An accelerator.
    #[error("accelerator `{name}`")]
    Accelerator {
        /// Its name in the configuration.
        name: String,
        /// Why not.
        #[source]
        source: AcceleratorError,
    },
    /// Its interrupts.
    #[error("giving {device} its interrupts")]
    Interrupts {
        /// Which device.
        device: String,
        /// What KVM said.
        #[source]
        source: std::io::Error,
    },
}

impl DeviceError {
    /// Whether the user's input is at fault, rather than Weir.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Disk(_) | Self::Accelerator { .. })
    }
}

/// What [`build`] made.
pub struct Built {
    /// The devices, in the order of their slots.
    pub pci: Vec<Box<dyn PciDevice>>,
    /// Where to ask about each accelerator.
    pub accelerators: Vec<AccelHandle>,
}

/// Makes all PCI devices of the machine that `spec` describes: disks first, so that the guest
/// names them in the order of the configuration.
pub fn build(
    spec: &VmSpec,
    opened: &Opened,
    vm: &Arc<Vm>,
    routing: &Arc<Routing>,
    event_loop: &EventLoop,
    window_64: Option<Range<u64>>,
) -> Result<Built, DeviceError> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    for (index, (disk, file)) in spec.disks.iter().zip(&opened.disks).enumerate() {
        let id = format!("disk{index}");
        let file = file.try_clone().map_err(|source| block::Error::Open {
            path: disk.path.clone(),
            source,
        })?;
        let block = Block::new(file, &disk.path, disk.read_only, &id, event_loop.clone())?;
        devices.push(Box::new(block));
    }
    devices.push(Box::new(Entropy::new(event_loop.clone())));
    let mut accelerators = Vec::new();
    for (grant, config) in spec.accelerators.iter().zip(&opened.accelerators) {
        let room = window_64.clone().unwrap_or_default();
        let size = window_size(room, spec.accelerators.len());
        let window = KvmWindow::new(vm.clone(), size);
        let (device, handle) = accelerator(grant, config.clone(), window)?;
        devices.push(Box::new(device));
        accelerators.push(handle);
    }

    let memory: Memory = Arc::new(vm.memory().clone());
    let doorbells: Arc<dyn Doorbells> = Arc::new(KvmDoorbells(vm.fd().clone()));
    let pci = devices
        .into_iter()
        .map(|device| on_pci(device, routing, &doorbells, &memory))
        .collect::<Result<_, _>>()?;
    Ok(Built { pci, accelerators })
}

/// Most bytes of an accelerator's window: sixty-four clients with an arena of the usual size.
const WINDOW_MAX: u64 = 64 << 30;

/// Bytes of the window of each of `count` accelerators that share `room`: a power of two that can be
/// aligned to itself.
fn window_size(room: Range<u64>, count: usize) -> u64 {
    let each = (room.end - room.start) / (2 * count as u64);
    let fits = each.checked_ilog2().map_or(0, |bits| 1 << bits);
    WINDOW_MAX.min(fits)
}

/// Host memory that one worker may allocate where the host has `host` bytes: what the tenant may have
/// on the device, which on a processor is host memory, with room for a compiler; and not so little
/// that a quota could not be raised while the tenant runs.
fn worker_memory(quota: Option<u64>, host: u64) -> u64 {
    const COMPILER: u64 = 4 << 30;
    let wanted = quota.unwrap_or(host).saturating_add(COMPILER);
    wanted.max(host / 2).min(host)
}

/// What the mediator is to know of the accelerator that `grant` describes, for `tenant`; the process
/// that starts its workers is started.
///
/// # Errors
/// There is no place for the worker's program or for what workers compile, or it does not start.
pub fn accel_config(grant: &AcceleratorSpec, tenant: &str) -> std::io::Result<AccelConfig> {
    let worker = accelerators::worker_path()?;
    let cache = cache::folder(tenant)?;
    let mut config = AccelConfig::new(&grant.name, &grant.api, weir_apis::APIS, worker, cache);
    config.platform = grant.platform.clone().unwrap_or_default();
    config.device = grant.device;
    config.limits = limits(grant);
    config.memory_quota = grant.memory.unwrap_or(u64::MAX);
    config.max_clients = grant.clients.unwrap_or(config.max_clients);
    config.arena_max = grant.arena.unwrap_or(config.arena_max);
    config.arena_default = config.arena_default.min(config.arena_max);
    if let Some(end) = arbiter::end(&grant.name) {
        config.sharing = Sharing::With(end);
    } else if grant.policy == PolicyKind::None {
        config.sharing = Sharing::Unruled;
    }
    config.worker_memory = Some(worker_memory(grant.memory, host_memory()?));
    config.start_spawner()?;
    Ok(config)
}

/// The accelerator of `config`, as `grant` has it.
fn accelerator(
    grant: &AcceleratorSpec,
    mut config: AccelConfig,
    window: Arc<KvmWindow>,
) -> Result<(Accel, AccelHandle), DeviceError> {
    config.arena_max = config.arena_max.min(window.size());
    config.arena_default = config.arena_default.min(config.arena_max);
    Accel::new(config, window).map_err(|source| DeviceError::Accelerator {
        name: grant.name.clone(),
        source: source.into(),
    })
}

/// The limits that `grant` sets, memory apart.
fn limits(grant: &AcceleratorSpec) -> Limits {
    let usual = Limits::default();
    Limits {
        share: grant.share,
        cap: grant.cap,
        interactive: grant.interactive,
        timeout: grant.timeout,
        calls_per_second: grant.calls_per_second.unwrap_or(usual.calls_per_second),
        bytes_per_second: grant.bytes_per_second.unwrap_or(usual.bytes_per_second),
        handles: grant.handles.unwrap_or(usual.handles),
        queue_depth: grant.queue_depth.unwrap_or(usual.queue_depth),
    }
}

/// Lets the tenant use so much from now on as `grant` says.
pub fn change(handle: &AccelHandle, grant: &AcceleratorSpec) {
    handle.set_limits(limits(grant));
    handle.set_memory_quota(grant.memory.unwrap_or(u64::MAX));
}

/// Puts `device` behind the PCI transport, with a vector for each queue and one more.
fn on_pci(
    device: Box<dyn VirtioDevice>,
    routing: &Arc<Routing>,
    doorbells: &Arc<dyn Doorbells>,
    memory: &Memory,
) -> Result<Box<dyn PciDevice>, DeviceError> {
    let vectors = device.queue_max_sizes().len() as u16 + 1;
    let msix = routing
        .msix(vectors)
        .map_err(|source| DeviceError::Interrupts {
            device: device.name().into(),
            source,
        })?;
    let transport = VirtioPci::new(device, msix, doorbells.clone(), memory.clone())?;
    Ok(Box::new(transport))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_never_gets_more_memory_than_there_is() {
        const GIB: u64 = 1 << 30;
        assert_eq!(worker_memory(None, 16 * GIB), 16 * GIB);
        assert_eq!(worker_memory(Some(GIB), 16 * GIB), 8 * GIB);
        assert_eq!(worker_memory(Some(8 * GIB), 16 * GIB), 12 * GIB);
        assert_eq!(worker_memory(Some(100 * GIB), 16 * GIB), 16 * GIB);
    }
}
