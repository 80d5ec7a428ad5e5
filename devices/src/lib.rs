//! Weir's devices: the virtio transport over PCI, the devices behind it, and the mediator of
//! accelerator calls.
//!
//! Nothing here knows KVM. What a device needs of its machine comes in through three traits:
//! interrupts through [`pci::Msix`], doorbells through [`pci::Doorbells`], and (for the
//! accelerator) windows of guest-physical memory through [`pci::Window`]. So each device is tested
//! against mock queues and mock machines, without a VM.

pub mod accel;
pub mod pci;
pub mod virtio;
