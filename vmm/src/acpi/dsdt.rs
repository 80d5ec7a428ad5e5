//! The DSDT: the devices that cannot be found by looking.

use std::ops::Range;

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Device, EISAName, Equal, Field, FieldAccessType,
    FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, Interrupt, Local, Memory32Fixed, Method,
    Name, Notify, ONE, OpRegion, OpRegionSpace, Package, Path, ResourceTemplate, Scope, Store,
    ZERO,
};
use acpi_tables::{Aml, AmlSink};

use super::{Description, EVENT_POWER_BUTTON, SLEEP_TYPE_OFF, definition_block};
use crate::layout;

/// What `_STA` says of a device that is there, works and is shown.
const PRESENT: u8 = 0xf;
/// Notification value: the button was pressed.
const BUTTON_PRESSED: u8 = 0x80;

/// The whole table.
pub(super) fn table(description: &Description) -> Vec<u8> {
    let mut body = Vec::new();
    soft_off(&mut body);
    Scope::new(
        "_SB_".into(),
        vec![
            &HostBridge(description.pci_window_64.clone()),
            &ConfigurationSpace,
            &SerialPort,
            &PanicDevice,
            &PowerButton,
            &EventDevice,
        ],
    )
    .to_aml_bytes(&mut body);
    definition_block(*b"DSDT", &body)
}

/// `\_S5`: the sleep type that means power off.
fn soft_off(body: &mut dyn AmlSink) {
    let package = Package::new(vec![&SLEEP_TYPE_OFF, &ZERO, &ZERO, &ZERO]);
    Name::new("_S5_".into(), &package).to_aml_bytes(body);
}

fn name(name: &str, value: &dyn Aml) -> Name {
    Name::new(name.into(), value)
}

/// The PCI host bridge, with the address ranges that BARs may use.
struct HostBridge(Option<Range<u64>>);

impl Aml for HostBridge {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let bus = AddressSpace::<u16>::new_bus_number(0, 0);
        let (first, last) = (
            layout::PCI_CONFIG_ADDRESS.start,
            layout::PCI_CONFIG_DATA.end - 1,
        );
        let configuration = IO::new(first, first, 1, (last - first + 1) as u8);
        let ports_below = AddressSpace::<u16>::new_io(0, first - 1, None);
        let ports_above = AddressSpace::<u16>::new_io(last + 1, u16::MAX, None);
        let window = layout::PCI_WINDOW_32;
        let window_32 = AddressSpace::<u32>::new_memory(
            AddressSpaceCacheable::NotCacheable,
            true,
            window.start as u32,
            (window.end - 1) as u32,
            None,
        );
        let window_64 = self.0.as_ref().map(|window| {
            AddressSpace::<u64>::new_memory(
                AddressSpaceCacheable::PreFetchable,
                true,
                window.start,
                window.end - 1,
                None,
            )
        });
        let mut resources: Vec<&dyn Aml> =
            vec![&bus, &configuration, &ports_below, &ports_above, &window_32];
        if let Some(window) = &window_64 {
            resources.push(window);
        }
        Device::new(
            "PCI0".into(),
            vec![
                &name("_HID", &EISAName::new("PNP0A08")),
                &name("_CID", &EISAName::new("PNP0A03")),
                &name("_SEG", &ZERO),
                &name("_BBN", &ZERO),
                &name("_UID", &ZERO),
                // Transactions of devices are coherent with the processors' caches.
                &name("_CCA", &ONE),
                &name("_CRS", &ResourceTemplate::new(resources)),
            ],
        )
        .to_aml_bytes(sink);
    }
}

/// Reserves the memory-mapped configuration space. Linux uses that only if a device claims it.
struct ConfigurationSpace;

impl Aml for ConfigurationSpace {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let ecam = layout::ECAM;
        let len = (ecam.end - ecam.start) as u32;
        let memory = Memory32Fixed::new(true, ecam.start as u32, len);
        Device::new(
            "ECAM".into(),
            vec![
                &name("_HID", &EISAName::new("PNP0C02")),
                &name("_UID", &ZERO),
                &name("_CRS", &ResourceTemplate::new(vec![&memory])),
            ],
        )
        .to_aml_bytes(sink);
    }
}

struct SerialPort;

impl Aml for SerialPort {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let ports = layout::COM1;
        let io = IO::new(ports.start, ports.start, 1, ports.len() as u8);
        let interrupt = Interrupt::new(true, true, false, false, layout::COM1_IRQ);
        Device::new(
            "COM1".into(),
            vec![
                &name("_HID", &EISAName::new("PNP0501")),
                &name("_UID", &ONE),
                &name("_STA", &PRESENT),
                &name("_CRS", &ResourceTemplate::new(vec![&io, &interrupt])),
            ],
        )
        .to_aml_bytes(sink);
    }
}

/// The panic notifier that Linux knows as `pvpanic`.
struct PanicDevice;

impl Aml for PanicDevice {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let io = IO::new(layout::PVPANIC, layout::PVPANIC, 1, 1);
        Device::new(
            "PEVT".into(),
            vec![
                &name("_HID", &"QEMU0001"),
                &name("_STA", &PRESENT),
                &name("_CRS", &ResourceTemplate::new(vec![&io])),
            ],
        )
        .to_aml_bytes(sink);
    }
}

struct PowerButton;

impl Aml for PowerButton {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        Device::new(
            "PWRB".into(),
            vec![
                &name("_HID", &EISAName::new("PNP0C0C")),
                &name("_UID", &ZERO),
            ],
        )
        .to_aml_bytes(sink);
    }
}

/// The Generic Event Device: its interrupt makes the guest read the event register and pass on
/// what that says.
struct EventDevice;

impl Aml for EventDevice {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let interrupt = Interrupt::new(true, true, false, false, layout::EVENT_IRQ);
        let events = Path::new("EVTS");
        let field = Field::new(
            "EVTR".into(),
            FieldAccessType::Byte,
            FieldLockRule::NoLock,
            FieldUpdateRule::WriteAsZeroes,
            vec![FieldEntry::Named(*b"EVTS", 8)],
        );
        let read = Store::new(&Local(0), &events);
        let pressed = And::new(&Local(1), &Local(0), &EVENT_POWER_BUTTON);
        let is_pressed = Equal::new(&Local(1), &EVENT_POWER_BUTTON);
        let button = Path::new("\\_SB_.PWRB");
        let notify = Notify::new(&button, &BUTTON_PRESSED);
        let tell = If::new(&is_pressed, vec![&notify]);
        Device::new(
            "GEVT".into(),
            vec![
                &name("_HID", &"ACPI0013"),
                &name("_UID", &ZERO),
                &name("_CRS", &ResourceTemplate::new(vec![&interrupt])),
                &OpRegion::new(
                    "EVTR".into(),
                    OpRegionSpace::SystemIO,
                    &layout::EVENTS,
                    &ONE,
                ),
                &field,
                &Method::new("_EVT".into(), 1, true, vec![&read, &pressed, &tell]),
            ],
        )
        .to_aml_bytes(sink);
    }
}
