//! The first processor's state at the kernel's 64-bit entry: long mode, paging on, flat segments.

use kvm_bindings::{kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::kvm::KvmError;
use crate::layout;
use crate::memory::GuestMemory;

const CR0_PROTECTION: u64 = 1;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PHYSICAL_ADDRESS_EXTENSION: u64 = 1 << 5;
const EFER_LONG_MODE_ENABLE: u64 = 1 << 8;
const EFER_LONG_MODE_ACTIVE: u64 = 1 << 10;
/// The bit of RFLAGS that is always one. Interrupts are off.
const RFLAGS_RESERVED: u64 = 1 << 1;

const PAGE_PRESENT_WRITABLE: u64 = 0x3;
const PAGE_LARGE: u64 = 1 << 7;

/// Descriptors as the boot protocol wants them: code at selector 0x10, data at 0x18.
const DESCRIPTORS: [u64; 4] = [
    0,
    0,
    0x00af_9b00_0000_ffff, // 64-bit code, readable
    0x00cf_9300_0000_ffff, // flat data, writable
];

/// Writes the descriptor and page tables that [`set`] points the processor to.
pub fn write_tables(memory: &GuestMemory) -> Result<(), GuestMemoryError> {
    for (index, descriptor) in DESCRIPTORS.iter().enumerate() {
        memory.write_obj(*descriptor, GuestAddress(layout::GDT + 8 * index as u64))?;
    }
    memory.write_obj(0u64, GuestAddress(layout::IDT))?;
    let root = layout::PAGE_TABLES;
    let pointers = root + 0x1000;
    memory.write_obj(pointers | PAGE_PRESENT_WRITABLE, GuestAddress(root))?;
    for gib in 0..4 {
        let directory = pointers + 0x1000 * (gib + 1);
        let entry = GuestAddress(pointers + 8 * gib);
        memory.write_obj(directory | PAGE_PRESENT_WRITABLE, entry)?;
        for index in 0..512 {
            let address = (gib << 30) | (index << 21);
            let page = address | PAGE_PRESENT_WRITABLE | PAGE_LARGE;
            memory.write_obj(page, GuestAddress(directory + 8 * index))?;
        }
    }
    Ok(())
}

/// Sets the registers of `vcpu` for `entry`.
pub fn set(vcpu: &VcpuFd, entry: u64) -> Result<(), KvmError> {
    let mut system = vcpu
        .get_sregs()
        .map_err(KvmError::call("reading a processor's system registers"))?;
    let (code, data) = (code_segment(), data_segment());
    system.cs = code;
    (system.ds, system.es, system.ss) = (data, data, data);
    system.gdt.base = layout::GDT;
    system.gdt.limit = (8 * DESCRIPTORS.len() - 1) as u16;
    system.idt.base = layout::IDT;
    system.idt.limit = 7;
    system.cr0 = CR0_PROTECTION | CR0_EXTENSION_TYPE | CR0_PAGING;
    system.cr3 = layout::PAGE_TABLES;
    system.cr4 = CR4_PHYSICAL_ADDRESS_EXTENSION;
    system.efer = EFER_LONG_MODE_ENABLE | EFER_LONG_MODE_ACTIVE;
    vcpu.set_sregs(&system)
        .map_err(KvmError::call("setting a processor's system registers"))?;
    let registers = kvm_regs {
        rip: entry,
        rsi: layout::ZERO_PAGE,
        rsp: layout::BOOT_STACK,
        rflags: RFLAGS_RESERVED,
        ..Default::default()
    };
    vcpu.set_regs(&registers)
        .map_err(KvmError::call("setting a processor's registers"))
}

fn code_segment() -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: 0x10,
        type_: 0xb, // execute, read, accessed
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    }
}

fn data_segment() -> kvm_segment {
    kvm_segment {
        selector: 0x18,
        type_: 0x3, // read, write, accessed
        db: 1,
        l: 0,
        ..code_segment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_gibibytes_are_mapped_to_themselves() {
        let memory = crate::memory::create(layout::MEMORY_MIN).unwrap();
        write_tables(&memory).unwrap();
        let read = |address: u64| memory.read_obj::<u64>(GuestAddress(address)).unwrap();
        for address in [0u64, 16 << 20, (4 << 30) - 1] {
            let table = |entry: u64| entry & !0xfff;
            let pointers = table(read(layout::PAGE_TABLES));
            let directory = table(read(pointers + 8 * (address >> 30)));
            let page = read(directory + 8 * ((address >> 21) & 0x1ff));
            assert_eq!(page & !0x1f_ffff, address & !0x1f_ffff);
            assert_eq!(page & 0xfff, 0x83);
        }
    }
}
