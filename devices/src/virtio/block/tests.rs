use std::fs;
use std::io::Write;

use proptest::prelude::*;
use tempfile::NamedTempFile;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT};
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{QueueT, desc::RawDescriptor};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;
use crate::virtio::testing::{
    self, Buffer, Buffer::Readable, Buffer::Writable, DriverQueue, MEMORY_SIZE, MockInterrupt,
    MockLoop,
};

const HEADER: u64 = 0x10_0000;
const STATUS: u64 = 0x10_1000;
const DATA: u64 = 0x10_2000;
const UNTOUCHED: u8 = 0xee;
const SECTORS: u64 = 64;

/// A disk with a driver, whose sector `n` is filled with the byte `n`.
struct Fixture {
    image: NamedTempFile,
    memory: Memory,
    driver: DriverQueue,
    block: Block,
    event_loop: MockLoop,
    interrupt: Arc<MockInterrupt>,
    kick: EventFd,
}

fn image() -> NamedTempFile {
    let mut image = NamedTempFile::new().unwrap();
    for sector in 0..SECTORS as u8 {
        image.write_all(&[sector; SECTOR as usize]).unwrap();
    }
    image
}

impl Fixture {
    fn new(read_only: bool, event_idx: bool) -> Self {
        let image = image();
        let event_loop = MockLoop::default();
        let mut block =
            Block::open(image.path(), read_only, "serial", event_loop.handle()).unwrap();
        let memory = testing::memory();
        let driver = DriverQueue::new(&memory, 0x1000, 16);
        let interrupt = Arc::new(MockInterrupt::default());
        let kick = EventFd::new(EFD_NONBLOCK).unwrap();
        let activation = Activation {
            memory: memory.clone(),
            queues: vec![(driver.device_queue(event_idx), kick.try_clone().unwrap())],
            interrupt: interrupt.clone(),
            features: block.features(),
        };
        block.activate(activation).unwrap();
        Self {
            image,
            memory,
            driver,
            block,
            event_loop,
            interrupt,
            kick,
        }
    }

    fn put_header(&self, kind: u32, sector: u64) {
        self.memory.write_obj(kind, GuestAddress(HEADER)).unwrap();
        self.memory
            .write_obj(sector, GuestAddress(HEADER + 8))
            .unwrap();
    }

    fn run(&mut self) {
        self.kick.write(1).unwrap();
        self.event_loop.run();
    }

    /// One request with `data` between header and status; returns the status and the used length.
    fn request(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u8, u32) {
        self.put_header(kind, sector);
        self.memory
            .write_obj(UNTOUCHED, GuestAddress(STATUS))
            .unwrap();
        let mut buffers = vec![Readable(HEADER, 16)];
        buffers.extend_from_slice(data);
        buffers.push(Writable(STATUS, 1));
        let head = self.driver.add(&buffers);
        self.run();
        let (used, len) = self.driver.used().expect("a used buffer");
        assert_eq!(used, head);
        (self.memory.read_obj(GuestAddress(STATUS)).unwrap(), len)
    }

    fn bytes(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }
}

const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IOERR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPP: u8 = VIRTIO_BLK_S_UNSUPP as u8;

#[test]
fn reads_into_several_segments() {
    let mut f = Fixture::new(false, false);
    let data = [Writable(DATA, 100), Writable(DATA + 0x1000, 924)];

    let answer = f.request(VIRTIO_BLK_T_IN, 7, &data);

    assert_eq!(answer, (OK, 1025));
    assert_eq!(f.bytes(DATA, 100), [7; 100]);
    assert_eq!(f.bytes(DATA + 0x1000, 412), [7; 412]);
    assert_eq!(f.bytes(DATA + 0x1000 + 412, 512), [8; 512]);
    assert_eq!(f.interrupt.queue_raised(0), 1);
}

#[test]
fn writes_what_the_next_reader_finds() {
    let mut f = Fixture::new(false, false);
    f.memory
        .write_slice(&[0xab; 512], GuestAddress(DATA))
        .unwrap();

    let answer = f.request(
        VIRTIO_BLK_T_OUT,
        3,
        &[Readable(DATA, 500), Readable(DATA, 12)],
    );

    assert_eq!(answer, (OK, 1));
    let image = fs::read(f.image.path()).unwrap();
    assert_eq!(image.len() as u64, SECTORS * SECTOR);
    assert_eq!(image[3 * 512..4 * 512], [0xab; 512]);
    assert_eq!(image[4 * 512], 4);
}

#[test]
fn takes_header_and_status_in_any_layout() {
    let mut f = Fixture::new(false, false);
    f.put_header(VIRTIO_BLK_T_IN, 9);
    let head = f.driver.add(&[
        Readable(HEADER, 3),
        Readable(HEADER + 3, 0),
        Readable(HEADER + 3, 13),
        // The last byte of the chain is the status, wherever it lies.
        Writable(DATA, 513),
    ]);

    f.run();

    assert_eq!(f.driver.used(), Some((head, 513)));
    assert_eq!(f.bytes(DATA, 512), [9; 512]);
    assert_eq!(f.bytes(DATA + 512, 1), [OK]);
}

#[test]
fn takes_indirect_descriptors() {
    let mut f = Fixture::new(false, false);
    f.put_header(VIRTIO_BLK_T_IN, 1);
    let table = 0x20_0000;
    let next = VRING_DESC_F_NEXT as u16;
    for (i, descriptor) in [
        Descriptor::new(HEADER, 16, next, 1),
        Descriptor::new(DATA, 512, next | 2, 2),
        Descriptor::new(STATUS, 1, 2, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let at = GuestAddress(table + 16 * i as u64);
        f.memory
            .write_obj(RawDescriptor::from(descriptor), at)
            .unwrap();
    }
    f.driver.put_descriptor(
        5,
        Descriptor::new(table, 48, VRING_DESC_F_INDIRECT as u16, 0),
    );
    f.driver.offer(5);

    f.run();

    assert_eq!(f.driver.used(), Some((5, 513)));
    assert_eq!(f.bytes(DATA, 512), [1; 512]);
}

#[test]
fn refuses_what_is_not_on_the_disk() {
    let mut f = Fixture::new(false, false);
    let sector = [Writable(DATA, 512)];

    assert_eq!(f.request(VIRTIO_BLK_T_IN, SECTORS - 1, &sector).0, OK);
    assert_eq!(f.request(VIRTIO_BLK_T_IN, SECTORS, &sector), (IOERR, 0));
    assert_eq!(f.request(VIRTIO_BLK_T_IN, u64::MAX, &sector).0, IOERR);
    assert_eq!(
        f.request(VIRTIO_BLK_T_IN, u64::MAX / 512 + 1, &sector).0,
        IOERR
    );
    assert_eq!(
        f.request(VIRTIO_BLK_T_IN, SECTORS - 1, &[Writable(DATA, 1024)])
            .0,
        IOERR
    );
    assert_eq!(
        f.request(VIRTIO_BLK_T_IN, 0, &[Writable(DATA, 511)]).0,
        IOERR
    );
    assert_eq!(
        f.request(VIRTIO_BLK_T_OUT, SECTORS, &[Readable(DATA, 512)])
            .0,
        IOERR
    );
    let image = fs::metadata(f.image.path()).unwrap();
    assert_eq!(image.len(), SECTORS * SECTOR);
}

#[test]
fn refuses_data_outside_guest_memory() {
    let mut f = Fixture::new(false, false);

    let beyond = MEMORY_SIZE as u64;
    assert_eq!(
        f.request(VIRTIO_BLK_T_IN, 0, &[Writable(beyond, 512)]).0,
        IOERR
    );
    assert_eq!(
        f.request(VIRTIO_BLK_T_IN, 0, &[Writable(beyond - 1, 512)])
            .0,
        IOERR
    );
    assert_eq!(
        f.request(VIRTIO_BLK_T_OUT, 0, &[Readable(u64::MAX - 1, 512)])
            .0,
        IOERR
    );
    assert_eq!(f.interrupt.resets_wanted(), 0);
}

#[test]
fn read_only_disks_are_not_written() {
    let mut f = Fixture::new(true, false);

    assert_ne!(f.block.features() & 1 << VIRTIO_BLK_F_RO, 0);
    assert_eq!(
        f.request(VIRTIO_BLK_T_OUT, 0, &[Readable(DATA, 512)]).0,
        IOERR
    );
    assert_eq!(f.request(VIRTIO_BLK_T_IN, 5, &[Writable(DATA, 512)]).0, OK);
}

#[test]
fn flushes_and_says_its_serial_number() {
    let mut f = Fixture::new(false, false);

    assert_eq!(f.request(VIRTIO_BLK_T_FLUSH, 0, &[]), (OK, 1));
    assert_eq!(
        f.request(VIRTIO_BLK_T_GET_ID, 0, &[Writable(DATA, 20)]),
        (OK, 21)
    );
    assert_eq!(f.bytes(DATA, 20), *b"serial\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(
        f.request(VIRTIO_BLK_T_GET_ID, 0, &[Writable(DATA, 3)]),
        (OK, 4)
    );
}

#[test]
fn unknown_requests_are_unsupported() {
    let mut f = Fixture::new(false, false);

    assert_eq!(f.request(0xdead, 0, &[Writable(DATA, 512)]), (UNSUPP, 0));
}

#[test]
fn one_kick_serves_all_and_interrupts_no_oftener_than_asked() {
    let mut f = Fixture::new(false, true);
    f.put_header(VIRTIO_BLK_T_FLUSH, 0);
    f.driver.set_used_event(3);
    for _ in 0..5 {
        f.driver.add(&[Readable(HEADER, 16), Writable(STATUS, 1)]);
    }

    f.run();

    assert_eq!(std::iter::from_fn(|| f.driver.used()).count(), 5);
    assert_eq!(f.interrupt.queue_raised(0), 1);
    assert_eq!(f.driver.avail_event(), 5);
    f.driver.add(&[Readable(HEADER, 16), Writable(STATUS, 1)]);
    f.run();
    assert_eq!(f.driver.used().map(|(_, len)| len), Some(1));
    assert_eq!(f.interrupt.queue_raised(0), 0, "the driver asked for none");
}

#[test]
fn a_broken_ring_stops_the_device_until_its_reset() {
    type Breakage = fn(&mut Fixture);
    let breakages: [(&str, Breakage); 6] = [
        ("no status byte", |f| {
            f.driver.add(&[Readable(HEADER, 16)]);
        }),
        ("short header", |f| {
            f.driver.add(&[Readable(HEADER, 15), Writable(STATUS, 1)]);
        }),
        ("status outside memory", |f| {
            f.driver
                .add(&[Readable(HEADER, 16), Writable(MEMORY_SIZE as u64, 1)]);
        }),
        ("readable after writable", |f| {
            f.driver.add(&[Writable(STATUS, 1), Readable(HEADER, 16)]);
        }),
        ("a circle", |f| {
            let next = VRING_DESC_F_NEXT as u16;
            f.driver
                .put_descriptor(0, Descriptor::new(HEADER, 16, next, 0));
            f.driver.offer(0);
        }),
        ("a head outside the table", |f| f.driver.offer(16)),
    ];
    for (what, break_it) in breakages {
        let mut f = Fixture::new(false, false);

        break_it(&mut f);
        f.run();

        assert_eq!(f.interrupt.resets_wanted(), 1, "{what}");
        f.run();
        assert_eq!(f.interrupt.resets_wanted(), 1, "{what}: said once");
        assert_eq!(f.driver.used(), None, "{what}");
    }
}

#[test]
fn after_a_reset_nothing_is_served_until_the_next_activation() {
    let mut f = Fixture::new(false, false);
    f.put_header(VIRTIO_BLK_T_FLUSH, 0);
    f.driver.add(&[Readable(HEADER, 16), Writable(STATUS, 1)]);

    f.block.reset();
    f.run();
    assert_eq!(f.driver.used(), None);

    let activation = Activation {
        memory: f.memory.clone(),
        queues: vec![(f.driver.device_queue(false), f.kick.try_clone().unwrap())],
        interrupt: f.interrupt.clone(),
        features: 0,
    };
    f.block.activate(activation).unwrap();
    f.run();
    assert_eq!(f.driver.used(), Some((0, 1)));
}

#[test]
fn needs_its_queue() {
    let mut f = Fixture::new(false, false);
    f.block.reset();
    let mut queue = f.driver.device_queue(false);
    queue.set_ready(false);

    let refused = f.block.activate(Activation {
        memory: f.memory.clone(),
        queues: vec![(queue, f.kick.try_clone().unwrap())],
        interrupt: f.interrupt.clone(),
        features: 0,
    });

    assert!(matches!(refused, Err(ActivateError::QueueMissing(0))));
}

#[test]
fn says_its_size_to_the_driver() {
    let f = Fixture::new(false, false);
    let mut config = [0; 32];

    f.block.read_config(0, &mut config);

    assert_eq!(config[0..8], SECTORS.to_le_bytes());
    assert_eq!(config[12..16], 254_u32.to_le_bytes());
    assert_eq!(config[20..24], 512_u32.to_le_bytes());
    let mut beyond = [0; 4];
    f.block.read_config(u64::MAX, &mut beyond);
    assert_eq!(beyond, [0; 4]);
}

#[test]
fn an_image_has_one_writer_or_readers() {
    let image = image();
    let event_loop = MockLoop::default();
    let open = |read_only| Block::open(image.path(), read_only, "", event_loop.handle());

    let reader = open(true).unwrap();
    let second = open(true).unwrap();
    assert!(matches!(open(false), Err(Error::InUse { .. })));
    drop((reader, second));
    let _writer = open(false).unwrap();
    assert!(matches!(open(true), Err(Error::InUse { .. })));
}

#[test]
fn images_of_broken_sectors_are_refused() {
    for size in [0, 511, 513] {
        let image = NamedTempFile::new().unwrap();
        image.as_file().set_len(size).unwrap();
        let opened = Block::open(image.path(), false, "", MockLoop::default().handle());
        assert!(matches!(opened, Err(Error::Size { size: s, .. }) if s == size));
    }
}

/// Addresses that hit rings, headers and data, the end of memory, and nothing.
fn any_address() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(HEADER),
        0..MEMORY_SIZE as u64 + 0x1000,
        Just(0x1000_u64),
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_chains_never_panic_nor_grow_the_image(
        descriptors in prop::collection::vec(
            (any_address(), prop_oneof![0..2048_u32, any::<u32>()], 0..8_u16, 0..20_u16),
            1..16,
        ),
        heads in prop::collection::vec(0..18_u16, 1..24),
        header in (0..16_u32, prop_oneof![0..80_u64, any::<u64>()]),
        event_idx in any::<bool>(),
    ) {
        let mut f = Fixture::new(false, event_idx);
        f.put_header(header.0, header.1);
        for (i, (address, len, flags, next)) in descriptors.into_iter().enumerate() {
            f.driver.put_descriptor(i as u16, Descriptor::new(address, len, flags, next));
        }
        for head in heads {
            f.driver.offer(head);
        }
        // The chains may overwrite the rings and so make more of themselves without end; the
        // event loop goes on, and so does this test after some turns.
        f.kick.write(1).unwrap();
        f.event_loop.turn(8);
        prop_assert_eq!(fs::metadata(f.image.path()).unwrap().len(), SECTORS * SECTOR);
    }
}
