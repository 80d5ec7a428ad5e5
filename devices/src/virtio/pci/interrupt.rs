//! What transport and device share while a driver runs: status, and the ways to the driver.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};

use virtio_bindings::virtio_config::{VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_NEEDS_RESET};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::virtio::VirtioInterrupt;

/// No vector is assigned (section 4.1.5.1.2).
pub(super) const NO_VECTOR: u16 = 0xffff;

const ISR_QUEUE: u8 = 1 << 0;
const ISR_CONFIG: u8 = 1 << 1;

/// Device status, interrupt status, and which event goes to which MSI-X vector.
///
/// Written by the transport under its lock, read from any thread without one. Each field stands
/// alone: what a guest gains from changing vectors under a running device is an interrupt of its
/// own on the old vector or the new.
pub(super) struct Interrupt {
    status: AtomicU8,
    isr: AtomicU8,
    generation: AtomicU8,
    msix_enabled: AtomicBool,
    config_vector: AtomicU16,
    queue_vectors: Vec<AtomicU16>,
    events: Vec<EventFd>,
}

impl Interrupt {
    /// For `queues` queues, with `events` raising one vector each.
    pub(super) fn new(queues: usize, events: Vec<EventFd>) -> Self {
        Self {
            status: AtomicU8::new(0),
            isr: AtomicU8::new(0),
            generation: AtomicU8::new(0),
            msix_enabled: AtomicBool::new(false),
            config_vector: AtomicU16::new(NO_VECTOR),
            queue_vectors: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
            events,
        }
    }

    /// Forgets the driver. The table of vectors is PCI's, and stays.
    pub(super) fn reset(&self) {
        self.status.store(0, Ordering::Release);
        self.isr.store(0, Ordering::Release);
        self.config_vector.store(NO_VECTOR, Ordering::Release);
        for vector in &self.queue_vectors {
            vector.store(NO_VECTOR, Ordering::Release);
        }
    }

    pub(super) fn status(&self) -> u8 {
        self.status.load(Ordering::Acquire)
    }

    /// Adds bits to the status; the device may add its own at the same time.
    pub(super) fn add_status(&self, bits: u8) -> u8 {
        self.status.fetch_or(bits, Ordering::AcqRel)
    }

    pub(super) fn generation(&self) -> u8 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the interrupt status, which clears it (section 4.1.4.5).
    pub(super) fn take_isr(&self) -> u8 {
        self.isr.swap(0, Ordering::AcqRel)
    }

    pub(super) fn set_msix_enabled(&self, enabled: bool) {
        self.msix_enabled.store(enabled, Ordering::Release);
    }

    pub(super) fn config_vector(&self) -> u16 {
        self.config_vector.load(Ordering::Acquire)
    }

    pub(super) fn set_config_vector(&self, vector: u16) {
        self.config_vector
            .store(self.existing(vector), Ordering::Release);
    }

    /// The vector of queue `index`, or none if there is no such queue.
    pub(super) fn queue_vector(&self, index: u16) -> u16 {
        self.queue_vectors
            .get(usize::from(index))
            .map_or(NO_VECTOR, |vector| vector.load(Ordering::Acquire))
    }

    pub(super) fn set_queue_vector(&self, index: u16, vector: u16) {
        if let Some(slot) = self.queue_vectors.get(usize::from(index)) {
            slot.store(self.existing(vector), Ordering::Release);
        }
    }

    /// A vector that does not exist cannot be assigned; the driver reads that it has none.
    fn existing(&self, vector: u16) -> u16 {
        if usize::from(vector) < self.events.len() {
            vector
        } else {
            NO_VECTOR
        }
    }

    fn raise(&self, vector: u16, isr: u8) {
        if !self.msix_enabled.load(Ordering::Acquire) {
            // There is no interrupt pin; a driver without MSI-X can still poll.
            self.isr.fetch_or(isr, Ordering::AcqRel);
        } else if let Some(event) = self.events.get(usize::from(vector)) {
            // Fails only where the counter is full, and then it is raised already.
            let _ = event.write(1);
        }
    }
}

impl VirtioInterrupt for Interrupt {
    fn queue(&self, index: u16) {
        self.raise(self.queue_vector(index), ISR_QUEUE);
    }

    fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.raise(self.config_vector(), ISR_CONFIG);
    }

    fn config_event(&self) -> io::Result<EventFd> {
        match self.events.get(usize::from(self.config_vector())) {
            Some(event) => event.try_clone(),
            None => EventFd::new(EFD_NONBLOCK),
        }
    }

    fn needs_reset(&self) {
        let status = self.add_status(VIRTIO_CONFIG_S_NEEDS_RESET as u8);
        if status & VIRTIO_CONFIG_S_DRIVER_OK as u8 != 0 {
            self.raise(self.config_vector(), ISR_CONFIG);
        }
    }
}
