use std::sync::Mutex;

use proptest::prelude::*;

use super::common::{DRIVER_OK, LEN};
use super::interrupt::NO_VECTOR;
use super::*;
use crate::virtio::testing::{
    self, DriverQueue, MEMORY_SIZE, MockDoorbells, MockMsix, MockWindow, signals,
};

const QUEUE_SIZES: [u16; 2] = [64, 16];
const OWN_FEATURE: u64 = 1 << 3;
const WINDOW: u64 = 1 << 33;

const REGISTERS_AT: u64 = 0xe000_0000;
const MSIX_AT: u64 = 0xe001_0000;
const WINDOW_AT: u64 = 0x40_0000_0000;

// Offsets in the common configuration.
const DEVICE_FEATURE_SELECT: u64 = 0x00;
const DEVICE_FEATURE: u64 = 0x04;
const DRIVER_FEATURE_SELECT: u64 = 0x08;
const DRIVER_FEATURE: u64 = 0x0c;
const CONFIG_VECTOR: u64 = 0x10;
const STATUS: u64 = 0x14;
const GENERATION: u64 = 0x15;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE: u64 = 0x18;
const QUEUE_VECTOR: u64 = 0x1a;
const QUEUE_ENABLE: u64 = 0x1c;
const QUEUE_NOTIFY_OFF: u64 = 0x1e;
const QUEUE_AREAS: u64 = 0x20;

const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const FEATURES_OK: u8 = 8;
const NEEDS_RESET: u8 = 64;
const FAILED: u8 = 128;
const READY: u8 = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;

/// What the device behind the transport has seen.
#[derive(Default)]
struct Seen {
    active: Option<Activation>,
    activations: usize,
    resets: usize,
    refuse: bool,
    config: [u8; 8],
}

struct TestDevice {
    seen: Arc<Mutex<Seen>>,
    window: Arc<MockWindow>,
}

impl VirtioDevice for TestDevice {
    fn device_type(&self) -> u32 {
        63
    }

    fn name(&self) -> &str {
        "test device"
    }

    fn features(&self) -> u64 {
        OWN_FEATURE
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        crate::virtio::copy_config(&self.seen.lock().unwrap().config, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let config = &mut self.seen.lock().unwrap().config;
        for (to, from) in config.iter_mut().skip(offset as usize).zip(data) {
            *to = *from;
        }
    }

    fn shared_memory(&self) -> Option<SharedMemory> {
        Some(SharedMemory {
            shmid: 5,
            window: self.window.clone(),
        })
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let mut seen = self.seen.lock().unwrap();
        if seen.refuse {
            return Err(ActivateError::QueueMissing(0));
        }
        seen.activations += 1;
        seen.active = Some(activation);
        Ok(())
    }

    fn reset(&mut self) {
        let mut seen = self.seen.lock().unwrap();
        seen.resets += 1;
        seen.active = None;
    }
}

/// A device on a machine, with the machine's firmware and the guest's driver in one.
struct Fixture {
    pci: VirtioPci,
    msix: Arc<MockMsix>,
    doorbells: Arc<MockDoorbells>,
    window: Arc<MockWindow>,
    seen: Arc<Mutex<Seen>>,
    memory: Memory,
}

impl Fixture {
    fn new() -> Self {
        let msix = Arc::new(MockMsix::default());
        let doorbells = Arc::new(MockDoorbells::default());
        let window = Arc::new(MockWindow::new(WINDOW));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let memory = testing::memory();
        let device = TestDevice {
            seen: seen.clone(),
            window: window.clone(),
        };
        let pci = VirtioPci::new(
            Box::new(device),
            msix.clone(),
            doorbells.clone(),
            memory.clone(),
        );
        Self {
            pci: pci.unwrap(),
            msix,
            doorbells,
            window,
            seen,
            memory,
        }
    }

    /// A device whose BARs have addresses and decode, and whose MSI-X is on with open vectors.
    fn placed() -> Self {
        let mut f = Self::new();
        f.place(REGISTERS_AT);
        f.set_config(0x14, MSIX_AT as u32);
        f.set_config(0x18, WINDOW_AT as u32);
        f.set_config(0x1c, (WINDOW_AT >> 32) as u32);
        f.decode(true);
        let control = f.msix_capability() + 2;
        f.pci
            .config_write(control, &msix::CONTROL_ENABLE.to_le_bytes());
        for vector in 0..=QUEUE_SIZES.len() as u64 {
            f.put_vector(vector, 0xfee0_0000, 0x40 + vector as u32, false);
        }
        f
    }

    /// A device whose driver is running with both queues, each on the vector after its number.
    fn running() -> Self {
        let mut f = Self::placed();
        f.negotiate();
        f.set(CONFIG_VECTOR, &0_u16.to_le_bytes());
        f.enable_queue(0, 0x1000);
        f.enable_queue(1, 0x8000);
        f.set_status(READY);
        assert_eq!(f.status(), READY);
        f
    }

    fn place(&mut self, registers: u64) {
        self.set_config(0x10, registers as u32);
    }

    fn decode(&mut self, on: bool) -> bool {
        self.pci
            .config_write(0x04, &(u16::from(on) << 1).to_le_bytes())
    }

    fn config(&mut self, offset: usize) -> u32 {
        let mut data = [0; 4];
        self.pci.config_read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn set_config(&mut self, offset: usize, value: u32) -> bool {
        self.pci.config_write(offset, &value.to_le_bytes())
    }

    /// Capabilities in their order: offset, id and, of virtio's own, the kind.
    fn capabilities(&mut self) -> Vec<(usize, u8, u8)> {
        let mut found = Vec::new();
        let mut at = self.config(0x34) as u8;
        while at != 0 {
            let [id, next, _, kind] = self.config(usize::from(at)).to_le_bytes();
            found.push((usize::from(at), id, kind));
            at = next;
        }
        found
    }

    fn virtio_capability(&mut self, kind: u8) -> usize {
        let all = self.capabilities();
        let mut matching = all.iter().filter(|c| (c.1, c.2) == (0x09, kind));
        matching.next().unwrap().0
    }

    fn msix_capability(&mut self) -> usize {
        let all = self.capabilities();
        all.iter().find(|c| c.1 == 0x11).unwrap().0
    }

    fn put_vector(&mut self, vector: u64, address: u64, data: u32, masked: bool) {
        let at = 16 * vector;
        self.pci.bar_write(MSIX_BAR, at, &address.to_le_bytes());
        self.pci.bar_write(MSIX_BAR, at + 8, &data.to_le_bytes());
        self.pci
            .bar_write(MSIX_BAR, at + 12, &u32::from(masked).to_le_bytes());
    }

    fn pending(&mut self) -> u8 {
        let mut data = [0; 8];
        let at = u64::from(msix::layout(QUEUE_SIZES.len() + 1).0);
        self.pci.bar_read(MSIX_BAR, at, &mut data);
        data[0]
    }

    fn get<const N: usize>(&mut self, offset: u64) -> [u8; N] {
        let mut data = [0xaa; N];
        self.pci.bar_read(REGISTERS_BAR, offset, &mut data);
        data
    }

    fn get16(&mut self, offset: u64) -> u16 {
        u16::from_le_bytes(self.get(offset))
    }

    fn set(&mut self, offset: u64, data: &[u8]) {
        self.pci.bar_write(REGISTERS_BAR, offset, data);
    }

    fn status(&mut self) -> u8 {
        self.get::<1>(STATUS)[0]
    }

    fn set_status(&mut self, status: u8) {
        self.set(STATUS, &[status]);
    }

    fn offered(&mut self) -> u64 {
        (0..2_u32).fold(0, |features, half| {
            self.set(DEVICE_FEATURE_SELECT, &half.to_le_bytes());
            features | u64::from(u32::from_le_bytes(self.get(DEVICE_FEATURE))) << (32 * half)
        })
    }

    fn accept(&mut self, features: u64) {
        for half in 0..2_u32 {
            self.set(DRIVER_FEATURE_SELECT, &half.to_le_bytes());
            let value = (features >> (32 * half)) as u32;
            self.set(DRIVER_FEATURE, &value.to_le_bytes());
        }
    }

    /// Up to FEATURES_OK, with everything that is offered.
    fn negotiate(&mut self) {
        self.set_status(ACKNOWLEDGE);
        self.set_status(ACKNOWLEDGE | DRIVER);
        let offered = self.offered();
        self.accept(offered);
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        assert_ne!(self.status() & FEATURES_OK, 0);
    }

    fn select(&mut self, queue: u16) {
        self.set(QUEUE_SELECT, &queue.to_le_bytes());
    }

    fn enable_queue(&mut self, queue: u16, area: u64) {
        let areas = DriverQueue::new(&self.memory, area, 16).areas();
        self.select(queue);
        self.set(QUEUE_SIZE, &16_u16.to_le_bytes());
        for (i, address) in areas.into_iter().enumerate() {
            let at = QUEUE_AREAS + 8 * i as u64;
            self.set(at, &(address as u32).to_le_bytes());
            self.set(at + 4, &((address >> 32) as u32).to_le_bytes());
        }
        self.set(QUEUE_VECTOR, &(queue + 1).to_le_bytes());
        self.set(QUEUE_ENABLE, &1_u16.to_le_bytes());
    }

    fn interrupt(&self) -> Arc<dyn VirtioInterrupt> {
        let seen = self.seen.lock().unwrap();
        seen.active.as_ref().unwrap().interrupt.clone()
    }

    fn is_active(&self) -> bool {
        self.seen.lock().unwrap().active.is_some()
    }

    fn kicks(&self, queue: usize) -> u64 {
        let seen = self.seen.lock().unwrap();
        signals(&seen.active.as_ref().unwrap().queues[queue].1)
    }
}

#[test]
fn says_who_it_is() {
    let mut f = Fixture::new();

    assert_eq!(f.config(0x00), 0x107f_1af4);
    assert_eq!(f.config(0x08), 0x1200_0001);
    assert!(f.config(0x2c) >> 16 >= 0x40);
    assert_eq!(f.config(0x3c) >> 8 & 0xff, 0, "no interrupt pin");
    assert_eq!(f.config(0x04) >> 16 & 0x10, 0x10, "capabilities");
    assert_eq!(f.config(0x100), 0, "no extended capabilities");
}

#[test]
fn lists_each_capability_once_where_the_registers_are() {
    let mut f = Fixture::new();

    let mut kinds: Vec<_> = f.capabilities().iter().map(|c| (c.1, c.2)).collect();
    kinds.sort_unstable();
    let own = [1, 2, 3, 4, 5, 8].map(|kind| (0x09, kind));
    assert_eq!(kinds[..6], own);
    assert_eq!(kinds[6].0, 0x11);
    assert_eq!(kinds.len(), 7);

    let notify = f.virtio_capability(2);
    assert_eq!(f.config(notify + 16), NOTIFY_MULTIPLIER as u32);
    assert!(f.config(notify + 12) >= 2 * NOTIFY_MULTIPLIER as u32);
    let common = f.virtio_capability(1);
    assert_eq!(f.config(common + 12), LEN);

    let shared = f.virtio_capability(8);
    assert_eq!(f.config(shared + 4) as u16, 0x0502, "id and BAR");
    assert_eq!(f.config(shared + 8), 0);
    assert_eq!((f.config(shared + 12), f.config(shared + 20)), (0, 2));

    let msix = f.msix_capability();
    assert_eq!(f.config(msix) >> 16, 2, "three vectors");
    assert_eq!(f.config(msix + 4), MSIX_BAR as u32);
}

#[test]
fn bars_tell_their_size() {
    let mut f = Fixture::new();
    for bar in 0..6 {
        f.set_config(0x10 + 4 * bar, u32::MAX);
    }

    assert_eq!(f.config(0x10), !(REGISTERS_SIZE as u32 - 1));
    assert_eq!(f.config(0x14), 0xffff_f000);
    let low = f.config(0x18);
    assert_eq!(low & 0xf, 0b1100, "64-bit and prefetchable");
    let size = !(u64::from(f.config(0x1c)) << 32 | u64::from(low & !0xf)) + 1;
    assert_eq!(size, WINDOW);
    assert_eq!((f.config(0x20), f.config(0x24)), (0, 0), "not there");
}

#[test]
fn bars_decode_while_the_guest_says_so() {
    let mut f = Fixture::new();
    f.place(REGISTERS_AT);
    f.set_config(0x1c, (WINDOW_AT >> 32) as u32);
    assert!(f.pci.bars().iter().all(|bar| bar.address.is_none()));

    assert!(f.decode(true));
    let addresses: Vec<_> = f.pci.bars().iter().map(|bar| bar.address).collect();
    assert_eq!(addresses, [Some(REGISTERS_AT), None, Some(WINDOW_AT)]);
    assert_eq!(f.window.base(), Some(WINDOW_AT));
    assert!(!f.decode(true), "nothing new");

    assert!(f.decode(false));
    assert!(f.pci.bars().iter().all(|bar| bar.address.is_none()));
    assert_eq!(f.window.base(), None);
}

#[test]
fn doorbells_follow_their_bar() {
    let mut f = Fixture::running();
    let expected = |base: u64| [base + 0x3000, base + 0x3004];
    assert_eq!(f.doorbells.addresses(), expected(REGISTERS_AT));

    f.place(0xd000_0000);
    assert_eq!(f.doorbells.addresses(), expected(0xd000_0000));
    f.decode(false);
    assert!(f.doorbells.addresses().is_empty());
    f.decode(true);
    assert_eq!(f.doorbells.addresses(), expected(0xd000_0000));
    f.set_status(0);
    assert!(f.doorbells.addresses().is_empty());
}

#[test]
fn doorbells_ring_by_event_and_by_exit() {
    let mut f = Fixture::running();
    assert_eq!((f.kicks(0), f.kicks(1)), (1, 1), "once at activation");

    assert!(f.doorbells.ring(REGISTERS_AT + 0x3004));
    assert_eq!((f.kicks(0), f.kicks(1)), (0, 1));
    f.set(0x3000, &0_u16.to_le_bytes());
    assert_eq!((f.kicks(0), f.kicks(1)), (1, 0));
    f.set(0x3008, &2_u16.to_le_bytes());
    f.set(0x3001, &0_u16.to_le_bytes());
    assert_eq!((f.kicks(0), f.kicks(1)), (0, 0), "no such queues");
    f.select(1);
    assert_eq!(f.get16(QUEUE_NOTIFY_OFF), 1);
}

#[test]
fn activates_with_what_was_agreed() {
    let mut f = Fixture::placed();
    let modern = 1 << VIRTIO_F_VERSION_1;
    assert_eq!(f.offered(), OWN_FEATURE | modern | 3 << 28);
    f.set_status(ACKNOWLEDGE);
    f.set_status(ACKNOWLEDGE | DRIVER);
    f.accept(modern | OWN_FEATURE);
    f.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    f.enable_queue(1, 0x8000);

    f.set_status(READY);

    let seen = f.seen.lock().unwrap();
    let active = seen.active.as_ref().unwrap();
    assert_eq!(active.features, modern | OWN_FEATURE);
    assert!(!active.queues[0].0.ready());
    assert_eq!(signals(&active.queues[0].1), 0, "unused");
    let queue = &active.queues[1].0;
    assert!(queue.ready() && !queue.event_idx_enabled());
    assert_eq!((queue.size(), queue.desc_table()), (16, 0x8000));
}

#[test]
fn features_must_be_offered_and_modern() {
    for features in [0, OWN_FEATURE, 1 << 32 | 1 << 4, 1 << 32 | 1 << 40] {
        let mut f = Fixture::placed();
        f.set_status(ACKNOWLEDGE);
        f.set_status(ACKNOWLEDGE | DRIVER);
        f.accept(features);

        f.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);

        assert_eq!(f.status(), ACKNOWLEDGE | DRIVER, "{features:#x}");
        f.set_status(READY);
        assert!(!f.is_active());
    }
}

#[test]
fn features_stand_once_agreed() {
    let mut f = Fixture::placed();
    f.negotiate();
    let before = f.get::<4>(DRIVER_FEATURE);

    f.accept(0);

    assert_eq!(f.get::<4>(DRIVER_FEATURE), before);
}

#[test]
fn features_beyond_64_bits_are_none() {
    let mut f = Fixture::new();
    for select in [2, u32::MAX] {
        f.set(DEVICE_FEATURE_SELECT, &select.to_le_bytes());
        f.set(DRIVER_FEATURE_SELECT, &select.to_le_bytes());
        f.set(DRIVER_FEATURE, &[0xff; 4]);
        assert_eq!(f.get(DEVICE_FEATURE), [0; 4]);
        assert_eq!(f.get(DRIVER_FEATURE), [0; 4]);
    }
}

#[test]
fn status_goes_in_order_and_never_back() {
    let mut f = Fixture::placed();
    f.set_status(DRIVER);
    assert_eq!(f.status(), 0);
    f.set_status(ACKNOWLEDGE | DRIVER_OK);
    assert_eq!(f.status(), ACKNOWLEDGE);
    f.set_status(DRIVER);
    assert_eq!(f.status(), ACKNOWLEDGE, "taking a bit away is ignored");
    f.set_status(ACKNOWLEDGE | NEEDS_RESET | 0x30);
    assert_eq!(f.status(), ACKNOWLEDGE, "bits that are not the driver's");
    assert!(!f.is_active());
}

#[test]
fn a_driver_that_failed_can_only_reset() {
    let mut f = Fixture::placed();
    f.negotiate();
    f.set_status(f.pci.interrupt.status() | FAILED);
    f.set_status(READY | FAILED);
    assert!(!f.is_active());
    assert_eq!(f.status() & DRIVER_OK, 0);

    f.set_status(0);

    assert_eq!(f.status(), 0);
}

#[test]
fn activation_happens_once() {
    let mut f = Fixture::running();

    f.set_status(READY);

    assert_eq!(f.seen.lock().unwrap().activations, 1);
}

#[test]
fn a_reset_forgets_the_driver_and_keeps_the_bus() {
    let mut f = Fixture::running();

    f.set_status(0);

    assert!(!f.is_active());
    assert_eq!(f.seen.lock().unwrap().resets, 1);
    assert_eq!(f.get16(CONFIG_VECTOR), NO_VECTOR);
    f.select(0);
    assert_eq!(f.get16(QUEUE_SIZE), QUEUE_SIZES[0]);
    assert_eq!(f.get16(QUEUE_ENABLE), 0);
    assert_eq!(f.get16(QUEUE_VECTOR), NO_VECTOR);
    assert_eq!(f.get::<8>(QUEUE_AREAS), [0; 8]);
    assert_eq!(f.get::<4>(DRIVER_FEATURE), [0; 4]);
    assert_eq!(f.pci.bars()[0].address, Some(REGISTERS_AT));
    assert!(!f.msix.message(1).unwrap().masked);

    // And everything works again.
    f.negotiate();
    f.enable_queue(0, 0x1000);
    f.set_status(READY);
    assert_eq!(f.seen.lock().unwrap().activations, 2);
}

#[test]
fn power_on_forgets_everything() {
    let mut f = Fixture::running();

    f.pci.reset();

    assert!(!f.is_active());
    assert!(f.doorbells.addresses().is_empty());
    assert_eq!(f.window.base(), None);
    assert!(f.msix.message(1).unwrap().masked);
    assert!(f.pci.bars().iter().all(|bar| bar.address.is_none()));
    assert_eq!(f.config(0x10), 0);
    assert_eq!(f.config(0x04) & 0xffff, 0);
    let msix = f.msix_capability();
    assert_eq!(f.config(msix) >> 16, 2);
}

#[test]
fn queues_take_sizes_that_are_allowed() {
    let mut f = Fixture::placed();
    f.negotiate();
    f.select(0);
    for bad in [0, 3, 63, 128, 0x8000, 0xffff_u16] {
        f.set(QUEUE_SIZE, &bad.to_le_bytes());
        assert_eq!(f.get16(QUEUE_SIZE), 64, "{bad}");
    }
    f.set(QUEUE_SIZE, &1_u16.to_le_bytes());
    assert_eq!(f.get16(QUEUE_SIZE), 1);
}

#[test]
fn queues_that_do_not_exist_have_no_size() {
    let mut f = Fixture::placed();
    f.negotiate();
    for queue in [2, 0x7fff, 0xffff] {
        f.select(queue);
        f.set(QUEUE_SIZE, &16_u16.to_le_bytes());
        f.set(QUEUE_VECTOR, &1_u16.to_le_bytes());
        f.set(QUEUE_ENABLE, &1_u16.to_le_bytes());
        assert_eq!(f.get16(QUEUE_SIZE), 0);
        assert_eq!(f.get16(QUEUE_ENABLE), 0);
    }
}

#[test]
fn queues_stand_once_enabled() {
    let mut f = Fixture::placed();
    f.negotiate();
    f.enable_queue(0, 0x1000);

    f.set(QUEUE_SIZE, &8_u16.to_le_bytes());
    f.set(QUEUE_AREAS, &0x2000_u32.to_le_bytes());
    f.set(QUEUE_ENABLE, &0_u16.to_le_bytes());

    assert_eq!(f.get16(QUEUE_SIZE), 16);
    assert_eq!(f.get(QUEUE_AREAS), 0x1000_u64.to_le_bytes());
    assert_eq!(f.get16(QUEUE_ENABLE), 1);
}

#[test]
fn queues_outside_memory_need_a_reset() {
    let end = MEMORY_SIZE as u64;
    for (area, address) in [
        (0, end),
        (0, end - 16),
        (0, u64::MAX - 15),
        (0, 0x1008),
        (0, 0),
        (1, end - 2),
        (1, 0x2001),
        (1, 0),
        (2, end),
        (2, 0x3002),
        (2, u64::MAX - 3),
    ] {
        let mut f = Fixture::placed();
        f.negotiate();
        f.set(CONFIG_VECTOR, &0_u16.to_le_bytes());
        f.select(0);
        for (i, good) in [0x1000_u64, 0x2000, 0x3000].into_iter().enumerate() {
            let value = if i == area { address } else { good };
            f.set(QUEUE_AREAS + 8 * i as u64, &value.to_le_bytes());
        }
        f.set(QUEUE_ENABLE, &1_u16.to_le_bytes());

        f.set_status(READY);

        assert!(!f.is_active(), "area {area} at {address:#x}");
        assert_eq!(f.status(), READY | NEEDS_RESET);
        assert_eq!(f.msix.raised(0), 1);
        assert!(f.doorbells.addresses().is_empty());
    }
}

#[test]
fn a_device_that_does_not_start_needs_a_reset() {
    let mut f = Fixture::placed();
    f.seen.lock().unwrap().refuse = true;
    f.negotiate();
    f.enable_queue(0, 0x1000);

    f.set_status(READY);

    assert_eq!(f.status(), READY | NEEDS_RESET);
    assert!(f.doorbells.addresses().is_empty());
    f.set(0x3000, &[0, 0]);
}

#[test]
fn a_device_that_breaks_says_so_until_its_reset() {
    let mut f = Fixture::running();

    f.interrupt().needs_reset();

    assert_eq!(f.status(), READY | NEEDS_RESET);
    assert_eq!(f.msix.raised(0), 1);
    f.set_status(READY);
    assert_eq!(f.status(), READY | NEEDS_RESET);
    f.set_status(0);
    assert_eq!(f.status(), 0);
}

#[test]
fn events_go_to_the_vectors_that_the_driver_chose() {
    let mut f = Fixture::running();
    let interrupt = f.interrupt();

    interrupt.queue(1);
    assert_eq!([0, 1, 2].map(|v| f.msix.raised(v)), [0, 0, 1]);
    interrupt.config_changed();
    assert_eq!([0, 1, 2].map(|v| f.msix.raised(v)), [1, 0, 0]);
    interrupt.config_event().unwrap().write(1).unwrap();
    assert_eq!([0, 1, 2].map(|v| f.msix.raised(v)), [1, 0, 0]);
    interrupt.queue(7);

    f.set(QUEUE_VECTOR, &0_u16.to_le_bytes());
    interrupt.queue(1);
    assert_eq!([0, 1, 2].map(|v| f.msix.raised(v)), [1, 0, 0]);
    f.set(QUEUE_VECTOR, &NO_VECTOR.to_le_bytes());
    f.set(CONFIG_VECTOR, &NO_VECTOR.to_le_bytes());
    interrupt.queue(1);
    interrupt.config_changed();
    interrupt.config_event().unwrap().write(1).unwrap();
    assert_eq!([0, 1, 2].map(|v| f.msix.raised(v)), [0, 0, 0]);
    assert_eq!(f.get(ISR), [0], "not with MSI-X");
}

#[test]
fn vectors_that_do_not_exist_cannot_be_assigned() {
    let mut f = Fixture::placed();
    f.select(0);
    for (field, vector) in [(CONFIG_VECTOR, 3_u16), (QUEUE_VECTOR, 0x800)] {
        f.set(field, &2_u16.to_le_bytes());
        assert_eq!(f.get16(field), 2);
        f.set(field, &vector.to_le_bytes());
        assert_eq!(f.get16(field), NO_VECTOR);
    }
}

#[test]
fn without_msix_the_interrupt_status_can_be_polled() {
    let mut f = Fixture::running();
    let control = f.msix_capability() + 2;
    f.pci.config_write(control, &[0, 0]);

    f.interrupt().queue(0);
    f.interrupt().config_changed();

    assert_eq!(f.msix.raised(1), 0);
    assert_eq!(f.get(ISR), [3]);
    assert_eq!(f.get(ISR), [0], "reading clears it");
}

#[test]
fn the_generation_changes_with_the_configuration() {
    let mut f = Fixture::running();
    let before = f.get::<1>(GENERATION);
    assert_eq!(f.get::<1>(GENERATION), before);

    f.interrupt().config_changed();

    assert_ne!(f.get::<1>(GENERATION), before);
}

#[test]
fn device_configuration_is_the_devices() {
    let mut f = Fixture::new();

    f.set(DEVICE + 2, &[1, 2]);

    assert_eq!(f.get(DEVICE), [0, 0, 1, 2]);
    assert_eq!(f.get(DEVICE + 6), [0; 4], "half beyond its end");
    assert_eq!(f.get(DEVICE + 0xff8), [0; 8]);
}

#[test]
fn masks_reach_the_machine() {
    let mut f = Fixture::placed();
    let control = f.msix_capability() + 2;
    let message = f.msix.message(1).unwrap();
    assert_eq!((message.address, message.data), (0xfee0_0000, 0x41));
    assert!(!message.masked);

    f.put_vector(1, 0xfee0_1000, 0x99, true);
    assert!(f.msix.message(1).unwrap().masked);
    f.put_vector(1, 0xfee0_1000, 0x99, false);
    let message = f.msix.message(1).unwrap();
    assert_eq!((message.address, message.data), (0xfee0_1000, 0x99));

    let masked = |f: &Fixture| [0, 1, 2].map(|v| f.msix.message(v).unwrap().masked);
    f.pci.config_write(control, &0xc000_u16.to_le_bytes());
    assert_eq!(masked(&f), [true; 3], "function mask");
    f.pci.config_write(control, &0x8000_u16.to_le_bytes());
    assert_eq!(masked(&f), [false; 3]);
    f.pci.config_write(control, &0_u16.to_le_bytes());
    assert_eq!(masked(&f), [true; 3], "disabled");
}

#[test]
fn vectors_are_pending_behind_their_mask() {
    let mut f = Fixture::running();
    f.put_vector(2, 0xfee0_0000, 0x42, true);
    assert_eq!(f.pending(), 0);

    f.interrupt().queue(1);
    assert_eq!(f.pending(), 0b100);
    f.set(QUEUE_VECTOR, &0_u16.to_le_bytes());
    assert_eq!(f.pending(), 0b100);

    f.put_vector(2, 0xfee0_0000, 0x42, false);
    assert_eq!(f.msix.raised(2), 1, "the machine delivers it");
    assert_eq!(f.pending(), 0);

    f.put_vector(0, 0xfee0_0000, 0x40, true);
    f.interrupt().config_changed();
    f.pci.reset();
    assert_eq!(f.msix.raised(0), 0, "power-on leaves nothing pending");
}

#[test]
fn the_table_takes_aligned_words() {
    let mut f = Fixture::new();
    f.pci.bar_write(MSIX_BAR, 16, &[1; 2]);
    f.pci.bar_write(MSIX_BAR, 18, &[1; 4]);
    f.pci.bar_write(MSIX_BAR, 20, &[1; 8]);
    f.pci.bar_write(MSIX_BAR, 0x30, &[0; 4]);
    let mut entry = [0; 16];
    f.pci.bar_read(MSIX_BAR, 16, &mut entry);
    assert_eq!(entry, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);

    f.pci.bar_write(MSIX_BAR, 16, &[0xff; 8]);
    f.pci.bar_write(MSIX_BAR, 24, &[0xff; 4]);
    f.pci.bar_write(MSIX_BAR, 28, &[0xfe, 0xff, 0xff, 0xff]);
    f.pci.bar_read(MSIX_BAR, 16, &mut entry);
    assert_eq!(entry[..12], [&[0xfc], &[0xff; 11][..]].concat());
    assert_eq!(entry[12..], [0; 4], "only the mask is writable");
    assert_eq!(f.msix.message(1), None, "MSI-X is off");
}

#[test]
fn configuration_space_reaches_the_registers() {
    let mut f = Fixture::new();
    let access = f.virtio_capability(5);
    let aim = |f: &mut Fixture, offset: u64, width: u32| {
        f.pci.config_write(access + 4, &[0]);
        f.set_config(access + 8, offset as u32);
        f.set_config(access + 12, width);
    };

    aim(&mut f, STATUS, 1);
    f.pci.config_write(access + 16, &[ACKNOWLEDGE]);
    assert_eq!(f.status(), ACKNOWLEDGE);
    let mut status = [0];
    f.pci.config_read(access + 16, &mut status);
    assert_eq!(status, [ACKNOWLEDGE]);
    aim(&mut f, 0x12, 2);
    assert_eq!(f.config(access + 16) & 0xffff, 2, "queues");

    for (offset, width) in [(STATUS, 0), (STATUS, 3), (STATUS, 8), (STATUS + 1, 4)] {
        aim(&mut f, offset, width);
        f.set_config(access + 16, 0);
        assert_eq!(f.status(), ACKNOWLEDGE, "{offset:#x}, {width} bytes");
    }
    aim(&mut f, STATUS, 1);
    f.pci.config_write(access + 4, &[WINDOW_BAR as u8]);
    f.pci.config_write(access + 16, &[0]);
    assert_eq!(f.status(), ACKNOWLEDGE, "another BAR");
}

#[test]
fn what_is_not_mapped_in_the_window_reads_as_ones() {
    let mut f = Fixture::placed();
    let mut data = [0; 8];

    f.pci.bar_read(WINDOW_BAR, 0x1000, &mut data);

    assert_eq!(data, [0xff; 8]);
}

#[test]
fn misfits_are_refused() {
    let refused = |device: TestDevice| {
        VirtioPci::new(
            Box::new(device),
            Arc::new(MockMsix::default()),
            Arc::new(MockDoorbells::default()),
            testing::memory(),
        )
        .is_err()
    };
    for (size, expected) in [(0, true), (3 << 20, true), (2048, true), (1 << 40, false)] {
        let device = TestDevice {
            seen: Arc::default(),
            window: Arc::new(MockWindow::new(size)),
        };
        assert_eq!(refused(device), expected, "{size}");
    }
}

/// One access of a guest: to configuration space or a BAR, reading or writing.
#[derive(Clone, Debug)]
enum Access {
    ConfigRead(usize, usize),
    ConfigWrite(usize, Vec<u8>),
    BarRead(usize, u64, usize),
    BarWrite(usize, u64, Vec<u8>),
}

fn any_access() -> impl Strategy<Value = Access> {
    let config_offset = || prop_oneof![9 => 0..0x110_usize, 1 => any::<usize>()];
    // Half of the accesses go where the registers are, in the widths that a CPU has.
    let bar_offset = || {
        prop_oneof![
            8 => 0..0x40_u64,
            2 => 0..0x5000_u64,
            1 => any::<u64>(),
        ]
    };
    let len = || prop_oneof![Just(1_usize), Just(2), Just(4), Just(8), 0..20_usize];
    let bytes = || {
        len().prop_flat_map(|len| {
            let byte = prop_oneof![Just(0_u8), Just(1), Just(0xff), 0..16_u8, any::<u8>()];
            prop::collection::vec(byte, len)
        })
    };
    let bar = || prop_oneof![6 => Just(0_usize), 3 => Just(1), 1 => 0..9_usize];
    prop_oneof![
        1 => (config_offset(), len()).prop_map(|(o, l)| Access::ConfigRead(o, l)),
        2 => (config_offset(), bytes()).prop_map(|(o, b)| Access::ConfigWrite(o, b)),
        2 => (bar(), bar_offset(), len()).prop_map(|(b, o, l)| Access::BarRead(b, o, l)),
        5 => (bar(), bar_offset(), bytes()).prop_map(|(b, o, d)| Access::BarWrite(b, o, d)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_sequence_of_accesses_panics_or_leaks(
        running in any::<bool>(),
        accesses in prop::collection::vec(any_access(), 0..200),
    ) {
        let mut f = if running { Fixture::running() } else { Fixture::new() };
        let identity = f.config(0);
        for access in accesses {
            match access {
                Access::ConfigRead(offset, len) => f.pci.config_read(offset, &mut vec![0; len]),
                Access::ConfigWrite(offset, data) => {
                    let before = f.pci.bars();
                    let changed = f.pci.config_write(offset, &data);
                    prop_assert_eq!(changed, f.pci.bars() != before);
                }
                Access::BarRead(bar, offset, len) => {
                    f.pci.bar_read(bar, offset, &mut vec![0; len]);
                }
                Access::BarWrite(bar, offset, data) => f.pci.bar_write(bar, offset, &data),
            }
            if f.is_active() {
                f.interrupt().queue(0);
                f.interrupt().config_changed();
            } else {
                prop_assert!(f.doorbells.addresses().is_empty());
            }
        }
        prop_assert_eq!(f.config(0), identity);

        f.pci.reset();

        prop_assert!(!f.is_active());
        prop_assert!(f.doorbells.addresses().is_empty());
        prop_assert_eq!(f.window.base(), None);
        prop_assert!((0..3).all(|v| f.msix.message(v).is_none_or(|m| m.masked)));
        prop_assert_eq!(f.status(), 0);
    }
}
