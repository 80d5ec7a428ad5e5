//! All the firmware that there is: what a kernel finds where a PC's BIOS would restart it.
//!
//! A Linux kernel on a hardware-reduced machine resets through EFI, and without EFI by jumping to
//! the BIOS in real mode, before it would try the ACPI reset register. So that is where the
//! register is written.

use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::acpi::RESET_VALUE;
use crate::layout;
use crate::memory::GuestMemory;

const RESET_PORT: [u8; 2] = layout::RESET.to_le_bytes();

/// 16-bit code at [`layout::RESET_VECTOR`].
#[rustfmt::skip]
const RESET_CODE: [u8; 7] = [
    0xb0, RESET_VALUE,                  // mov al, RESET_VALUE
    0xba, RESET_PORT[0], RESET_PORT[1], // mov dx, RESET
    0xee,                               // out dx, al
    0xf4,                               // hlt
];

/// Writes it to guest memory.
pub fn write(memory: &GuestMemory) -> Result<(), GuestMemoryError> {
    memory.write_slice(&RESET_CODE, GuestAddress(layout::RESET_VECTOR))
}
