//! Entropy device (section 5.4): the host's random numbers for the guest.

use std::sync::Arc;

use rustix::rand::{GetRandomFlags, getrandom};
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use virtio_queue::Queue;

use super::event_loop::{Attachment, EventLoop, QueueService};
use super::queue::{self, Buffers, Served};
use super::{ActivateError, Activation, Memory, VirtioDevice, VirtioInterrupt};

const QUEUE_SIZE: u16 = 64;

/// Bytes given per request. A guest may ask for gigabytes in one; the device may always give less
/// than it was asked for, and asking again costs the guest time rather than the event loop.
const MAX_REQUEST: usize = 4096;

/// Requests answered before the event loop's other work has its turn.
const BATCH: usize = 64;

/// The entropy device.
pub struct Entropy {
    event_loop: EventLoop,
    attachment: Option<Attachment>,
}

impl Entropy {
    /// An entropy device that is served by `event_loop`.
    pub fn new(event_loop: EventLoop) -> Self {
        Self {
            event_loop,
            attachment: None,
        }
    }
}

impl VirtioDevice for Entropy {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn name(&self) -> &str {
        "virtio-rng"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, _offset: u64, _data: &mut [u8]) {}

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn activate(&mut self, mut activation: Activation) -> Result<(), ActivateError> {
        let (queue, kick) = activation.only_queue()?;
        let service = Service {
            queue,
            memory: activation.memory,
            interrupt: activation.interrupt,
            broken: false,
        };
        self.attachment = Some(self.event_loop.attach(vec![kick], service)?);
        Ok(())
    }

    fn reset(&mut self) {
        self.attachment = None;
    }
}

struct Service {
    queue: Queue,
    memory: Memory,
    interrupt: Arc<dyn VirtioInterrupt>,
    broken: bool,
}

impl QueueService for Service {
    fn serve(&mut self, _index: usize) -> Served {
        if self.broken {
            return Served::All;
        }
        let memory = self.memory.clone();
        queue::serve(
            &mut self.queue,
            &self.memory,
            BATCH,
            |buffers| fill(&memory, &buffers),
            || self.interrupt.queue(0),
        )
        .unwrap_or_else(|error| {
            log::warn!("virtio-rng stops until its driver resets it: {error}");
            self.broken = true;
            self.interrupt.needs_reset();
            Served::All
        })
    }
}

/// Writes random bytes into the request's buffers; at least one, as section 5.4.6.1 demands.
fn fill(memory: &Memory, buffers: &Buffers) -> Result<u32, queue::Error> {
    if buffers.writable.is_empty() {
        return Err(queue::Error::NoRoom);
    }
    let wanted = buffers.writable.len().min(MAX_REQUEST as u64) as usize;
    let mut bytes = [0; MAX_REQUEST];
    let mut have = 0;
    while have < wanted {
        match getrandom(&mut bytes[have..wanted], GetRandomFlags::empty()) {
            Ok(count) => have += count,
            Err(rustix::io::Errno::INTR) => {}
            // Never seen once the host has booted; the guest gets what there is.
            Err(error) => {
                log::error!("virtio-rng: reading random numbers of the host: {error}");
                break;
            }
        }
    }
    let written = buffers
        .writable
        .write(memory, &bytes[..have])
        .map_err(queue::Error::Memory)?;
    Ok(written as u32)
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress};
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;
    use crate::virtio::testing::{
        self, Buffer, Buffer::Readable, Buffer::Writable, DriverQueue, MEMORY_SIZE, MockInterrupt,
        MockLoop,
    };

    const DATA: u64 = 0x10_0000;

    struct Fixture {
        memory: Memory,
        driver: DriverQueue,
        event_loop: MockLoop,
        interrupt: Arc<MockInterrupt>,
        kick: EventFd,
        _entropy: Entropy,
    }

    impl Fixture {
        fn new() -> Self {
            let event_loop = MockLoop::default();
            let mut entropy = Entropy::new(event_loop.handle());
            let memory = testing::memory();
            let driver = DriverQueue::new(&memory, 0x1000, 16);
            let interrupt = Arc::new(MockInterrupt::default());
            let kick = EventFd::new(EFD_NONBLOCK).unwrap();
            let activation = Activation {
                memory: memory.clone(),
                queues: vec![(driver.device_queue(true), kick.try_clone().unwrap())],
                interrupt: interrupt.clone(),
                features: 0,
            };
            entropy.activate(activation).unwrap();
            Self {
                memory,
                driver,
                event_loop,
                interrupt,
                kick,
                _entropy: entropy,
            }
        }

        fn request(&mut self, buffers: &[Buffer]) -> Option<u32> {
            self.driver.add(buffers);
            self.kick.write(1).unwrap();
            self.event_loop.run();
            self.driver.used().map(|(_, written)| written)
        }
    }

    #[test]
    fn fills_the_buffers_and_no_more() {
        let mut f = Fixture::new();

        let written = f.request(&[Writable(DATA, 32), Writable(DATA + 64, 32)]);

        assert_eq!(written, Some(64));
        let mut bytes = [0; 128];
        f.memory.read_slice(&mut bytes, GuestAddress(DATA)).unwrap();
        assert_ne!(bytes[..32], [0; 32]);
        assert_eq!(bytes[32..64], [0; 32]);
        assert_ne!(bytes[64..96], [0; 32]);
        assert_ne!(bytes[..32], bytes[64..96]);
        assert_eq!(bytes[96..], [0; 32]);
        assert_eq!(f.interrupt.queue_raised(0), 1);
    }

    #[test]
    fn gives_less_than_a_greedy_guest_asks_for() {
        let mut f = Fixture::new();

        let written = f.request(&[Writable(DATA, 1 << 20)]);

        assert_eq!(written, Some(MAX_REQUEST as u32));
    }

    #[test]
    fn requests_without_room_stop_the_device() {
        for buffers in [
            [Readable(DATA, 64)],
            [Writable(DATA, 0)],
            [Writable(MEMORY_SIZE as u64, 64)],
        ] {
            let mut f = Fixture::new();

            assert_eq!(f.request(&buffers), None);
            assert_eq!(f.interrupt.resets_wanted(), 1);
            assert_eq!(f.request(&[Writable(DATA, 1)]), None);
        }
    }
}
