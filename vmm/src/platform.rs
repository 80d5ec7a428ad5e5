//! Which device answers a guest's access to a port or to memory outside its memory.

use std::sync::Arc;

use crate::end::End;
use crate::layout;
use crate::legacy::power::Power;
use crate::legacy::pvpanic;
use crate::legacy::serial::SerialPort;
use crate::pci::PciBus;

/// All devices of a machine.
pub struct Platform {
    /// The console.
    pub serial: Arc<SerialPort>,
    /// Sleep, reset, power button.
    pub power: Arc<Power>,
    /// Everything else.
    pub pci: PciBus,
    /// Where a panic is reported.
    pub end: Arc<End>,
}

impl Platform {
    /// Reads `port`. What nobody answers reads as ones.
    pub fn port_read(&self, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        if layout::COM1.contains(&port) {
            let offset = (port - layout::COM1.start) as u8;
            data.fill_with(|| self.serial.read(offset));
        } else if is_pci_configuration(port) {
            self.pci.port_read(port, data);
        } else if port == layout::PVPANIC {
            data.fill(pvpanic::CAPABILITIES);
        } else if let (Some(value), [first, ..]) = (self.power.read(port), data) {
            *first = value;
        }
    }

    /// Writes `port`. What nobody answers is lost.
    pub fn port_write(&self, port: u16, data: &[u8]) {
        if layout::COM1.contains(&port) {
            let offset = (port - layout::COM1.start) as u8;
            // A string instruction delivers many bytes for one port at once.
            data.iter()
                .for_each(|byte| self.serial.write(offset, *byte));
        } else if is_pci_configuration(port) {
            self.pci.port_write(port, data);
        } else if let [value, ..] = data {
            match port {
                layout::PVPANIC => pvpanic::write(&self.end, *value),
                _ => self.power.write(port, *value),
            }
        }
    }

    /// Reads memory that is not memory. What nobody answers reads as ones.
    pub fn memory_read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        self.pci.memory_read(address, data);
    }

    /// Writes memory that is not memory. What nobody answers is lost.
    pub fn memory_write(&self, address: u64, data: &[u8]) {
        self.pci.memory_write(address, data);
    }
}

fn is_pci_configuration(port: u16) -> bool {
    (layout::PCI_CONFIG_ADDRESS.start..layout::PCI_CONFIG_DATA.end).contains(&port)
}
