//! Entropy device (section 5.4): the host's random numbers for the guest.

use rustix::rand::{GetRandomFlags, getrandom};
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use virtio_queue::Queue;

use super::event_loop::{Attachment, EventLoop, QueueService};
use super::queue::{self, Buffers, Served};
use super::{ActivateError, Activation, Memory, VirtioDevice, VirtioInterrupt};
use std::sync::Arc;

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
