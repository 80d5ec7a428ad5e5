//! The virtual machine as KVM knows it: memory slots, interrupt controllers, address width.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    CpuId, KVM_API_VERSION, KVM_CAP_DISABLE_QUIRKS2, KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY,
    KVM_X86_QUIRK_SLOT_ZAP_ALL, kvm_enable_cap, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, Kvm, VmFd};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};

use super::{KvmError, open_hint};
use crate::layout;
use crate::memory::GuestMemory;

/// What KVM must offer, and how to call it in a message.
const REQUIRED: [(Cap, &str); 6] = [
    (Cap::Irqchip, "an interrupt controller in the kernel"),
    (Cap::Irqfd, "interrupts from event descriptors (irqfd)"),
    (
        Cap::Ioeventfd,
        "doorbells through event descriptors (ioeventfd)",
    ),
    (Cap::UserMemory, "memory from user space"),
    (Cap::ExtCpuid, "the processor's feature list"),
    (Cap::Pit2, "a timer chip in the kernel"),
];

/// A virtual machine, with guest memory in place and no processors yet.
pub struct Vm {
    fd: Arc<VmFd>,
    /// Keeps the mapping behind KVM's memory slots alive.
    memory: GuestMemory,
    slots: Mutex<Slots>,
    supported_cpuid: CpuId,
    tsc_deadline_timer: bool,
}

/// Numbers of memory slots: a set of free ones below the first never used.
#[derive(Default)]
struct Slots {
    free: BTreeSet<u32>,
    next: u32,
    limit: u32,
}

/// Opens `/dev/kvm` and checks that it can carry a VM of ours.
pub fn open() -> Result<Kvm, KvmError> {
    let kvm = Kvm::new().map_err(|source| KvmError::Open {
        hint: open_hint(source.errno()),
        source,
    })?;
    match kvm.get_api_version() {
        version if version == KVM_API_VERSION as i32 => Ok(kvm),
        version => Err(KvmError::Version(version)),
    }
}

/// Has KVM forget only the translations of a memory slot that is taken away, and not all of the VM's:
/// else each guest process that closes an accelerator makes every other fault its memory in again.
/// Kernels before 6.12 know no better; the VM works there as well.
fn keep_translations(kvm: &Kvm, fd: &VmFd) {
    let known = kvm.check_extension_raw(KVM_CAP_DISABLE_QUIRKS2.into());
    if known & KVM_X86_QUIRK_SLOT_ZAP_ALL as i32 == 0 {
        return;
    }
    let mut quirk = kvm_enable_cap {
        cap: KVM_CAP_DISABLE_QUIRKS2,
        ..Default::default()
    };
    quirk.args[0] = KVM_X86_QUIRK_SLOT_ZAP_ALL.into();
    if let Err(error) = fd.enable_cap(&quirk) {
        log::debug!("KVM keeps dropping all translations with a memory slot: {error}");
    }
}

impl Vm {
    /// Makes a VM with `memory` and KVM's own interrupt controllers.
    pub fn new(kvm: &Kvm, memory: GuestMemory) -> Result<Self, KvmError> {
        if let Some((_, what)) = REQUIRED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
            return Err(KvmError::Lacks(what));
        }
        let fd = kvm.create_vm().map_err(KvmError::call("making a VM"))?;
        keep_translations(kvm, &fd);
        fd.set_identity_map_address(layout::KVM_IDENTITY_MAP)
            .map_err(KvmError::call("placing the identity map"))?;
        fd.set_tss_address(layout::KVM_TSS)
            .map_err(KvmError::call("placing the task state segment"))?;
        fd.create_irq_chip()
            .map_err(KvmError::call("making the interrupt controllers"))?;
        let pit = kvm_pit_config {
            flags: KVM_PIT_SPEAKER_DUMMY,
            ..Default::default()
        };
        fd.create_pit2(pit)
            .map_err(KvmError::call("making the timer chip"))?;
        let supported_cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(KvmError::call("asking for the processor's features"))?;
        let vm = Self {
            fd: Arc::new(fd),
            memory,
            slots: Mutex::new(Slots {
                limit: kvm.get_nr_memslots() as u32,
                ..Default::default()
            }),
            supported_cpuid,
            tsc_deadline_timer: kvm.check_extension(Cap::TscDeadlineTimer),
        };
        vm.add_guest_memory()?;
        Ok(vm)
    }

    fn add_guest_memory(&self) -> Result<(), KvmError> {
        for region in self.memory.iter() {
            let host = region
                .get_host_address(vm_memory::MemoryRegionAddress(0))
                .expect("a mapped region has a first byte");
            // SAFETY: the mapping belongs to `self.memory`, which `self` keeps until after the VM
            // descriptor, and it is sealed at its size.
            unsafe { self.add_slot(region.start_addr().raw_value(), region.len(), host as u64) }?;
        }
        Ok(())
    }

    /// The VM's descriptor, for those who register events on it.
    pub fn fd(&self) -> &Arc<VmFd> {
        &self.fd
    }

    /// Guest memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// What KVM can offer of the processor's features, before it is made one VM's own.
    pub fn supported_cpuid(&self) -> &CpuId {
        &self.supported_cpuid
    }

    /// Whether the local APIC timer counts to a time stamp (its feature bit is ours to set).
    pub fn tsc_deadline_timer(&self) -> bool {
        self.tsc_deadline_timer
    }

    /// Lets the guest reach `len` bytes at host address `host` as `guest`; answers the slot.
    ///
    /// # Safety
    ///
    /// The host memory must stay mapped, shared and unshrunk until the slot is removed or the VM
    /// is gone.
    pub unsafe fn add_slot(&self, guest: u64, len: u64, host: u64) -> Result<u32, KvmError> {
        let slot = self
            .slots()
            .take()
            .ok_or(KvmError::Lacks("another memory slot: all are in use"))?;
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: guest,
            memory_size: len,
            userspace_addr: host,
        };
        // SAFETY: the caller vouches for the host memory.
        let result = unsafe { self.fd.set_user_memory_region(region) };
        if let Err(source) = result {
            self.slots().free.insert(slot);
            return Err(KvmError::Call {
                doing: "giving the guest memory",
                source,
            });
        }
        Ok(slot)
    }

    /// Takes back what [`add_slot`](Self::add_slot) gave; on return no processor uses it.
    pub fn remove_slot(&self, slot: u32) -> Result<(), KvmError> {
        let region = kvm_userspace_memory_region {
            slot,
            ..Default::default()
        };
        // SAFETY: a region of size zero removes the slot; no host memory is named.
        unsafe { self.fd.set_user_memory_region(region) }
            .map_err(KvmError::call("taking memory from the guest"))?;
        self.slots().free.insert(slot);
        Ok(())
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn take(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop_first() {
            return Some(slot);
        }
        let slot = self.next;
        (slot < self.limit).then(|| {
            self.next += 1;
            slot
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_and_end() {
        let mut slots = Slots {
            limit: 2,
            ..Default::default()
        };
        assert_eq!(
            (slots.take(), slots.take(), slots.take()),
            (Some(0), Some(1), None)
        );
        slots.free.insert(0);
        assert_eq!((slots.take(), slots.take()), (Some(0), None));
    }
}
