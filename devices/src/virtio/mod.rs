//! Virtio 1.x: what a device is to its transport, and a transport to its device.
//!
//! A [`VirtioDevice`] knows its queues, its features and its configuration space; a transport
//! ([`pci::VirtioPci`]) carries them to the guest. The two meet in [`Activation`], which the
//! transport hands over when the driver is ready, and in [`VirtioInterrupt`], through which the
//! device reaches the driver.
//!
//! Section numbers refer to the *Virtual I/O Device (VIRTIO)* specification, version 1.2.

pub mod block;
pub mod entropy;
pub mod event_loop;
pub mod pci;
pub mod queue;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::io;
use std::sync::Arc;

use virtio_queue::{Queue, QueueT};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use crate::pci::Window;

/// Guest memory, as every device and the machine hold it. Its layout never changes while the
/// machine runs.
pub type Memory = Arc<GuestMemoryMmap>;

/// A region of guest-physical memory that belongs to a device (section 2.10).
#[derive(Clone)]
pub struct SharedMemory {
    /// Number by which the driver asks for the region.
    pub shmid: u8,
    /// The memory, and the means to map files into it.
    pub window: Arc<dyn Window>,
}

/// What a device gets when its driver has finished the initialisation (section 3.1.1).
pub struct Activation {
    /// The guest's memory.
    pub memory: Memory,
    /// The device's queues in their order, and for each the event that says that the driver has
    /// made buffers available in it. Addresses and sizes have been checked. A queue that the
    /// driver chose not to use is there but not [`ready`](virtio_queue::QueueT::ready), and its
    /// event stays silent. Each event is signalled once at activation, for buffers that were
    /// available before.
    pub queues: Vec<(Queue, EventFd)>,
    /// The way to the driver.
    pub interrupt: Arc<dyn VirtioInterrupt>,
    /// The feature bits that device and driver have agreed upon.
    pub features: u64,
}

impl Activation {
    /// The queue of a device that has one, with its event.
    ///
    /// # Errors
    /// The driver does not use it.
    pub fn only_queue(&mut self) -> Result<(Queue, EventFd), ActivateError> {
        self.queues
            .pop()
            .filter(|(queue, _)| queue.ready())
            .ok_or(ActivateError::QueueMissing(0))
    }
}

/// The ways in which a device can reach its driver.
///
/// All may be called from any thread, and none takes a lock of the transport. A call can only
/// fail where the machine's own events do; that is logged here, since no device could do more.
pub trait VirtioInterrupt: Send + Sync {
    /// Says that queue `index` has used buffers.
    fn queue(&self, index: u16);

    /// Says that the configuration space has changed. Call it after the change.
    fn config_changed(&self);

    /// An event that raises the configuration interrupt when written, for those who may do this
    /// and nothing else. It does not count as a change of the configuration space. Where the
    /// driver has assigned no vector, the event raises nothing.
    ///
    /// # Errors
    /// The descriptor could not be duplicated.
    fn config_event(&self) -> io::Result<EventFd>;

    /// Says that the device can go on only after a reset (DEVICE_NEEDS_RESET, section 2.1.2).
    fn needs_reset(&self);
}

/// Why a device could not be activated.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// A file descriptor or thread that the device needs could not be had.
    #[error("setting up the device's events or threads")]
    Io(#[from] io::Error),
    /// The event loop does not take the device.
    #[error("handing the queues to the event loop")]
    EventLoop(#[from] event_loop::Error),
    /// The activation itself lacks what this device cannot do without.
    #[error("the driver left queue {0} unused, which this device needs")]
    QueueMissing(u16),
    /// The device's own back end did not start.
    #[error("starting the device's back end")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Copies what `space` holds at `offset` into the start of `data`: a [`VirtioDevice::read_config`]
/// on a configuration space that lies in memory.
pub fn copy_config(space: &[u8], offset: u64, data: &mut [u8]) {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| space.get(offset..))
        .unwrap_or_default();
    for (to, from) in data.iter_mut().zip(rest) {
        *to = *from;
    }
}

/// A virtio device, without its transport.
///
/// ```text
///             activate()
///   inactive ────────────▶ active ──┐ serves its queues on the event loop
///      ▲                     │  ▲   │ or on threads of its own
///      └─────────────────────┘  └───┘
///             reset()
/// ```
///
/// The transport calls [`activate`](Self::activate) only while the device is inactive, and
/// [`reset`](Self::reset) at any time; configuration space is reached in either state. All calls
/// come from one thread at a time, most of them a vCPU thread, whose guest waits meanwhile: none
/// may wait for the guest, nor for long.
///
/// A device with little to do per kick attaches its queues to the VMM's
/// [`EventLoop`](event_loop::EventLoop); one that polls or waits starts its own thread in
/// `activate` and ends it in `reset`.
pub trait VirtioDevice: Send {
    /// Device type (section 5), at most 63.
    fn device_type(&self) -> u32;

    /// Short name for messages, such as `virtio-blk`.
    fn name(&self) -> &str;

    /// The device's own feature bits (section 2.2). The transport adds those that it answers for:
    /// VERSION_1, RING_EVENT_IDX and RING_INDIRECT_DESC.
    fn features(&self) -> u64;

    /// For each queue the largest number of descriptors, a power of two.
    fn queue_max_sizes(&self) -> &[u16];

    /// Reads configuration space at `offset`. `data` comes zeroed; what lies beyond the space
    /// stays so.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes configuration space at `offset`. What is read-only or beyond the space is ignored.
    fn write_config(&mut self, offset: u64, data: &[u8]);

    /// The shared-memory region of the device, if it has one; the same at every call.
    fn shared_memory(&self) -> Option<SharedMemory> {
        None
    }

    /// Starts to serve the queues.
    ///
    /// # Errors
    /// Where this fails the device stays inactive and the driver is told DEVICE_NEEDS_RESET.
    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError>;

    /// Goes back to the state before any driver. When this returns, the device touches neither
    /// the queues nor guest memory any more, nor raises interrupts.
    fn reset(&mut self);
}
