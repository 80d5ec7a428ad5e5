//! What a machine needs open, for as often as it starts: once its process is shut in, it can open
//! nothing more and start no programs.

use std::fs::File;

use kvm_ioctls::Kvm;
use weir_devices::accel::AccelConfig;
use weir_devices::virtio::block::Block;

use crate::boot;
use crate::devices::{self, DeviceError};
use crate::kvm::vm;
use crate::machine::StartError;
use crate::spec::VmSpec;

/// Files and processes of one machine.
pub struct Opened {
    /// `/dev/kvm`.
    pub kvm: Kvm,
    /// The kernel.
    pub kernel: File,
    /// The initial RAM disk, if it has one.
    pub initrd: Option<File>,
    /// Its disks, in the order of its description.
    pub disks: Vec<File>,
    /// Its accelerators likewise, each with the process that starts its workers.
    pub accelerators: Vec<AccelConfig>,
}

impl Opened {
    /// Opens all that `spec` names.
    pub fn open(spec: &VmSpec) -> Result<Self, StartError> {
        let kvm = vm::open()?;
        let kernel = boot::open(&spec.kernel)?;
        let initrd = spec.initrd.as_deref().map(boot::open).transpose()?;
        let disks = spec
            .disks
            .iter()
            .map(|disk| Block::open_image(&disk.path, disk.read_only))
            .collect::<Result<_, _>>()
            .map_err(DeviceError::from)?;
        let accelerators = spec
            .accelerators
            .iter()
            .map(|grant| {
                let config = devices::accel_config(grant, &spec.name);
                config.map_err(|source| DeviceError::Accelerator {
                    name: grant.name.clone(),
                    source: source.into(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            kvm,
            kernel,
            initrd,
            disks,
            accelerators,
        })
    }
}
