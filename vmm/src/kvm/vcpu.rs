//! Virtual processors: their state at entry, and the loop that runs them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use super::vm::Vm;
use super::{KvmError, cpuid, msr};
use crate::boot::registers;
use crate::end::{End, Ending};
use crate::platform::Platform;
use crate::sandbox;

/// Makes processor `id` of `count`. Processor 0 starts at `entry`; the others wait for it.
pub fn create(vm: &Vm, id: u32, count: u32, entry: u64) -> Result<VcpuFd, KvmError> {
    let vcpu = vm
        .fd()
        .create_vcpu(u64::from(id))
        .map_err(KvmError::call("making a processor"))?;
    let features = cpuid::for_processor(vm.supported_cpuid(), id, count, vm.tsc_deadline_timer());
    vcpu.set_cpuid2(&features)
        .map_err(KvmError::call("setting a processor's features"))?;
    let msrs = msr::at_boot(cpuid::address_bits(vm.supported_cpuid()));
    let written = vcpu
        .set_msrs(&msrs)
        .map_err(KvmError::call("setting a processor's registers"))?;
    if written < msrs.as_slice().len() {
        return Err(KvmError::Lacks("memory type range registers"));
    }
    if id == 0 {
        registers::set(&vcpu, entry)?;
    }
    Ok(vcpu)
}

/// The running processors of a machine.
pub struct Processors {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Processors {
    /// Runs each of `vcpus` on a thread of its own until the machine ends.
    pub fn start(vcpus: Vec<VcpuFd>, platform: &Arc<Platform>, end: &Arc<End>) -> io::Result<Self> {
        // The signal does nothing but interrupt KVM_RUN.
        extern "C" fn interrupt(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
        register_signal_handler(SIGRTMIN(), interrupt)?;
        let mut processors = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for (id, vcpu) in vcpus.into_iter().enumerate() {
            let (stop, platform, end) = (processors.stop.clone(), platform.clone(), end.clone());
            let thread = thread::Builder::new()
                .name(format!("cpu{id}"))
                .spawn(move || {
                    let _guard = EndOnPanic(&end);
                    if let Err(error) = sandbox::enter_processor() {
                        return end.set(Ending::Failed(crate::cli::chain(&error)));
                    }
                    run(id, vcpu, &stop, &platform, &end);
                })?;
            processors.threads.push(thread);
        }
        Ok(processors)
    }
}

impl Drop for Processors {
    /// Stops all processors and waits for their threads.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // A signal may come just before KVM_RUN and be lost; so it is repeated until heeded.
            while !thread.is_finished() {
                use std::os::unix::thread::JoinHandleExt;
                // SAFETY: the thread is not joined yet, so its handle is valid.
                unsafe { libc::pthread_kill(thread.as_pthread_t(), SIGRTMIN()) };
                thread::sleep(Duration::from_millis(1));
            }
            if thread.join().is_err() {
                log::error!("a processor's thread panicked");
            }
        }
    }
}

/// Ends the machine if its thread panics: a machine with one processor less must not go on.
struct EndOnPanic<'a>(&'a End);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0
                .set(Ending::Failed("a processor's thread panicked".into()));
        }
    }
}

fn run(id: usize, mut vcpu: VcpuFd, stop: &AtomicBool, platform: &Platform, end: &End) {
    while !stop.load(Ordering::Acquire) {
        match step(&mut vcpu, platform) {
            Ok(None) => {}
            Ok(Some(Ending::TripleFault)) => {
                log_state(id, &vcpu);
                return end.set(Ending::TripleFault);
            }
            Ok(Some(ending)) => return end.set(ending),
            Err(why) => return end.set(Ending::Failed(format!("processor {id}: {why}"))),
        }
    }
}

/// Runs the guest to its next exit and answers that. `Some` if the machine ends by it.
fn step(vcpu: &mut VcpuFd, platform: &Platform) -> Result<Option<Ending>, String> {
    let exit = match vcpu.run() {
        Ok(exit) => exit,
        Err(error) => {
            return match error.errno() {
                libc::EINTR | libc::EAGAIN => Ok(None),
                libc::EFAULT => Err("KVM could not reach guest memory (out of memory?)".into()),
                _ => Err(format!("running the guest: {error}")),
            };
        }
    };
    match exit {
        VcpuExit::IoOut(port, data) => platform.port_write(port, data),
        VcpuExit::IoIn(port, data) => platform.port_read(port, data),
        VcpuExit::MmioRead(address, data) => platform.memory_read(address, data),
        VcpuExit::MmioWrite(address, data) => platform.memory_write(address, data),
        VcpuExit::Intr | VcpuExit::Hlt | VcpuExit::IrqWindowOpen => {}
        VcpuExit::Shutdown => return Ok(Some(Ending::TripleFault)),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_CRASH, _) => return Ok(Some(Ending::Panicked)),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => return Ok(Some(Ending::Reset)),
        VcpuExit::SystemEvent(..) => return Ok(Some(Ending::PoweredOff)),
        VcpuExit::FailEntry(reason, cpu) => {
            return Err(format!(
                "the hardware refused to enter the guest (reason {reason:#x}, host CPU {cpu})"
            ));
        }
        VcpuExit::InternalError => return Err(explain_internal_error(vcpu)),
        other => {
            return Err(format!(
                "KVM left the guest for an unknown reason: {other:?}"
            ));
        }
    }
    Ok(None)
}

/// Leaves for whoever looks into a triple fault where it happened.
fn log_state(id: usize, vcpu: &VcpuFd) {
    if let (Ok(registers), Ok(system)) = (vcpu.get_regs(), vcpu.get_sregs()) {
        log::warn!(
            "triple fault of processor {id}: rip {:#x}, rsp {:#x}, cr0 {:#x}, cr2 {:#x}, cr3 {:#x}, \
             idt {:#x}",
            registers.rip,
            registers.rsp,
            system.cr0,
            system.cr2,
            system.cr3,
            system.idt.base
        );
    }
}

/// KVM met an instruction that it had to emulate and could not.
fn explain_internal_error(vcpu: &mut VcpuFd) -> String {
    let rip = vcpu.get_regs().map_or(0, |registers| registers.rip);
    let run = vcpu.get_kvm_run();
    debug_assert_eq!(run.exit_reason, KVM_EXIT_INTERNAL_ERROR);
    // SAFETY: on this exit reason KVM has filled this member of the union.
    let suberror = unsafe { run.__bindgen_anon_1.internal.suberror };
    format!(
        "KVM could not go on at guest address {rip:#x} (internal error {suberror}). A KVM that \
         runs kernel mode by emulation cannot run a stock kernel: see `weir doctor`"
    )
}
