//! Serving a split virtqueue (section 2.7): the loop round the rings, and the buffers of a chain.

use std::ops::Deref;

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap};

/// Why a queue can be served no longer: the driver broke the rules of the ring. The device then
/// asks for a reset.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An index or address in the ring is wrong.
    #[error("the ring is invalid")]
    Ring(#[from] virtio_queue::Error),
    /// A descriptor points outside the table, in a circle, or to more than 2³² bytes.
    #[error("descriptor chain {0} is broken")]
    BrokenChain(u16),
    /// Section 2.7.4.2 wants readable descriptors first.
    #[error("descriptor chain {0} has a readable buffer after a writable one")]
    Order(u16),
    /// The chain leaves no room for even the least answer.
    #[error("the chain lacks the buffers that every request to this device has")]
    NoRoom,
    /// The buffer for the answer is not guest memory.
    #[error("a buffer for the answer lies outside guest memory")]
    Memory(#[source] vm_memory::GuestMemoryError),
}

/// How far a queue has been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Every buffer; the driver notifies of the next.
    All,
    /// As many as were allowed at once; more may be available.
    Some,
}

/// Takes up to `limit` chains from `queue` and hands each to `handle`, which returns the number of
/// bytes that it wrote to it (section 2.7.8). `interrupt` is called where the driver wants to know.
///
/// Notifications are off meanwhile. They are on again when this returns [`Served::All`], and the
/// ring has been looked at once more since (section 2.7.10).
///
/// # Errors
/// The ring is invalid or `handle` says that a chain is; the queue is then not usable any more.
pub fn serve(
    queue: &mut Queue,
    memory: &GuestMemoryMmap,
    limit: usize,
    mut handle: impl FnMut(Buffers) -> Result<u32, Error>,
    interrupt: impl Fn(),
) -> Result<Served, Error> {
    let mut left = limit;
    loop {
        queue.disable_notification(memory)?;
        let before = left;
        let outcome = serve_available(queue, memory, &mut left, &mut handle);
        if left < before && queue.needs_notification(memory)? {
            interrupt();
        }
        outcome?;
        if left == 0 {
            return Ok(Served::Some);
        }
        if !queue.enable_notification(memory)? {
            return Ok(Served::All);
        }
    }
}

fn serve_available(
    queue: &mut Queue,
    memory: &GuestMemoryMmap,
    left: &mut usize,
    handle: &mut impl FnMut(Buffers) -> Result<u32, Error>,
) -> Result<(), Error> {
    while *left > 0 {
        let Some(chain) = queue.iter(memory)?.next() else {
            break;
        };
        let head = chain.head_index();
        let written = handle(Buffers::of(chain)?)?;
        queue.add_used(memory, head, written)?;
        *left -= 1;
    }
    Ok(())
}

/// The buffers of one chain, whose descriptors have been read once and are not read again.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    /// What the driver gives to the device.
    pub readable: Segments,
    /// What the device may write to.
    pub writable: Segments,
}

impl Buffers {
    /// Reads the descriptors of `chain`, in whatever table they lie.
    ///
    /// # Errors
    /// The chain does not end where it says, or mixes its buffers.
    pub fn of<M>(mut chain: DescriptorChain<M>) -> Result<Self, Error>
    where
        M: Deref,
        M::Target: GuestMemory,
    {
        let head = chain.head_index();
        let mut buffers = Self::default();
        let mut ended = false;
        for descriptor in chain.by_ref() {
            ended = !descriptor.has_next();
            let segment = (descriptor.addr(), descriptor.len());
            if descriptor.is_write_only() {
                buffers.writable.push(segment);
            } else if buffers.writable.list.is_empty() {
                buffers.readable.push(segment);
            } else {
                return Err(Error::Order(head));
            }
        }
        if ended {
            Ok(buffers)
        } else {
            Err(Error::BrokenChain(head))
        }
    }
}

/// A string of bytes in guest memory, in pieces. Addresses are the driver's and unchecked;
/// accessing them checks them.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    list: Vec<(GuestAddress, u32)>,
    len: u64,
}

impl Segments {
    fn push(&mut self, segment: (GuestAddress, u32)) {
        self.len += u64::from(segment.1);
        self.list.push(segment);
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in their order: address and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (GuestAddress, u32)> + '_ {
        self.list.iter().copied()
    }

    /// The first `at` bytes (or all, if there are fewer), and the rest.
    pub fn split_at(self, at: u64) -> (Self, Self) {
        let (mut front, mut back) = (Self::default(), Self::default());
        for (address, len) in self.list {
            let room = u32::try_from(at - front.len).unwrap_or(u32::MAX);
            let head = len.min(room);
            if head > 0 || len == 0 {
                front.push((address, head));
            }
            if head < len {
                // An address that overflows is outside memory, as is the largest one.
                let rest = address.0.saturating_add(u64::from(head));
                back.push((GuestAddress(rest), len - head));
            }
        }
        (front, back)
    }

    /// Copies from the start of the segments into `data`; returns how many bytes there were.
    ///
    /// # Errors
    /// A piece lies outside guest memory.
    pub fn read(
        &self,
        memory: &GuestMemoryMmap,
        data: &mut [u8],
    ) -> Result<usize, vm_memory::GuestMemoryError> {
        let mut done = 0;
        for (address, len) in self.iter() {
            let count = (len as usize).min(data.len() - done);
            memory.read_slice(&mut data[done..done + count], address)?;
            done += count;
        }
        Ok(done)
    }

    /// Copies `data` to the start of the segments; returns how many bytes found room.
    ///
    /// # Errors
    /// A piece lies outside guest memory.
    pub fn write(
        &self,
        memory: &GuestMemoryMmap,
        data: &[u8],
    ) -> Result<usize, vm_memory::GuestMemoryError> {
        let mut done = 0;
        for (address, len) in self.iter() {
            let count = (len as usize).min(data.len() - done);
            memory.write_slice(&data[done..done + count], address)?;
            done += count;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::virtio::testing::{self, Buffer::Readable, DriverQueue};

    #[test]
    fn stops_at_the_limit_and_goes_on_from_there() {
        let memory = testing::memory();
        let mut driver = DriverQueue::new(&memory, 0x1000, 8);
        let mut queue = driver.device_queue(false);
        for _ in 0..5 {
            driver.add(&[Readable(0x10_0000, 1)]);
        }
        let interrupts = Cell::new(0);
        let mut some = || {
            serve(
                &mut queue,
                &memory,
                3,
                |_| Ok(0),
                || interrupts.set(interrupts.get() + 1),
            )
            .unwrap()
        };

        assert_eq!(some(), Served::Some);
        assert_eq!(std::iter::from_fn(|| driver.used()).count(), 3);
        assert_eq!(some(), Served::All);
        assert_eq!(std::iter::from_fn(|| driver.used()).count(), 2);
        assert_eq!(some(), Served::All);
        assert_eq!(interrupts.get(), 2);
    }

    #[test]
    fn buffers_that_come_while_the_last_are_served_are_served_too() {
        let memory = testing::memory();
        let mut driver = DriverQueue::new(&memory, 0x1000, 8);
        let mut queue = driver.device_queue(true);
        driver.add(&[Readable(0x10_0000, 1)]);
        let mut more = 3;

        let handle = |_| {
            if more > 0 {
                more -= 1;
                driver.add(&[Readable(0x10_0000, 1)]);
            }
            Ok(0)
        };
        serve(&mut queue, &memory, 100, handle, || ()).unwrap();

        assert_eq!(std::iter::from_fn(|| driver.used()).count(), 4);
        assert_eq!(driver.avail_event(), 4);
    }

    #[test]
    fn an_index_that_runs_ahead_of_the_ring_is_an_error() {
        let memory = testing::memory();
        let mut driver = DriverQueue::new(&memory, 0x1000, 8);
        let mut queue = driver.device_queue(false);
        for _ in 0..9 {
            driver.offer(0);
        }

        let served = serve(&mut queue, &memory, 100, |_| Ok(0), || ());

        assert!(matches!(served, Err(Error::Ring(_))));
    }

    proptest! {
        #[test]
        fn splitting_keeps_every_byte(
            pieces in prop::collection::vec((any::<u64>(), any::<u32>()), 0..6),
            at in prop_oneof![0..10_000_u64, any::<u64>()],
        ) {
            let mut all = Segments::default();
            for (address, len) in pieces {
                all.push((GuestAddress(address), len));
            }
            let len = all.len();

            let (front, back) = all.split_at(at);

            prop_assert_eq!(front.len(), at.min(len));
            prop_assert_eq!(front.len() + back.len(), len);
        }
    }
}
