//! The device as a driver sees it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use weir_wire::arena::{Arena, Lost, MIN_SIZE, STREAM_OFFSET};

use super::super::config::{AccelConfig, ConfigError};
use super::super::meter::AccelHandle;
use super::super::virtio::Accel;
use super::super::worker::Launch;
use super::bench::config;
use super::eventually;
use super::toy::{self, NOBODY, caller};
use super::worker::Threads;
use crate::pci::Window;
use crate::virtio::testing::{Buffer, DriverQueue, MockInterrupt, memory};
use crate::virtio::{Activation, Memory, VirtioDevice};

const WINDOW: u64 = 8 * MIN_SIZE;
const CONTROL_AREA: u64 = 0;
const SUBMIT_AREA: u64 = 0x1_0000;
const REQUESTS: u64 = 0x10_0000;
const ANSWERS: u64 = 0x20_0000;

/// A window that a test can look into.
#[derive(Default)]
struct Glass {
    files: Mutex<BTreeMap<u64, (u64, OwnedFd)>>,
}

impl Window for Glass {
    fn size(&self) -> u64 {
        WINDOW
    }

    fn map(&self, offset: u64, len: u64, file: BorrowedFd<'_>) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        assert!(offset.is_multiple_of(4096) && len.is_multiple_of(4096) && offset + len <= WINDOW);
        let apart = |(other, (size, _)): (&u64, &(u64, OwnedFd))| {
            offset + len <= *other || other + size <= offset
        };
        assert!(files.iter().all(apart));
        files.insert(offset, (len, file.try_clone_to_owned()?));
        Ok(())
    }

    fn unmap(&self, offset: u64) -> io::Result<()> {
        let removed = self.files.lock().unwrap().remove(&offset);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn moved(&self, _base: Option<u64>) {}
}

/// A driver of the device.
struct Guest {
    device: Accel,
    handle: AccelHandle,
    threads: Threads,
    window: Arc<Glass>,
    memory: Memory,
    interrupt: Arc<MockInterrupt>,
    control: DriverQueue,
    submit: DriverQueue,
    kicks: [EventFd; 2],
    event_idx: bool,
    buffers: u64,
}

impl Guest {
    fn new() -> Self {
        Self::with(config(100))
    }

    fn with(config: AccelConfig) -> Self {
        let threads = Threads::default();
        let window = Arc::new(Glass::default());
        let launched = threads.clone();
        let launch = move || Box::new(launched.clone()) as Box<dyn Launch>;
        let (device, handle) =
            Accel::with_workers(config, window.clone(), Box::new(launch)).unwrap();
        let memory = memory();
        let mut guest = Self {
            device,
            handle,
            threads,
            window,
            interrupt: Arc::new(MockInterrupt::default()),
            control: DriverQueue::new(&memory, CONTROL_AREA, 16),
            submit: DriverQueue::new(&memory, SUBMIT_AREA, 64),
            kicks: [
                EventFd::new(EFD_NONBLOCK).unwrap(),
                EventFd::new(EFD_NONBLOCK).unwrap(),
            ],
            memory,
            event_idx: false,
            buffers: 0,
        };
        guest.activate();
        guest
    }

    fn activate(&mut self) {
        let queues = [&self.control, &self.submit].into_iter().zip(&self.kicks);
        let activation = Activation {
            memory: self.memory.clone(),
            queues: queues
                .map(|(queue, kick)| {
                    (
                        queue.device_queue(self.event_idx),
                        kick.try_clone().unwrap(),
                    )
                })
                .collect(),
            interrupt: self.interrupt.clone(),
            features: 0,
        };
        self.device.activate(activation).unwrap();
    }

    /// Resets the device and starts it again with other queues.
    fn restart(&mut self) {
        self.device.reset();
        assert_eq!(self.mapped(), 0);
        self.control = DriverQueue::new(&self.memory, 0x30_0000, 16);
        self.submit = DriverQueue::new(&self.memory, 0x31_0000, 64);
        self.activate();
    }

    /// Makes a control request of `request` with `room` bytes for the answer; returns the answer.
    fn request(&mut self, request: &[u8], room: u32) -> Vec<u8> {
        self.memory
            .write_slice(&[0xee; 64], GuestAddress(ANSWERS))
            .unwrap();
        self.memory
            .write_slice(request, GuestAddress(REQUESTS))
            .unwrap();
        let mut buffers = Vec::new();
        // In pieces, as a driver may.
        for (index, piece) in request.chunks(7).enumerate() {
            buffers.push(Buffer::Readable(
                REQUESTS + 7 * index as u64,
                piece.len() as u32,
            ));
        }
        if room > 0 {
            buffers.push(Buffer::Writable(ANSWERS, room.min(3)));
            buffers.push(Buffer::Writable(ANSWERS + 3, room.saturating_sub(3)));
        }
        let head = self.control.add(&buffers);
        self.kicks[0].write(1).unwrap();
        let mut used = None;
        eventually("an answer", || {
            used = self.control.used();
            used.is_some()
        });
        let (index, len) = used.unwrap();
        assert_eq!(index, head);
        assert!(len <= room);
        let mut answer = vec![0; len as usize];
        self.memory
            .read_slice(&mut answer, GuestAddress(ANSWERS))
            .unwrap();
        answer
    }

    fn try_create(&mut self, arena_size: u64) -> Result<Created, u32> {
        let mut request = [0; 40];
        request[0] = 1;
        request[8..16].copy_from_slice(&arena_size.to_le_bytes());
        request[16] = 9;
        request[24..30].copy_from_slice(b"clinfo");
        let answer = self.request(&request, 24);
        match status(&answer) {
            0 => {
                let client = u32::from_le_bytes(answer[4..8].try_into().unwrap());
                let offset = u64::from_le_bytes(answer[8..16].try_into().unwrap());
                let size = u64::from_le_bytes(answer[16..24].try_into().unwrap());
                let files = self.window.files.lock().unwrap();
                let (len, file) = &files[&offset];
                assert_eq!(*len, size);
                let arena = Arena::map(file, size).unwrap();
                Ok(Created {
                    client,
                    offset,
                    arena,
                })
            }
            status => Err(status),
        }
    }

    fn create(&mut self) -> Created {
        self.try_create(0).unwrap()
    }

    fn destroy(&mut self, client: u32) -> u32 {
        let mut request = [0; 8];
        request[0] = 2;
        request[4..8].copy_from_slice(&client.to_le_bytes());
        status(&self.request(&request, 8))
    }

    fn announce(&mut self, words: [u32; 4]) {
        let at = REQUESTS + 0x1000 + self.buffers % 64 * 16;
        self.buffers += 1;
        let bytes = words.map(u32::to_le_bytes).concat();
        self.memory.write_slice(&bytes, GuestAddress(at)).unwrap();
        self.submit.add(&[Buffer::Readable(at, 16)]);
        self.kicks[1].write(1).unwrap();
        let mut used = None;
        eventually("the buffer comes back", || {
            used = self.submit.used();
            used.is_some()
        });
        assert_eq!(used.unwrap().1, 0);
    }

    fn send(&mut self, to: &Created, bytes: &[u8]) {
        to.arena.memory().write(STREAM_OFFSET, bytes).unwrap();
        self.announce([to.client, 0, STREAM_OFFSET as u32, bytes.len() as u32]);
    }

    fn ping(&mut self, to: &Created, seq: u32) -> i64 {
        self.send(to, &toy::ping(caller(0, seq), 5));
        let mut answer = None;
        eventually("an answer", || {
            answer = to.arena.answer(0, seq);
            answer.is_some()
        });
        answer.unwrap() as i64
    }

    fn mapped(&self) -> usize {
        self.window.files.lock().unwrap().len()
    }
}

struct Created {
    client: u32,
    offset: u64,
    arena: Arena,
}

fn status(answer: &[u8]) -> u32 {
    u32::from_le_bytes(answer[0..4].try_into().unwrap())
}

#[test]
fn the_configuration_space_says_what_there_is() {
    let guest = Guest::new();
    let mut space = [0; 100];
    guest.device.read_config(0, &mut space);
    let u64_at = |at: usize| u64::from_le_bytes(space[at..at + 8].try_into().unwrap());
    assert_eq!(space[0..8], [1, 0, 0, 0, 64, 0, 0, 0]);
    assert_eq!(
        [u64_at(8), u64_at(16), u64_at(24)],
        [WINDOW, 4 * MIN_SIZE, MIN_SIZE]
    );
    assert_eq!(&space[32..38], b"bench\0");
    assert_eq!(&space[64..68], b"toy\0");
    assert_eq!(guest.device.device_type(), 63);
    assert_eq!(guest.device.shared_memory().unwrap().shmid, 0);
}

#[test]
fn a_window_must_hold_an_arena() {
    let mut config = config(1);
    config.arena_max = 2 * WINDOW;
    let launch = || Box::new(Threads::default()) as Box<dyn Launch>;
    let refused = Accel::with_workers(config, Arc::new(Glass::default()), Box::new(launch));
    assert!(matches!(refused, Err(ConfigError::Window { .. })));
}

#[test]
fn a_client_comes_calls_and_goes() {
    let mut guest = Guest::new();
    let client = guest.create();
    assert_ne!(client.client, 0);
    assert!(client.offset.is_multiple_of(2 << 20));
    for seq in 1..100 {
        assert_eq!(guest.ping(&client, seq), 6);
    }
    let stats = guest.handle.stats();
    assert_eq!(
        (stats.clients[0].pid, stats.clients[0].comm.as_str()),
        (9, "clinfo")
    );
    assert!(stats.kicks > 0);
    assert_eq!(guest.destroy(client.client), 0);
    assert_eq!(guest.mapped(), 0);
    assert_eq!(client.arena.lost(), Some(Lost::Ended as u32));
    assert_eq!(guest.destroy(client.client), 2);
    assert_ne!(guest.create().client, client.client, "numbers rest");
}

#[test]
fn notifications_by_index_work_as_well() {
    let mut guest = Guest::new();
    guest.event_idx = true;
    guest.restart();
    let client = guest.create();
    for seq in 1..100 {
        assert_eq!(guest.ping(&client, seq), 6);
    }
    // Asleep, the device wants to hear of the very next buffer.
    let wanted = |guest: &Guest| guest.submit.avail_event() == 99;
    eventually("it asks to be woken", || wanted(&guest));
}

#[test]
fn who_sleeps_is_woken_by_the_configuration_interrupt() {
    let mut guest = Guest::new();
    let client = guest.create();
    guest.ping(&client, 1);
    assert_eq!(guest.interrupt.config_raised(), 0);
    client.arena.sleepers().fetch_add(1, Ordering::SeqCst);
    guest.ping(&client, 2);
    assert!(guest.interrupt.config_raised() > 0);
    client.arena.sleepers().fetch_sub(1, Ordering::SeqCst);
    guest.send(&client, &toy::command(toy::DIE, NOBODY, &[0]));
    eventually("it is lost", || {
        client.arena.lost() == Some(Lost::Worker as u32)
    });
    eventually("all are told", || guest.interrupt.config_raised() > 0);
    assert_eq!(
        guest.mapped(),
        1,
        "the arena stays until the client is destroyed"
    );
    assert_eq!(guest.destroy(client.client), 0);
}

#[test]
fn the_window_and_the_number_of_clients_end() {
    let mut config = config(1);
    config.max_clients = 3;
    config.arena_max = WINDOW;
    let mut guest = Guest::with(config);
    let half = guest.try_create(WINDOW / 2).unwrap();
    assert_eq!(guest.try_create(WINDOW / 2 + 4096).err(), Some(4));
    assert_eq!(guest.try_create(WINDOW + 4096).err(), Some(1));
    guest.create();
    guest.create();
    assert_eq!(guest.try_create(0).err(), Some(3));
    assert_eq!(guest.destroy(half.client), 0);
    let again = guest.try_create(WINDOW / 2).unwrap();
    assert_eq!(again.offset, half.offset);
}

#[test]
fn malformed_requests_are_told_so() {
    let mut guest = Guest::new();
    let mut create = [0; 40];
    create[0] = 1;
    assert_eq!(status(&guest.request(&create[..39], 24)), 1, "too short");
    assert_eq!(status(&guest.request(&create, 23)), 1, "too little room");
    assert_eq!(guest.request(&create, 3), [0u8; 0]);
    assert_eq!(guest.request(&create, 0), [0u8; 0]);
    assert_eq!(status(&guest.request(&create[..4], 24)), 1);
    let field = |at: usize| {
        let mut request = create;
        request[at] = 7;
        request
    };
    for at in [0, 4, 8, 20] {
        assert_eq!(status(&guest.request(&field(at), 24)), 1, "field at {at}");
    }
    assert_eq!(status(&guest.request(&[2, 0, 0, 0, 1, 0, 0, 0], 8)), 2);
    assert_eq!(guest.handle.stats().clients_total, 0);
    let longer = [create.as_slice(), &[1; 30]].concat();
    assert_eq!(
        status(&guest.request(&longer, 60)),
        0,
        "more than needed is fine"
    );
}

#[test]
fn announcements_for_nobody_are_counted() {
    let mut guest = Guest::new();
    guest.announce([5, 0, STREAM_OFFSET as u32, 24]);
    guest.announce([0, 0, 0, 0]);
    assert_eq!(guest.handle.stats().strays, 2);
    let client = guest.create();
    guest.announce([client.client, 1, STREAM_OFFSET as u32, 24]);
    eventually("it is told", || {
        i64::from(client.arena.take_error(&[])) == toy::MALFORMED
    });
    assert_eq!(guest.ping(&client, 1), 6);
}

#[test]
fn an_announcement_outside_of_memory_harms_nobody() {
    let mut guest = Guest::new();
    guest.submit.add(&[Buffer::Readable(1 << 40, 16)]);
    guest.submit.add(&[Buffer::Readable(REQUESTS, 3)]);
    guest.kicks[1].write(1).unwrap();
    eventually("they come back", || guest.submit.used().is_some());
    eventually("both", || guest.submit.used().is_some());
    let client = guest.create();
    assert_eq!(guest.ping(&client, 1), 6);
}

#[test]
fn a_broken_ring_ends_all_clients_and_asks_for_a_reset() {
    let mut guest = Guest::new();
    let client = guest.create();
    guest.submit.offer(999);
    guest.kicks[1].write(1).unwrap();
    eventually("a reset is asked for", || {
        guest.interrupt.resets_wanted() == 1
    });
    assert_eq!(client.arena.lost(), Some(Lost::Ended as u32));
    guest.restart();
    let client = guest.create();
    assert_eq!(guest.ping(&client, 1), 6);
}

#[test]
fn reset_takes_everything_back() {
    let mut guest = Guest::new();
    let clients = [guest.create(), guest.create()];
    guest.ping(&clients[0], 1);
    guest.send(&clients[1], &toy::command(toy::HANG, NOBODY, &[0]));
    guest.device.reset();
    assert_eq!(guest.mapped(), 0);
    assert!(clients.iter().all(|client| client.arena.lost().is_some()));
    let log = &guest.threads.log;
    assert_eq!(
        log.launched.load(Ordering::SeqCst),
        log.ended.load(Ordering::SeqCst)
    );
    let stats = guest.handle.stats();
    assert_eq!((stats.clients.len(), stats.clients_total), (0, 2));
}

#[test]
fn a_queue_left_unused_is_refused() {
    let mut guest = Guest::new();
    guest.device.reset();
    let kick = guest.kicks[0].try_clone().unwrap();
    let activation = Activation {
        memory: guest.memory.clone(),
        queues: vec![(guest.control.device_queue(false), kick)],
        interrupt: guest.interrupt.clone(),
        features: 0,
    };
    assert!(guest.device.activate(activation).is_err());
}

fn buffer() -> impl Strategy<Value = Buffer> {
    let place = prop_oneof![
        4 => (0u64..64).prop_map(|at| REQUESTS + 8 * at),
        1 => any::<u64>(),
    ];
    let len = prop_oneof![4 => 0u32..64, 1 => any::<u32>()];
    (place, len, any::<bool>()).prop_map(|(at, len, readable)| match readable {
        true => Buffer::Readable(at, len),
        false => Buffer::Writable(at, len),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn chains_of_any_kind_leave_the_device_sane(
        words in prop::collection::vec(prop_oneof![0u32..4, any::<u32>()], 64),
        chains in prop::collection::vec((any::<bool>(), prop::collection::vec(buffer(), 1..4)), 1..8),
    ) {
        let mut guest = Guest::new();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        guest.memory.write_slice(&bytes.repeat(2), GuestAddress(REQUESTS)).unwrap();
        for (to_control, buffers) in &chains {
            match to_control {
                true => guest.control.add(buffers),
                false => guest.submit.add(buffers),
            };
        }
        guest.kicks[0].write(1).unwrap();
        guest.kicks[1].write(1).unwrap();
        let mut left = chains.len();
        let interrupt = guest.interrupt.clone();
        eventually("all come back, or the device wants a reset", || {
            left -= usize::from(guest.control.used().is_some());
            left -= usize::from(guest.submit.used().is_some());
            left == 0 || interrupt.resets_wanted() > 0
        });
        if interrupt.resets_wanted() == 0 {
            let stats = guest.handle.stats();
            prop_assert!(guest.mapped() == stats.clients.len());
        }
        guest.device.reset();
        prop_assert_eq!(guest.mapped(), 0);
    }
}
