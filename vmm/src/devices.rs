//! The machine's PCI devices, from its description.

use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;
use weir_devices::pci::{Doorbells, PciDevice};
use weir_devices::virtio::block::{self, Block};
use weir_devices::virtio::entropy::Entropy;
use weir_devices::virtio::event_loop::EventLoop;
use weir_devices::virtio::pci::VirtioPci;
use weir_devices::virtio::{self, Memory, VirtioDevice};

use crate::kvm::doorbells::KvmDoorbells;
use crate::kvm::interrupts::Routing;
use crate::kvm::vm::Vm;
use crate::spec::VmSpec;
use crate::status::AcceleratorHandle;

/// Why a device could not be made.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// A disk.
    #[error(transparent)]
    Disk(#[from] block::Error),
    /// The transport.
    #[error(transparent)]
    Transport(#[from] virtio::pci::Error),
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
        matches!(self, Self::Disk(_))
    }
}

/// What [`build`] made.
pub struct Built {
    /// The devices, in the order of their slots.
    pub pci: Vec<Box<dyn PciDevice>>,
    /// Where to ask about each accelerator.
    pub accelerators: Vec<AcceleratorHandle>,
}

/// Makes all PCI devices of the machine that `spec` describes: disks first, so that the guest
/// names them in the order of the configuration.
pub fn build(
    spec: &VmSpec,
    vm: &Arc<Vm>,
    routing: &Arc<Routing>,
    event_loop: &EventLoop,
    _window_64: Option<Range<u64>>,
) -> Result<Built, DeviceError> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    for (index, disk) in spec.disks.iter().enumerate() {
        let id = format!("disk{index}");
        let block = Block::open(&disk.path, disk.read_only, &id, event_loop.clone())?;
        devices.push(Box::new(block));
    }
    devices.push(Box::new(Entropy::new(event_loop.clone())));
    let accelerators = Vec::new();

    let memory: Memory = Arc::new(vm.memory().clone());
    let doorbells: Arc<dyn Doorbells> = Arc::new(KvmDoorbells(vm.fd().clone()));
    let pci = devices
        .into_iter()
        .map(|device| on_pci(device, routing, &doorbells, &memory))
        .collect::<Result<_, _>>()?;
    Ok(Built { pci, accelerators })
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
