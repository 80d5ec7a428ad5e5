//! Interrupts: pins of the I/O APIC and message-signalled ones, all raised through irqfds.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KvmIrqRouting,
    kvm_irq_routing_entry,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use weir_devices::pci::Msix;

use super::KvmError;
use crate::layout::FIRST_MSI;

/// Most routes that KVM takes.
const ROUTES_MAX: u32 = 4096;

/// KVM's table from interrupt number to destination. KVM replaces it only as a whole, so all who
/// have an interrupt share this copy.
pub struct Routing {
    vm: Arc<VmFd>,
    table: Mutex<Table>,
}

struct Table {
    /// What each message-signalled interrupt sends, by interrupt number.
    messages: BTreeMap<u32, Message>,
    next: u32,
}

/// The message of a message-signalled interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Message {
    address: u64,
    data: u32,
}

impl Routing {
    /// A table with the I/O APIC's pins, put in force at once.
    pub fn new(vm: Arc<VmFd>) -> Result<Arc<Self>, KvmError> {
        let routing = Self {
            vm,
            table: Mutex::new(Table {
                messages: BTreeMap::new(),
                next: FIRST_MSI,
            }),
        };
        routing
            .install(&routing.table())
            .map_err(KvmError::call("routing the I/O APIC's interrupts"))?;
        Ok(Arc::new(routing))
    }

    /// An event that raises pin `irq` of the I/O APIC, edge-triggered, when written.
    pub fn pin_event(&self, irq: u32) -> Result<EventFd, KvmError> {
        let doing = "connecting an event to an interrupt pin";
        let event = EventFd::new(EFD_NONBLOCK).map_err(|error| KvmError::Call {
            doing,
            source: kvm_ioctls::Error::new(error.raw_os_error().unwrap_or(0)),
        })?;
        self.vm
            .register_irqfd(&event, irq)
            .map_err(KvmError::call(doing))?;
        Ok(event)
    }

    /// Interrupts for one device with `count` vectors.
    pub fn msix(self: &Arc<Self>, count: u16) -> io::Result<Arc<dyn Msix>> {
        let vectors = (0..count)
            .map(|_| {
                Ok(Mutex::new(Vector {
                    gsi: self.allocate()?,
                    event: EventFd::new(EFD_NONBLOCK)?,
                    attached: false,
                }))
            })
            .collect::<io::Result<_>>()?;
        Ok(Arc::new(MsixVectors {
            routing: self.clone(),
            vectors,
        }))
    }

    fn allocate(&self) -> io::Result<u32> {
        let mut table = self.table();
        if table.next >= ROUTES_MAX {
            return Err(io::Error::other(
                "all interrupt numbers of the VM are in use",
            ));
        }
        table.next += 1;
        Ok(table.next - 1)
    }

    /// Makes interrupt `gsi` send `message`.
    fn set(&self, gsi: u32, message: Message) -> io::Result<()> {
        let mut table = self.table();
        if table.messages.get(&gsi) == Some(&message) {
            return Ok(());
        }
        table.messages.insert(gsi, message);
        Ok(self.install(&table)?)
    }

    fn install(&self, table: &Table) -> Result<(), kvm_ioctls::Error> {
        let entries: Vec<_> = (0..FIRST_MSI)
            .map(pin_route)
            .chain(table.messages.iter().map(|(gsi, m)| message_route(*gsi, m)))
            .collect();
        let routing = KvmIrqRouting::from_entries(&entries).expect("bounded by ROUTES_MAX");
        self.vm.set_gsi_routing(&routing)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pin_route(pin: u32) -> kvm_irq_routing_entry {
    let mut route = kvm_irq_routing_entry {
        gsi: pin,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        ..Default::default()
    };
    route.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
    route.u.irqchip.pin = pin;
    route
}

fn message_route(gsi: u32, message: &Message) -> kvm_irq_routing_entry {
    let mut route = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    route.u.msi.address_lo = message.address as u32;
    route.u.msi.address_hi = (message.address >> 32) as u32;
    route.u.msi.data = message.data;
    route
}

/// The message-signalled interrupts of one device.
struct MsixVectors {
    routing: Arc<Routing>,
    vectors: Vec<Mutex<Vector>>,
}

struct Vector {
    gsi: u32,
    event: EventFd,
    /// Whether KVM listens to `event`. It does while the vector is unmasked; a masked vector's
    /// event keeps its count, and KVM delivers it on attaching.
    attached: bool,
}

impl MsixVectors {
    fn vector(&self, index: u16) -> io::Result<MutexGuard<'_, Vector>> {
        let vector = self.vectors.get(usize::from(index)).ok_or_else(|| {
            let count = self.vectors.len();
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("interrupt vector {index} of a device that has {count}"),
            )
        })?;
        Ok(vector.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Msix for MsixVectors {
    fn program(&self, index: u16, address: u64, data: u32, masked: bool) -> io::Result<()> {
        let mut vector = self.vector(index)?;
        if masked {
            if vector.attached {
                self.routing
                    .vm
                    .unregister_irqfd(&vector.event, vector.gsi)?;
                vector.attached = false;
            }
            return Ok(());
        }
        self.routing.set(vector.gsi, Message { address, data })?;
        if !vector.attached {
            self.routing.vm.register_irqfd(&vector.event, vector.gsi)?;
            vector.attached = true;
            // KVM has looked at what was pending and delivers it, but leaves the count. A later
            // event it takes away at once, so this can only remove what has been seen to.
            let _ = vector.event.read();
        }
        Ok(())
    }

    fn event(&self, index: u16) -> io::Result<EventFd> {
        self.vector(index)?.event.try_clone()
    }
}

impl Drop for MsixVectors {
    fn drop(&mut self) {
        for vector in &mut self.vectors {
            let vector = vector.get_mut().unwrap_or_else(PoisonError::into_inner);
            if vector.attached
                && let Err(error) = self.routing.vm.unregister_irqfd(&vector.event, vector.gsi)
            {
                log::warn!("detaching interrupt {}: {error}", vector.gsi);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kvm::vm::{self, Vm};

    /// A device with one vector, or nothing without KVM.
    fn one_vector() -> Option<(Vm, Arc<dyn Msix>)> {
        let Ok(kvm) = vm::open() else {
            eprintln!("skipped: there is no usable /dev/kvm");
            return None;
        };
        let memory = crate::memory::create(crate::layout::MEMORY_MIN).unwrap();
        let vm = Vm::new(&kvm, memory).unwrap();
        let msix = Routing::new(vm.fd().clone()).unwrap().msix(1).unwrap();
        Some((vm, msix))
    }

    #[test]
    fn a_masked_vector_keeps_what_is_pending() {
        let Some((_vm, msix)) = one_vector() else {
            return;
        };
        let event = msix.event(0).unwrap();
        let pending = || event.read().is_ok();
        event.write(1).unwrap();
        assert!(pending(), "before it is programmed");
        msix.program(0, 0xfee0_0000, 0x41, false).unwrap();
        event.write(1).unwrap();
        assert!(!pending(), "KVM takes it");
        msix.program(0, 0xfee0_0000, 0x41, true).unwrap();
        event.write(1).unwrap();
        msix.program(0, 0xfee0_0000, 0x42, true).unwrap();
        msix.program(0, 0xfee0_0000, 0x42, false).unwrap();
        assert!(!pending(), "delivered on unmasking");
    }

    #[test]
    fn a_vector_that_is_not_there_is_refused() {
        let Some((_vm, msix)) = one_vector() else {
            return;
        };
        assert!(msix.event(1).is_err());
        let error = msix.program(1, 0, 0, false).unwrap_err();
        assert!(error.to_string().contains("vector 1"), "{error}");
    }
}
