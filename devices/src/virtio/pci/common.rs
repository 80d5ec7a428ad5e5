//! The common configuration structure (section 4.1.4.3) and the driver's side of the negotiation.

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK,
    VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::interrupt::Interrupt;

/// Bytes of the structure, up to the fields of features that are not offered.
pub(super) const LEN: u32 = 0x38;

const ACKNOWLEDGE: u8 = VIRTIO_CONFIG_S_ACKNOWLEDGE as u8;
const DRIVER: u8 = VIRTIO_CONFIG_S_DRIVER as u8;
pub(super) const DRIVER_OK: u8 = VIRTIO_CONFIG_S_DRIVER_OK as u8;
const FEATURES_OK: u8 = VIRTIO_CONFIG_S_FEATURES_OK as u8;
const NEEDS_RESET: u8 = VIRTIO_CONFIG_S_NEEDS_RESET as u8;
const FAILED: u8 = VIRTIO_CONFIG_S_FAILED as u8;

/// What a write to the structure asks the transport to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Reset,
    Activate,
}

/// Why a queue cannot be used as the driver set it up.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueueError {
    #[error("the addresses of queue {0} are not aligned, or outside guest memory")]
    Address(usize),
    #[error("the size of queue {0} is not allowed")]
    Size(usize, #[source] virtio_queue::Error),
}

/// One queue, as the driver has set it up so far.
struct QueueSetup {
    max_size: u16,
    size: u16,
    enabled: bool,
    /// Descriptor area, driver area and device area.
    areas: [u64; 3],
}

impl QueueSetup {
    fn new(max_size: u16) -> Self {
        Self {
            max_size,
            size: max_size,
            enabled: false,
            areas: [0; 3],
        }
    }

    fn build(
        &self,
        index: usize,
        event_idx: bool,
        memory: &GuestMemoryMmap,
    ) -> Result<Queue, QueueError> {
        let mut queue = Queue::new(self.max_size).map_err(|e| QueueError::Size(index, e))?;
        if !self.enabled {
            return Ok(queue);
        }
        let [descriptors, driver, device] = self.areas.map(GuestAddress);
        queue
            .try_set_size(self.size)
            .map_err(|e| QueueError::Size(index, e))?;
        let aligned = queue.try_set_desc_table_address(descriptors).is_ok()
            && queue.try_set_avail_ring_address(driver).is_ok()
            && queue.try_set_used_ring_address(device).is_ok();
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        // A ring at address zero counts as none with those who set zero to say so.
        if aligned && !self.areas.contains(&0) && queue.is_valid(memory) {
            Ok(queue)
        } else {
            Err(QueueError::Address(index))
        }
    }
}

/// The structure's state beside what it shares with the device.
pub(super) struct Common {
    offered: u64,
    accepted: u64,
    device_feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    queues: Vec<QueueSetup>,
}

impl Common {
    /// A device that offers the features `offered` and queues of `max_sizes`.
    pub(super) fn new(offered: u64, max_sizes: &[u16]) -> Self {
        Self {
            offered,
            accepted: 0,
            device_feature_select: 0,
            driver_feature_select: 0,
            queue_select: 0,
            queues: max_sizes.iter().copied().map(QueueSetup::new).collect(),
        }
    }

    /// Forgets the driver.
    pub(super) fn reset(&mut self) {
        let max_sizes: Vec<u16> = self.queues.iter().map(|queue| queue.max_size).collect();
        *self = Self::new(self.offered, &max_sizes);
    }

    /// The features that both sides want.
    pub(super) fn features(&self) -> u64 {
        self.accepted
    }

    /// The queues as the driver wants them; those it left out are not ready.
    pub(super) fn build_queues(&self, memory: &GuestMemoryMmap) -> Result<Vec<Queue>, QueueError> {
        let event_idx = self.accepted & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        self.queues
            .iter()
            .enumerate()
            .map(|(index, queue)| queue.build(index, event_idx, memory))
            .collect()
    }

    /// The whole structure as the driver reads it now.
    pub(super) fn read(&self, interrupt: &Interrupt) -> [u8; LEN as usize] {
        let mut bytes = [0; LEN as usize];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(0x00, &self.device_feature_select.to_le_bytes());
        put(
            0x04,
            &half(self.offered, self.device_feature_select).to_le_bytes(),
        );
        put(0x08, &self.driver_feature_select.to_le_bytes());
        put(
            0x0c,
            &half(self.accepted, self.driver_feature_select).to_le_bytes(),
        );
        put(0x10, &interrupt.config_vector().to_le_bytes());
        put(0x12, &(self.queues.len() as u16).to_le_bytes());
        put(0x14, &[interrupt.status(), interrupt.generation()]);
        put(0x16, &self.queue_select.to_le_bytes());
        // A queue that does not exist reads as size zero (section 4.1.4.3.1).
        if let Some(queue) = self.queues.get(usize::from(self.queue_select)) {
            put(0x18, &queue.size.to_le_bytes());
            put(
                0x1a,
                &interrupt.queue_vector(self.queue_select).to_le_bytes(),
            );
            put(0x1c, &u16::from(queue.enabled).to_le_bytes());
            put(0x1e, &self.queue_select.to_le_bytes());
            for (i, area) in queue.areas.iter().enumerate() {
                put(0x20 + 8 * i, &area.to_le_bytes());
            }
        }
        bytes
    }

    /// Writes one field, in the widths that section 4.1.3.1 allows; all else is ignored.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], interrupt: &Interrupt) -> Effect {
        match (offset, data) {
            (0x00, &[a, b, c, d]) => {
                self.device_feature_select = u32::from_le_bytes([a, b, c, d]);
            }
            (0x08, &[a, b, c, d]) => {
                self.driver_feature_select = u32::from_le_bytes([a, b, c, d]);
            }
            (0x0c, &[a, b, c, d]) => {
                // Once FEATURES_OK is set, the driver must not accept anything else.
                let shift = match self.driver_feature_select {
                    0 => 0,
                    1 => 32,
                    _ => return Effect::Nothing,
                };
                if interrupt.status() & FEATURES_OK == 0 {
                    let value = u64::from(u32::from_le_bytes([a, b, c, d]));
                    self.accepted = self.accepted & !(0xffff_ffff << shift) | value << shift;
                }
            }
            (0x10, &[a, b]) => interrupt.set_config_vector(u16::from_le_bytes([a, b])),
            (0x14, &[status]) => return self.write_status(status, interrupt),
            (0x16, &[a, b]) => self.queue_select = u16::from_le_bytes([a, b]),
            (0x1a, &[a, b]) => {
                interrupt.set_queue_vector(self.queue_select, u16::from_le_bytes([a, b]));
            }
            _ => self.write_queue(offset, data, interrupt),
        }
        Effect::Nothing
    }

    /// Fields of the selected queue, which stand once it is enabled or the driver is running.
    fn write_queue(&mut self, offset: u64, data: &[u8], interrupt: &Interrupt) {
        let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else {
            return;
        };
        if queue.enabled || interrupt.status() & DRIVER_OK != 0 {
            return;
        }
        match (offset, data) {
            (0x18, &[a, b]) => {
                let size = u16::from_le_bytes([a, b]);
                if size.is_power_of_two() && size <= queue.max_size {
                    queue.size = size;
                }
            }
            (0x1c, &[1, 0]) => queue.enabled = true,
            (0x20..0x38, &[a, b, c, d]) if offset.is_multiple_of(4) => {
                let area = &mut queue.areas[(offset as usize - 0x20) / 8];
                let value = u64::from(u32::from_le_bytes([a, b, c, d]));
                *area = if offset.is_multiple_of(8) {
                    *area & !0xffff_ffff | value
                } else {
                    *area & 0xffff_ffff | value << 32
                };
            }
            (0x20..0x38, &[a, b, c, d, e, f, g, h]) if offset.is_multiple_of(8) => {
                queue.areas[(offset as usize - 0x20) / 8] =
                    u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            }
            _ => {}
        }
    }

    /// The driver's steps (section 3.1.1). It may add bits in their order, several at once, and
    /// take none away but by a reset. After FAILED or DEVICE_NEEDS_RESET only a reset helps.
    fn write_status(&mut self, wanted: u8, interrupt: &Interrupt) -> Effect {
        if wanted == 0 {
            return Effect::Reset;
        }
        let current = interrupt.status();
        let taken_away = current & !wanted & !NEEDS_RESET != 0;
        if taken_away || current & (FAILED | NEEDS_RESET) != 0 {
            log::debug!("status {wanted:#04x} written over {current:#04x} is ignored");
            return Effect::Nothing;
        }
        if wanted & FAILED != 0 {
            interrupt.add_status(FAILED);
            return Effect::Nothing;
        }
        let mut status = current | wanted & ACKNOWLEDGE;
        for (bit, before) in [
            (DRIVER, ACKNOWLEDGE),
            (FEATURES_OK, DRIVER),
            (DRIVER_OK, FEATURES_OK),
        ] {
            let refused = bit == FEATURES_OK && !self.features_fit();
            if wanted & bit != 0 && status & before != 0 && !refused {
                status |= bit;
            }
        }
        interrupt.add_status(status);
        if status & !current & DRIVER_OK != 0 {
            Effect::Activate
        } else {
            Effect::Nothing
        }
    }

    fn features_fit(&self) -> bool {
        self.accepted & !self.offered == 0 && self.accepted & 1 << VIRTIO_F_VERSION_1 != 0
    }
}

/// The 32 bits of `features` that `select` names.
fn half(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}
