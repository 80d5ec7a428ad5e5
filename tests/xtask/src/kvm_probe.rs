//! Whether `/dev/kvm` runs a kernel's code on the processor.
//!
//! A KVM may be there and still not run a stock kernel: one that runs kernel mode by emulation lacks
//! instructions that every kernel uses, and ends with `KVM_EXIT_INTERNAL_ERROR` on them. The probe is
//! a guest of a few instructions in 64-bit kernel mode that uses three of these and then halts.

use std::fmt;
use std::io;
use std::ptr;

use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// What the probe found.
#[derive(Debug)]
pub enum Finding {
    /// Kernel mode runs natively: a stock kernel boots.
    Native,
    /// There is a KVM, but it does not run the code of a stock kernel.
    Emulated {
        /// How the probe's guest ended instead of halting.
        ended: String,
    },
    /// There is no usable KVM.
    Unusable {
        /// What was being done when it failed.
        doing: &'static str,
        /// Why it failed.
        why: io::Error,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Native => write!(f, "/dev/kvm runs kernel mode natively"),
            Self::Emulated { ended } => write!(
                f,
                "/dev/kvm does not run kernel mode natively: a guest of {} instructions ended with \
                 {ended}",
                INSTRUCTIONS
            ),
            Self::Unusable { doing, why } => write!(f, "{doing} failed: {why}"),
        }
    }
}

/// Runs the probe. It takes a few milliseconds and leaves nothing behind.
pub fn probe() -> Finding {
    run().unwrap_or_else(|(doing, why)| Finding::Unusable { doing, why })
}

/// The guest's memory is one block at address 0, in these 4 KiB pages.
const PAGE: usize = 4096;
const PAGE_MAP_LEVEL_4: usize = 1;
const PAGE_DIRECTORY_POINTERS: usize = 2;
const PAGE_DIRECTORY: usize = 3;
const INTERRUPT_TABLE: usize = 4;
const DESCRIPTOR_TABLE: usize = 5;
const CODE: usize = 6;
const DATA: usize = 7;
const STACK: usize = 9;
const PAGES: usize = 10;

/// What the guest leaves in `rbx` if every instruction did its work.
const PASSED: u64 = 0x5eed;

/// How many instructions `PROGRAM` executes.
const INSTRUCTIONS: u32 = 11;

/// Expects `rdi` to point at 16 zero bytes and `rsi` at 64-byte aligned memory.
#[rustfmt::skip]
const PROGRAM: &[u8] = &[
    0x31, 0xc0,                   //       xor    eax, eax
    0x31, 0xd2,                   //       xor    edx, edx
    0xbb, 0xed, 0x5e, 0, 0,       //       mov    ebx, 0x5eed
    0x31, 0xc9,                   //       xor    ecx, ecx
    0xf0, 0x48, 0x0f, 0xc7, 0x0f, //       lock cmpxchg16b [rdi]  ; 0 = 0: stores rcx:rbx
    0x0f, 0xae, 0x06,             //       fxsave [rsi]
    0x31, 0xdb,                   //       xor    ebx, ebx
    0xcc,                         //       int3                   ; goes to HANDLER, comes back
    0xf4,                         //       hlt
];

/// Reads back what `cmpxchg16b` stored, then returns from the exception.
#[rustfmt::skip]
const HANDLER: &[u8] = &[
    0x48, 0x8b, 0x1f,             //       mov    rbx, [rdi]
    0x48, 0xcf,                   //       iretq
];
const HANDLER_OFFSET: usize = 0x100;

type Failure = (&'static str, io::Error);

fn run() -> Result<Finding, Failure> {
    let failed = |doing| move |error: kvm_ioctls::Error| (doing, error.into());
    let kvm = Kvm::new().map_err(failed("opening /dev/kvm"))?;
    let vm = kvm.create_vm().map_err(failed("creating a VM"))?;
    let mut memory = Memory::new().map_err(|why| ("mapping memory", why))?;
    fill(memory.bytes());
    // SAFETY: the block is mapped, of this size, and outlives the VM: `memory` is declared before
    // `vcpu` and dropped after the guest has ended; nothing else touches it while the guest runs.
    unsafe {
        vm.set_user_memory_region(kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: (PAGES * PAGE) as u64,
            userspace_addr: memory.0 as u64,
        })
    }
    .map_err(failed("giving memory to a VM"))?;
    let mut vcpu = vm
        .create_vcpu(0)
        .map_err(failed("creating a virtual processor"))?;
    enter_long_mode(&vcpu).map_err(failed("setting a virtual processor's registers"))?;

    let ended = match vcpu.run() {
        Ok(VcpuExit::Hlt) => match vcpu.get_regs() {
            Ok(registers) if registers.rbx == PASSED => return Ok(Finding::Native),
            Ok(registers) => format!("a wrong result ({:#x})", registers.rbx),
            Err(error) => format!("registers that cannot be read ({error})"),
        },
        Ok(VcpuExit::InternalError) => "KVM_EXIT_INTERNAL_ERROR".into(),
        Ok(VcpuExit::Shutdown) => "a triple fault".into(),
        Ok(exit) => format!("{exit:?}"),
        Err(error) => format!("KVM_RUN failing: {error}"),
    };
    Ok(Finding::Emulated { ended })
}

/// An anonymous mapping of `PAGES` pages.
struct Memory(*mut u8);

impl Memory {
    fn new() -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address that the kernel chooses aliases nothing.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                PAGES * PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        Ok(Self(start.cast()))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is that long, readable and writable, and this is its only reference.
        unsafe { std::slice::from_raw_parts_mut(self.0, PAGES * PAGE) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        let _ = unsafe { munmap(self.0.cast(), PAGES * PAGE) };
    }
}

/// Lays out tables and code.
fn fill(memory: &mut [u8]) {
    let mut quad = |page: usize, offset: usize, value: u64| {
        let at = page * PAGE + offset;
        memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    // Present and writable; the directory's entry maps 2 MiB to itself.
    quad(
        PAGE_MAP_LEVEL_4,
        0,
        (PAGE_DIRECTORY_POINTERS * PAGE) as u64 | 0b11,
    );
    quad(
        PAGE_DIRECTORY_POINTERS,
        0,
        (PAGE_DIRECTORY * PAGE) as u64 | 0b11,
    );
    quad(PAGE_DIRECTORY, 0, 0b1000_0011);
    // Selector 8: 64-bit code; selector 16: data.
    quad(DESCRIPTOR_TABLE, 8, 0x00af_9b00_0000_ffff);
    quad(DESCRIPTOR_TABLE, 16, 0x00cf_9300_0000_ffff);
    // Vector 3 (#BP): a present interrupt gate to the handler; its address is below 64 KiB.
    let handler = (CODE * PAGE + HANDLER_OFFSET) as u64;
    quad(INTERRUPT_TABLE, 3 * 16, handler | 8 << 16 | 0x8e << 40);
    let code = CODE * PAGE;
    memory[code..code + PROGRAM.len()].copy_from_slice(PROGRAM);
    let handler = code + HANDLER_OFFSET;
    memory[handler..handler + HANDLER.len()].copy_from_slice(HANDLER);
}

/// Puts the virtual processor at the program's start in 64-bit kernel mode.
fn enter_long_mode(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    const CR0_PROTECTED_WITH_FPU_AND_PAGING: u64 = 0x8000_0033;
    const CR4_PAE_AND_FXSR: u64 = 0x620;
    const EFER_LONG_MODE_ENABLED_AND_ACTIVE: u64 = 0x500;
    const FLAGS_NONE: u64 = 0b10;

    let flat = |selector, kind, long: bool| kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_: kind,
        present: 1,
        s: 1,
        g: 1,
        l: u8::from(long),
        db: u8::from(!long),
        ..Default::default()
    };
    let table = |page: usize| kvm_dtable {
        base: (page * PAGE) as u64,
        limit: (PAGE - 1) as u16,
        ..Default::default()
    };
    let mut system = vcpu.get_sregs()?;
    system.cs = flat(8, 0b1011, true);
    for segment in [
        &mut system.ds,
        &mut system.es,
        &mut system.fs,
        &mut system.gs,
        &mut system.ss,
    ] {
        *segment = flat(16, 0b0011, false);
    }
    // Some processors refuse to enter 64-bit mode without a 64-bit task segment.
    system.tr = kvm_segment {
        selector: 24,
        limit: 0x67,
        type_: 0b1011,
        present: 1,
        ..Default::default()
    };
    system.gdt = table(DESCRIPTOR_TABLE);
    system.idt = table(INTERRUPT_TABLE);
    system.cr0 = CR0_PROTECTED_WITH_FPU_AND_PAGING;
    system.cr3 = (PAGE_MAP_LEVEL_4 * PAGE) as u64;
    system.cr4 = CR4_PAE_AND_FXSR;
    system.efer = EFER_LONG_MODE_ENABLED_AND_ACTIVE;
    vcpu.set_sregs(&system)?;
    vcpu.set_regs(&kvm_regs {
        rip: (CODE * PAGE) as u64,
        rsp: (STACK * PAGE) as u64,
        rdi: (DATA * PAGE) as u64,
        rsi: (DATA * PAGE + 512) as u64,
        rflags: FLAGS_NONE,
        ..Default::default()
    })
}
