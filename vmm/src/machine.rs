//! One virtual machine, built step by step and run.

use std::io::Write;
use std::sync::Arc;

use thiserror::Error;
use vm_memory::GuestMemoryError;
use vmm_sys_util::eventfd::EventFd;
use weir_devices::accel::AccelHandle;
use weir_devices::virtio::event_loop::EventLoop;

use crate::acpi::{self, AcpiError};
use crate::boot::{self, BootError, firmware, parameters, registers};
use crate::devices::{self, DeviceError};
use crate::end::End;
use crate::kvm::interrupts::Routing;
use crate::kvm::vcpu::{self, Processors};
use crate::kvm::vm::Vm;
use crate::kvm::{KvmError, cpuid};
use crate::layout;
use crate::legacy::power::Power;
use crate::legacy::serial::SerialPort;
use crate::memory::{self, MemoryError};
use crate::opened::Opened;
use crate::pci::{PciBus, PciError};
use crate::platform::Platform;
use crate::spec::VmSpec;

/// Why a machine did not start.
#[derive(Debug, Error)]
#[expect(
    missing_docs,
    reason = "each passes on what a part of the machine says"
)]
pub enum StartError {
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error("writing page tables and the reset code to guest memory")]
    Tables(#[from] GuestMemoryError),
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    #[error(transparent)]
    Pci(#[from] PciError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("starting the machine's threads")]
    Thread(#[from] std::io::Error),
}

impl StartError {
    /// Whether the user's input or the host's set-up is at fault, rather than Weir.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Kvm(error) => error.is_host_setup(),
            Self::Boot(error) => !matches!(error, BootError::Memory(_)),
            Self::Device(error) => error.is_usage(),
            Self::Memory(_) | Self::Pci(_) => true,
            Self::Tables(_) | Self::Acpi(_) | Self::Thread(_) => false,
        }
    }
}

/// Where the guest's console leads.
pub struct Console {
    /// What the guest prints goes here.
    pub output: Box<dyn Write + Send>,
    /// Signalled when the guest has read all input.
    pub drained: EventFd,
}

/// A running machine. Dropping it stops its processors, then its devices, and joins all threads.
pub struct Machine {
    /// First, so that nothing of the guest runs while the rest goes.
    _processors: Processors,
    platform: Arc<Platform>,
    accelerators: Vec<AccelHandle>,
}

impl Machine {
    /// Builds the machine that `spec` describes and lets it run. It serves its devices on
    /// `event_loop` and says through `end` when it ends.
    pub fn start(
        spec: &VmSpec,
        opened: &Opened,
        event_loop: &EventLoop,
        console: Console,
        end: &Arc<End>,
    ) -> Result<Self, StartError> {
        let memory = memory::create(spec.memory)?;
        let vm = Arc::new(Vm::new(&opened.kvm, memory)?);
        let routing = Routing::new(vm.fd().clone())?;

        let window_64 =
            layout::pci_window_64(spec.memory, cpuid::address_bits(vm.supported_cpuid()));
        let devices::Built { pci, accelerators } =
            devices::build(spec, opened, &vm, &routing, event_loop, window_64.clone())?;
        let platform = Arc::new(Platform {
            serial: Arc::new(SerialPort::new(
                console.output,
                routing.pin_event(layout::COM1_IRQ)?,
                console.drained,
            )),
            power: Arc::new(Power::new(
                end.clone(),
                routing.pin_event(layout::EVENT_IRQ)?,
            )),
            pci: PciBus::new(pci, window_64.clone())?,
            end: end.clone(),
        });

        let description = acpi::Description {
            cpus: spec.cpus,
            pci_window_64: window_64,
        };
        acpi::write(vm.memory(), &description)?;
        let entry = load(spec, opened, &vm)?;

        let vcpus = (0..spec.cpus)
            .map(|id| vcpu::create(&vm, id, spec.cpus, entry))
            .collect::<Result<_, _>>()?;
        let processors = Processors::start(vcpus, &platform, end)?;
        Ok(Self {
            _processors: processors,
            platform,
            accelerators,
        })
    }

    /// The console's serial port.
    pub fn serial(&self) -> &Arc<SerialPort> {
        &self.platform.serial
    }

    /// Sleep, reset, power button.
    pub fn power(&self) -> &Arc<Power> {
        &self.platform.power
    }

    /// Where to ask about each accelerator of the machine.
    pub fn accelerators(&self) -> &[AccelHandle] {
        &self.accelerators
    }
}

/// Puts kernel, initrd, command line and boot parameters into guest memory; answers the entry.
fn load(spec: &VmSpec, opened: &Opened, vm: &Vm) -> Result<u64, StartError> {
    let memory = vm.memory();
    let mut kernel = boot::load_kernel(memory, &opened.kernel, &spec.kernel)?;
    boot::check_fits(&kernel, spec.memory)?;
    if let (Some(path), Some(initrd)) = (&spec.initrd, &opened.initrd) {
        boot::load_initrd(memory, spec.memory, &mut kernel, initrd, path)?;
    }
    boot::load_command_line(memory, &mut kernel, &spec.cmdline)?;
    parameters::write(memory, spec.memory, &kernel)?;
    registers::write_tables(memory)?;
    firmware::write(memory)?;
    Ok(kernel.entry)
}
