//! Mock machine, driver and queues, for the tests of devices without a VM.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_manager::EventManager;
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::RawDescriptor;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::event_loop::{EventLoop, Subscriber};
use super::{Memory, VirtioInterrupt};
use crate::pci::{Doorbells, Msix, Window};

/// Bytes of [`memory`].
pub const MEMORY_SIZE: usize = 4 << 20;

/// Guest memory of [`MEMORY_SIZE`] bytes from address zero.
pub fn memory() -> Memory {
    let ranges = [(GuestAddress(0), MEMORY_SIZE)];
    Arc::new(GuestMemoryMmap::from_ranges(&ranges).expect("mapping guest memory"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn event() -> EventFd {
    EventFd::new(EFD_NONBLOCK).expect("making an event")
}

/// How often `event` was signalled since it was last asked.
pub fn signals(event: &EventFd) -> u64 {
    event.read().unwrap_or(0)
}

/// What a [`MockMsix`] was last told of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Address of the message.
    pub address: u64,
    /// Data of the message.
    pub data: u32,
    /// Whether it is held back.
    pub masked: bool,
}

/// Interrupts that end in events, whatever they are programmed to.
#[derive(Default)]
pub struct MockMsix {
    events: Mutex<BTreeMap<u16, EventFd>>,
    messages: Mutex<BTreeMap<u16, Message>>,
}

impl MockMsix {
    /// How often `vector` was raised since it was last asked; like a machine, this takes what is
    /// pending.
    pub fn raised(&self, vector: u16) -> u64 {
        lock(&self.events).get(&vector).map_or(0, signals)
    }

    /// What `vector` was last programmed with.
    pub fn message(&self, vector: u16) -> Option<Message> {
        lock(&self.messages).get(&vector).copied()
    }
}

impl Msix for MockMsix {
    fn program(&self, vector: u16, address: u64, data: u32, masked: bool) -> io::Result<()> {
        let message = Message {
            address,
            data,
            masked,
        };
        lock(&self.messages).insert(vector, message);
        Ok(())
    }

    fn event(&self, vector: u16) -> io::Result<EventFd> {
        lock(&self.events)
            .entry(vector)
            .or_insert_with(event)
            .try_clone()
    }
}

/// Doorbells that are rung by the test.
#[derive(Default)]
pub struct MockDoorbells {
    registered: Mutex<BTreeMap<u64, EventFd>>,
}

impl MockDoorbells {
    /// The addresses that have a doorbell.
    pub fn addresses(&self) -> Vec<u64> {
        lock(&self.registered).keys().copied().collect()
    }

    /// Writes to the doorbell at `address`; returns whether there is one.
    pub fn ring(&self, address: u64) -> bool {
        let registered = lock(&self.registered);
        let doorbell = registered.get(&address);
        doorbell.is_some_and(|event| event.write(1).is_ok())
    }
}

impl Doorbells for MockDoorbells {
    fn register(&self, address: u64, event: &EventFd) -> io::Result<()> {
        let event = event.try_clone()?;
        match lock(&self.registered).insert(address, event) {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn unregister(&self, address: u64, _event: &EventFd) -> io::Result<()> {
        match lock(&self.registered).remove(&address) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A window that keeps account of what would be mapped.
pub struct MockWindow {
    size: u64,
    mappings: Mutex<BTreeMap<u64, u64>>,
    base: Mutex<Option<u64>>,
}

impl MockWindow {
    /// A window of `size` bytes with nothing mapped.
    pub fn new(size: u64) -> Self {
        Self {
            size,
            mappings: Mutex::default(),
            base: Mutex::default(),
        }
    }

    /// Offset and length of what is mapped.
    pub fn mappings(&self) -> Vec<(u64, u64)> {
        lock(&self.mappings)
            .iter()
            .map(|(offset, len)| (*offset, *len))
            .collect()
    }

    /// Where the window was last moved.
    pub fn base(&self) -> Option<u64> {
        *lock(&self.base)
    }
}

impl Window for MockWindow {
    fn size(&self) -> u64 {
        self.size
    }

    /// Refuses what the contract forbids: misaligned, outside the window, or overlapping.
    fn map(&self, offset: u64, len: u64, _file: BorrowedFd<'_>) -> io::Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= self.size);
        let mut mappings = lock(&self.mappings);
        let free = end.is_some_and(|end| {
            mappings
                .iter()
                .all(|(other, size)| end <= *other || other + size <= offset)
        });
        if len == 0 || !(offset | len).is_multiple_of(4096) || !free {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        mappings.insert(offset, len);
        Ok(())
    }

    fn unmap(&self, offset: u64) -> io::Result<()> {
        match lock(&self.mappings).remove(&offset) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn moved(&self, base: Option<u64>) {
        *lock(&self.base) = base;
    }
}

/// Counts what a device tells its driver.
pub struct MockInterrupt {
    queues: Mutex<BTreeMap<u16, u64>>,
    config: EventFd,
    resets: AtomicU64,
}

impl Default for MockInterrupt {
    fn default() -> Self {
        Self {
            queues: Mutex::default(),
            config: event(),
            resets: AtomicU64::new(0),
        }
    }
}

impl MockInterrupt {
    /// How often queue `index` was said to have used buffers, since it was last asked.
    pub fn queue_raised(&self, index: u16) -> u64 {
        lock(&self.queues).remove(&index).unwrap_or(0)
    }

    /// How often the configuration interrupt was raised, by whatever way, since it was last asked.
    pub fn config_raised(&self) -> u64 {
        signals(&self.config)
    }

    /// How often the device asked for a reset.
    pub fn resets_wanted(&self) -> u64 {
        self.resets.load(Ordering::SeqCst)
    }
}

impl VirtioInterrupt for MockInterrupt {
    fn queue(&self, index: u16) {
        *lock(&self.queues).entry(index).or_default() += 1;
    }

    fn config_changed(&self) {
        let _ = self.config.write(1);
    }

    fn config_event(&self) -> io::Result<EventFd> {
        self.config.try_clone()
    }

    fn needs_reset(&self) {
        self.resets.fetch_add(1, Ordering::SeqCst);
    }
}

/// A VMM's event loop, turned by hand.
pub struct MockLoop {
    manager: EventManager<Subscriber>,
}

impl Default for MockLoop {
    fn default() -> Self {
        Self {
            manager: EventManager::new().expect("making an event manager"),
        }
    }
}

impl MockLoop {
    /// A handle for devices.
    pub fn handle(&self) -> EventLoop {
        EventLoop::new(&self.manager)
    }

    /// Handles events until there are none.
    pub fn run(&mut self) {
        while self.manager.run_with_timeout(0).expect("running events") > 0 {}
    }

    /// Handles events at most `turns` times.
    pub fn turn(&mut self, turns: usize) {
        for _ in 0..turns {
            self.manager.run_with_timeout(0).expect("running events");
        }
    }
}

/// A buffer of a request, as the driver describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// `len` bytes at `address` for the device to read.
    Readable(u64, u32),
    /// `len` bytes at `address` for the device to write.
    Writable(u64, u32),
}

/// The driver's side of one split queue in guest memory. Rings lie at the start of `area`.
pub struct DriverQueue {
    memory: Memory,
    area: GuestAddress,
    size: u16,
    next_descriptor: u16,
    next_used: u16,
}

impl DriverQueue {
    /// An empty queue of `size` descriptors (a power of two) at `area`, a multiple of 16.
    pub fn new(memory: &Memory, area: u64, size: u16) -> Self {
        Self {
            memory: memory.clone(),
            area: GuestAddress(area),
            size,
            next_descriptor: 0,
            next_used: 0,
        }
    }

    /// Addresses of descriptor table, available ring and used ring.
    pub fn areas(&self) -> [u64; 3] {
        let size = u64::from(self.size);
        let descriptors = self.area.0;
        let available = descriptors + 16 * size;
        let used = (available + 6 + 2 * size).next_multiple_of(4);
        [descriptors, available, used]
    }

    /// The device's side, as a transport would hand it over.
    pub fn device_queue(&self, event_idx: bool) -> Queue {
        let mut queue = Queue::new(self.size).expect("making a queue");
        let [descriptors, available, used] = self.areas();
        let halves = |address: u64| (Some(address as u32), Some((address >> 32) as u32));
        let (low, high) = halves(descriptors);
        queue.set_desc_table_address(low, high);
        let (low, high) = halves(available);
        queue.set_avail_ring_address(low, high);
        let (low, high) = halves(used);
        queue.set_used_ring_address(low, high);
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        queue
    }

    fn load(&self, address: u64) -> u16 {
        self.memory
            .read_obj(GuestAddress(address))
            .expect("reading a ring")
    }

    fn store(&self, address: u64, value: u16) {
        self.memory
            .write_obj(value, GuestAddress(address))
            .expect("writing a ring");
    }

    /// Writes one descriptor of the table, with no check whatever.
    pub fn put_descriptor(&mut self, index: u16, descriptor: Descriptor) {
        let [table, _, _] = self.areas();
        let at = GuestAddress(table + 16 * u64::from(index));
        self.memory
            .write_obj(RawDescriptor::from(descriptor), at)
            .expect("writing a descriptor");
    }

    /// Makes the chain that starts at descriptor `head` available.
    pub fn offer(&mut self, head: u16) {
        let [_, available, _] = self.areas();
        let next = self.load(available + 2);
        self.store(available + 4 + 2 * u64::from(next % self.size), head);
        self.store(available + 2, next.wrapping_add(1));
    }

    /// Makes a chain of `buffers` available, in the descriptors after those of the last chain.
    /// Returns its head.
    pub fn add(&mut self, buffers: &[Buffer]) -> u16 {
        let head = self.next_descriptor % self.size;
        for (i, buffer) in buffers.iter().enumerate() {
            let index = self.next_descriptor % self.size;
            self.next_descriptor = self.next_descriptor.wrapping_add(1);
            let next = self.next_descriptor % self.size;
            let (address, len, kind) = match *buffer {
                Buffer::Readable(address, len) => (address, len, 0),
                Buffer::Writable(address, len) => (address, len, VRING_DESC_F_WRITE),
            };
            let more = if i + 1 < buffers.len() {
                VRING_DESC_F_NEXT
            } else {
                0
            };
            let flags = (kind | more) as u16;
            self.put_descriptor(index, Descriptor::new(address, len, flags, next));
        }
        self.offer(head);
        head
    }

    /// The next chain that the device has used: head and bytes written.
    pub fn used(&mut self) -> Option<(u16, u32)> {
        let [_, _, ring] = self.areas();
        if self.load(ring + 2) == self.next_used {
            return None;
        }
        let slot = ring + 4 + 8 * u64::from(self.next_used % self.size);
        self.next_used = self.next_used.wrapping_add(1);
        let written = u32::from(self.load(slot + 4)) | u32::from(self.load(slot + 6)) << 16;
        Some((self.load(slot), written))
    }

    /// Asks for an interrupt once the device has used buffer `index` (VIRTIO_F_EVENT_IDX).
    pub fn set_used_event(&mut self, index: u16) {
        let [_, available, _] = self.areas();
        self.store(available + 4 + 2 * u64::from(self.size), index);
    }

    /// The index at which the device wants to be notified (VIRTIO_F_EVENT_IDX).
    pub fn avail_event(&self) -> u16 {
        let [_, _, used] = self.areas();
        self.load(used + 4 + 8 * u64::from(self.size))
    }
}
