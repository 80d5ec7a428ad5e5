//! The bridge between processors and bus, which the guest expects in slot 0.

use weir_devices::pci::{Bar, PciDevice};

/// Header of the bridge: a generic PCI Express host (vendor Red Hat), class host bridge.
const HEADER: [u8; 12] = [
    0x36, 0x1b, 0x08, 0x00, // vendor, device
    0x00, 0x00, 0x00, 0x00, // command, status
    0x00, 0x00, 0x00, 0x06, // revision, class
];

/// A host bridge without registers of its own.
pub struct HostBridge;

impl PciDevice for HostBridge {
    fn name(&self) -> &str {
        "host bridge"
    }

    fn config_read(&mut self, offset: usize, data: &mut [u8]) {
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = HEADER.get(offset + index).copied().unwrap_or(0);
        }
    }

    fn config_write(&mut self, _offset: usize, _data: &[u8]) -> bool {
        false
    }

    fn bars(&self) -> Vec<Bar> {
        Vec::new()
    }

    fn bar_read(&mut self, _bar: usize, _offset: u64, _data: &mut [u8]) {}

    fn bar_write(&mut self, _bar: usize, _offset: u64, _data: &[u8]) {}

    fn reset(&mut self) {}
}
