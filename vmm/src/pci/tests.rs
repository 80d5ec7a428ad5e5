use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use weir_devices::pci::{Bar, BarKind};

use super::*;
use crate::layout::GIB;

/// A device with one BAR of each kind; a BAR read answers with the BAR's number and offset.
#[derive(Default)]
struct Mock {
    command: u16,
    bars: [u32; 6],
    was_reset: Arc<AtomicBool>,
}

const SIZE_32: u64 = 0x1000;
const SIZE_64: u64 = 64 * GIB;

impl Mock {
    fn address(&self, index: usize, kind: BarKind) -> Option<u64> {
        let low = u64::from(self.bars[index]);
        let high = match kind {
            BarKind::Memory32 => 0,
            BarKind::Memory64Prefetchable => u64::from(self.bars[index + 1]),
        };
        (self.command & 2 != 0).then_some((high << 32) | low)
    }
}

impl PciDevice for Mock {
    fn name(&self) -> &str {
        "mock"
    }

    fn config_read(&mut self, offset: usize, data: &mut [u8]) {
        match offset {
            0 => data.copy_from_slice(&[0xab, 0xcd, 0xef, 0x01][..data.len()]),
            COMMAND => data.copy_from_slice(&u32::from(self.command).to_le_bytes()[..data.len()]),
            _ => data.fill(0),
        }
    }

    fn config_write(&mut self, offset: usize, data: &[u8]) -> bool {
        match (offset, data.len()) {
            (COMMAND, 2) => self.command = u16::from_le_bytes([data[0], data[1]]),
            (0x10..0x28, 4) => {
                let mask = if offset == 0x10 {
                    !(SIZE_32 as u32 - 1)
                } else {
                    u32::MAX
                };
                let value = u32::from_le_bytes(data.try_into().unwrap());
                self.bars[(offset - 0x10) / 4] = value & mask;
            }
            _ => return false,
        }
        true
    }

    fn bars(&self) -> Vec<Bar> {
        [
            (0, BarKind::Memory32, SIZE_32),
            (2, BarKind::Memory64Prefetchable, SIZE_64),
        ]
        .map(|(index, kind, size)| Bar {
            index,
            kind,
            size,
            address: self.address(index, kind),
        })
        .to_vec()
    }

    fn bar_read(&mut self, bar: usize, offset: u64, data: &mut [u8]) {
        data[0] = bar as u8;
        data[1] = offset as u8;
    }

    fn bar_write(&mut self, _bar: usize, _offset: u64, _data: &[u8]) {}

    fn reset(&mut self) {
        self.was_reset.store(true, Ordering::Relaxed);
    }
}

fn bus() -> PciBus {
    PciBus::new(vec![Box::new(Mock::default())], Some(64 * GIB..1 << 40)).unwrap()
}

fn read(bus: &PciBus, address: u64) -> [u8; 2] {
    let mut data = [0xff; 2];
    bus.memory_read(address, &mut data);
    data
}

fn ecam(slot: u64, register: u64) -> u64 {
    layout::ECAM.start + (slot << 15) + register
}

#[test]
fn bars_get_addresses_in_their_windows() {
    let bus = bus();
    assert_eq!(read(&bus, layout::PCI_WINDOW_32.start + 5), [0, 5]);
    assert_eq!(read(&bus, 64 * GIB + 7), [2, 7]);
    assert_eq!(read(&bus, 128 * GIB), [0xff; 2]);
}

#[test]
fn both_ways_to_configuration_space_agree() {
    let bus = bus();
    let mut by_port = [0xff; 4];
    bus.port_write(0xcf8, &(CONFIG_ENABLE | (1 << 11)).to_le_bytes());
    bus.port_read(0xcfc, &mut by_port);
    let mut by_memory = [0xff; 4];
    bus.memory_read(ecam(1, 0), &mut by_memory);
    assert_eq!((by_port, by_memory), ([0xab, 0xcd, 0xef, 0x01], by_port));
    let mut address = [0; 4];
    bus.port_read(0xcf8, &mut address);
    assert_eq!(u32::from_le_bytes(address), CONFIG_ENABLE | (1 << 11));
}

#[test]
fn empty_slots_and_functions_read_as_ones() {
    let bus = bus();
    assert_eq!(read(&bus, ecam(2, 0)), [0xff; 2]);
    assert_eq!(read(&bus, ecam(1, 0) + 0x1000), [0xff; 2]);
    let mut data = [0xff; 4];
    bus.port_read(0xcfc, &mut data); // not enabled
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn a_moved_bar_answers_at_its_new_place_only() {
    let bus = bus();
    let old = layout::PCI_WINDOW_32.start;
    let new = old + 0x10_0000;
    bus.memory_write(ecam(1, 0x10), &(new as u32).to_le_bytes());
    assert_eq!(read(&bus, old), [0xff; 2]);
    assert_eq!(read(&bus, new + 3), [0, 3]);
    bus.memory_write(ecam(1, 4), &0u16.to_le_bytes());
    assert_eq!(read(&bus, new + 3), [0xff; 2]);
}

#[test]
fn an_access_over_the_end_of_a_bar_finds_nothing() {
    let bus = bus();
    let end = layout::PCI_WINDOW_32.start + SIZE_32;
    assert_eq!(read(&bus, end - 2), [0, 0xfe]);
    assert_eq!(read(&bus, end - 1), [0xff; 2]);
}

#[test]
fn a_window_that_does_not_fit_is_refused_by_name() {
    let error = PciBus::new(vec![Box::new(Mock::default())], Some(0..GIB))
        .err()
        .unwrap();
    assert!(error.to_string().contains("mock"), "{error}");
    let many = (0..SLOTS).map(|_| Box::new(Mock::default()) as Box<dyn PciDevice>);
    assert!(matches!(
        PciBus::new(many.collect(), None),
        Err(PciError::Full)
    ));
}

#[test]
fn dropping_the_bus_resets_the_devices() {
    let mock = Mock::default();
    let was_reset = mock.was_reset.clone();
    drop(PciBus::new(vec![Box::new(mock)], Some(64 * GIB..1 << 40)).unwrap());
    assert!(was_reset.load(Ordering::Relaxed));
}

proptest! {
    /// Whatever a guest writes into configuration space, no access fails.
    #[test]
    fn the_bus_survives_any_guest(
        accesses in proptest::collection::vec(
            (any::<bool>(), 0u64..0x1_0000, any::<u32>(), 0usize..3, any::<u64>()), 0..200)
    ) {
        let bus = bus();
        for (write, register, value, width, elsewhere) in accesses {
            let value = value.to_le_bytes();
            let len = 1 << width;
            for address in [layout::ECAM.start + register, elsewhere] {
                let mut data = [0xff; 4];
                if write {
                    bus.memory_write(address, &value[..len]);
                } else {
                    bus.memory_read(address, &mut data[..len.max(2)]);
                }
            }
            let port = layout::PCI_CONFIG_ADDRESS.start + (register % 8) as u16;
            bus.port_write(port, &value[..len]);
            bus.port_read(port, &mut [0xff; 4][..len.max(2)]);
        }
    }
}
