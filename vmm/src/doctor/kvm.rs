//! Whether KVM is there, and whether it runs kernel mode on the processor itself.

use std::fs;
use std::sync::Arc;

use kvm_ioctls::VcpuExit;
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::Finding;
use crate::boot::registers;
use crate::kvm::vm::{self, Vm};
use crate::kvm::{KvmError, open_hint, vcpu};
use crate::layout;
use crate::memory::{self, MemoryError};

/// A guest of five instructions that every stock kernel uses, some of which a KVM that emulates
/// kernel mode has been seen to lack; then it writes a port to say that it has come so far. (A halt
/// would not do: KVM's own interrupt controller waits in it for an interrupt.)
/// `rsi` points to the boot parameters and `rsp` to the boot stack: memory, and aligned.
const PROBE: [u8; 23] = [
    0xf0,
    0x48,
    0x0f,
    0xc7,
    0x0c,
    0x24, // lock cmpxchg16b [rsp]
    0x0f,
    0xae,
    0x86,
    0x00,
    0x01,
    0x00,
    0x00, // fxsave [rsi + 0x100]
    0x0f,
    0x20,
    0xe0, // mov rax, cr4
    0x0f,
    0x22,
    0xe0, // mov cr4, rax
    0x0f,
    0xa2, // cpuid
    0xe6,
    PASSED_PORT as u8, // out PASSED_PORT, al
];

/// The port that the probe writes at its end.
const PASSED_PORT: u16 = 0x10;

/// Why the probe could not be made.
#[derive(Debug, Error)]
enum ProbeError {
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("writing the probe's guest")]
    Write(#[from] GuestMemoryError),
}

/// What is found: `None` without a usable KVM, else whether it runs a stock kernel's code.
pub(super) fn examine() -> (Option<bool>, Vec<Finding>) {
    let kvm = match vm::open() {
        Ok(kvm) => kvm,
        Err(error) => return (None, vec![no_kvm(&error)]),
    };
    let mut findings = vec![Finding::good(
        "kvm",
        "/dev/kvm opens and speaks API version 12",
    )];
    let native = match probe(&kvm) {
        Ok(None) => {
            let text = "it runs kernel mode on the processor: stock kernels boot";
            findings.push(Finding::good("kvm", text));
            true
        }
        Ok(Some(ending)) => {
            findings.push(Finding::problem(
                "kvm",
                format!("it does not run a stock kernel's code: a guest of six instructions ended with {ending}"),
                "this KVM emulates kernel mode (such as pvm in a cloud sandbox). Use a machine with \
                 hardware virtualization; for trying out and testing, `cargo xtask rig` emulates one",
            ));
            false
        }
        Err(error) => {
            let text = format!(
                "a small guest cannot be made: {}",
                crate::cli::chain(&error)
            );
            let advice = "make room: see the findings about memory and limits";
            findings.push(Finding::problem("kvm", text, advice));
            false
        }
    };
    (Some(native), findings)
}

fn no_kvm(error: &KvmError) -> Finding {
    let advice = match error {
        KvmError::Open { source, .. } => open_hint(source.errno()).to_owned() + &virtualization(),
        _ => "use a kernel with Linux's own KVM".to_owned(),
    };
    Finding::problem("kvm", crate::cli::chain(error), advice)
}

/// What the processor says about virtualization.
fn virtualization() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or("");
    match flags
        .split_whitespace()
        .find(|flag| matches!(*flag, "vmx" | "svm"))
    {
        Some(flag) => format!(" (the processor has {flag})"),
        None => " (the processor shows neither vmx nor svm: it is itself virtual without nested \
                 virtualization, or the firmware hides them)"
            .into(),
    }
}

/// Runs the probe; how it ended other than it should.
fn probe(kvm: &kvm_ioctls::Kvm) -> Result<Option<String>, ProbeError> {
    let memory = memory::create(layout::MEMORY_MIN)?;
    memory.write_slice(&PROBE, GuestAddress(layout::KERNEL))?;
    registers::write_tables(&memory)?;
    let vm = Arc::new(Vm::new(kvm, memory)?);
    let mut vcpu = vcpu::create(&vm, 0, 1, layout::KERNEL)?;
    Ok(match vcpu.run() {
        Ok(VcpuExit::IoOut(PASSED_PORT, _)) => None,
        Ok(exit) => Some(format!("{exit:?}")),
        Err(error) => Some(format!("an error: {error}")),
    })
}
