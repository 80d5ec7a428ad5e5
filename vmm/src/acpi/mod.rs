//! ACPI tables, from which the guest learns what the machine has.
//!
//! The machine is "hardware-reduced": no PM timer, no fixed events, no legacy interrupt
//! controllers to drive; sleep and reset are single registers, and the power button arrives
//! through a Generic Event Device.

mod dsdt;

use std::ops::Range;

use acpi_tables::Aml;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::layout;
use crate::memory::GuestMemory;

const OEM: [u8; 6] = *b"WEIR  ";
const OEM_TABLE: [u8; 8] = *b"WEIRMACH";
const OEM_REVISION: u32 = 1;

/// Value of SLP_TYP for "soft off"; ours to choose, told in `\_S5`.
pub const SLEEP_TYPE_OFF: u8 = 5;
/// What a write to the reset register must be.
pub const RESET_VALUE: u8 = 0x52;
/// Bit of the event register: the power button was pressed.
pub const EVENT_POWER_BUTTON: u8 = 1;

/// Boot architecture flags: no VGA, no CMOS clock (the clock comes from KVM). The absence of the
/// bit for a keyboard controller spares the guest the search for one.
const BOOT_ARCH_NO_VGA: u16 = 1 << 2;
const BOOT_ARCH_NO_CMOS_CLOCK: u16 = 1 << 5;

/// Why the tables could not be written.
#[derive(Debug, Error)]
pub enum AcpiError {
    /// Guest memory refused.
    #[error("writing ACPI tables to guest memory")]
    Memory(#[from] GuestMemoryError),
    /// More than the reserved area holds.
    #[error("the ACPI tables take {0} bytes, more than is reserved for them")]
    TooLarge(u64),
}

/// What the tables say that differs from machine to machine.
#[derive(Clone, Debug)]
pub struct Description {
    /// Number of processors.
    pub cpus: u32,
    /// Window for 64-bit BARs, if there is room for one.
    pub pci_window_64: Option<Range<u64>>,
}

/// Writes all tables behind the root pointer at [`layout::RSDP`].
pub fn write(memory: &GuestMemory, description: &Description) -> Result<(), AcpiError> {
    let (rsdp, tables) = build(description);
    let last_end = tables
        .last()
        .map_or(0, |(address, table)| address + table.len() as u64);
    if last_end > layout::RESET_VECTOR {
        return Err(AcpiError::TooLarge(last_end - layout::RSDP));
    }
    memory.write_slice(&rsdp, GuestAddress(layout::RSDP))?;
    for (address, table) in tables {
        memory.write_slice(&table, GuestAddress(address))?;
    }
    Ok(())
}

/// The root pointer, and each table with its address.
fn build(description: &Description) -> (Vec<u8>, Vec<(u64, Vec<u8>)>) {
    let mut place = Place {
        next: layout::RSDP + 64,
        tables: Vec::new(),
    };
    let dsdt = place.put(dsdt::table(description));
    let others = [fadt(dsdt), madt(description.cpus), mcfg()].map(|table| place.put(table));
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    for address in others {
        xsdt.add_entry(address);
    }
    let xsdt = place.put(bytes(&xsdt));
    (bytes(&Rsdp::new(OEM, xsdt)), place.tables)
}

struct Place {
    next: u64,
    tables: Vec<(u64, Vec<u8>)>,
}

impl Place {
    fn put(&mut self, table: Vec<u8>) -> u64 {
        let address = self.next;
        self.next = (address + table.len() as u64).next_multiple_of(64);
        self.tables.push((address, table));
        address
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

fn port(address: u16) -> GAS {
    GAS::new(
        AddressSpace::SystemIo,
        8,
        0,
        AccessSize::ByteAccess,
        u64::from(address),
    )
}

fn fadt(dsdt: u64) -> Vec<u8> {
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Wbinvd)
        // Both buttons as fixed hardware are absent; the power button is a device in the DSDT.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    fadt.iapc_boot_arch = (BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_CMOS_CLOCK).into();
    fadt.reset_reg = port(layout::RESET);
    fadt.reset_value = RESET_VALUE;
    fadt.sleep_control_reg = port(layout::SLEEP_CONTROL);
    fadt.sleep_status_reg = port(layout::SLEEP_STATUS);
    bytes(&fadt.finalize())
}

fn madt(cpus: u32) -> Vec<u8> {
    let local = LocalInterruptController::Address(layout::LOCAL_APIC);
    let mut madt = MADT::new(OEM, OEM_TABLE, OEM_REVISION, local);
    for id in 0..cpus as u8 {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, layout::IO_APIC, 0));
    bytes(&madt)
}

fn mcfg() -> Vec<u8> {
    let mut mcfg = MCFG::new(OEM, OEM_TABLE, OEM_REVISION);
    mcfg.add_ecam(layout::ECAM.start, 0, 0, 0);
    bytes(&mcfg)
}

/// A table with `body` behind the common header.
fn definition_block(signature: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = Sdt::new(signature, 36, 2, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(body);
    table.as_slice().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description {
            cpus: 4,
            pci_window_64: layout::pci_window_64(layout::GIB, 40),
        }
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn every_table_is_whole_and_its_checksum_right() {
        let (rsdp, tables) = build(&description());
        assert_eq!(
            (&rsdp[..8], sum(&rsdp[..20]), sum(&rsdp)),
            (&b"RSD PTR "[..], 0, 0)
        );
        let signatures: Vec<_> = tables.iter().map(|(_, table)| &table[..4]).collect();
        assert_eq!(signatures, [b"DSDT", b"FACP", b"APIC", b"MCFG", b"XSDT"]);
        for (address, table) in &tables {
            assert_eq!(address % 64, 0);
            let length = u32::from_le_bytes(table[4..8].try_into().unwrap());
            assert_eq!((sum(table), length as usize), (0, table.len()));
        }
    }

    #[test]
    fn the_root_leads_to_each_table() {
        let (rsdp, tables) = build(&description());
        let address_at =
            |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().unwrap());
        let find = |address| &tables.iter().find(|(a, _)| *a == address).unwrap().1;
        let xsdt = find(address_at(&rsdp, 24));
        let entries: Vec<_> = (36..xsdt.len())
            .step_by(8)
            .map(|at| address_at(xsdt, at))
            .collect();
        assert_eq!(entries.len(), 3);
        assert_eq!(&find(address_at(find(entries[0]), 140))[..4], b"DSDT");
    }

    #[test]
    fn every_processor_is_listed() {
        let table = madt(16);
        let local_apics = table[44..]
            .chunks(8)
            .take_while(|entry| entry[0] == 0)
            .count();
        assert_eq!(local_apics, 16);
    }

    /// Runs Intel's disassembler over the DSDT where that is installed.
    #[test]
    fn the_dsdt_disassembles() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dsdt.aml");
        std::fs::write(&path, dsdt::table(&description())).unwrap();
        let Ok(output) = std::process::Command::new("iasl")
            .arg("-d")
            .arg(&path)
            .output()
        else {
            eprintln!("skipped: iasl (package acpica-tools) is not installed");
            return;
        };
        assert!(output.status.success(), "{output:?}");
        let source = std::fs::read_to_string(path.with_extension("dsl")).unwrap();
        for name in [
            "PNP0A08", "PNP0C02", "PNP0501", "ACPI0013", "PNP0C0C", "QEMU0001", "_S5",
        ] {
            assert!(source.contains(name), "{name} in {source}");
        }
    }
}
