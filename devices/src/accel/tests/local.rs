//! The whole mediator, over its socket.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketType,
};
use weir_wire::arena::{Arena, DATA_OFFSET, Lost, MIN_SIZE, SLOT_SEQ, STREAM_OFFSET, STREAM_SIZE};
use weir_wire::handle::Handle;

use super::super::config::AccelConfig;
use super::super::local::LocalServer;
use super::super::meter::{AccelStats, ClientState};
use super::bench::config;
use super::toy::{self, Caller, NOBODY, caller};
use super::worker::Threads;
use super::{RaisedAtEnd, eventually};

const NULL: Handle = Handle::NULL;
const BOX: Handle = Handle(1 << 32);

struct Setup {
    server: Option<LocalServer>,
    threads: Threads,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Setup {
    fn new(quota: u64) -> Self {
        Self::with(config(quota), Threads::default())
    }

    fn with(config: AccelConfig, threads: Threads) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("accel");
        let launch = Box::new(threads.clone());
        let server = LocalServer::with_workers(config, path.clone(), launch).unwrap();
        Self {
            server: Some(server),
            threads,
            path,
            _directory: directory,
        }
    }

    fn stats(&self) -> AccelStats {
        self.server.as_ref().unwrap().handle().stats()
    }

    fn client(&self) -> Client {
        Client::connect(&self.path).create(0)
    }
}

struct Client {
    socket: OwnedFd,
    arena: Option<Arena>,
    at: u64,
    seq: u32,
}

impl Client {
    fn connect(path: &Path) -> Self {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Self {
            socket,
            arena: None,
            at: 0,
            seq: 0,
        }
    }

    fn send(&self, message: &[u8]) -> bool {
        rustix::net::send(&self.socket, message, SendFlags::NOSIGNAL).is_ok()
    }

    /// The answer to a request: its words, and the file that came along.
    fn receive(&self) -> (Vec<u8>, Option<OwnedFd>) {
        let mut bytes = vec![0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::empty();
        let len = rustix::net::recvmsg(&self.socket, &mut parts, &mut control, flags)
            .map_or(0, |received| received.bytes);
        bytes.truncate(len);
        let file = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        (bytes, file)
    }

    fn request(&self, arena_size: u64) -> (u32, u64, Option<OwnedFd>) {
        let mut message = [0; 40];
        message[0] = 1;
        message[8..16].copy_from_slice(&arena_size.to_le_bytes());
        message[16..20].copy_from_slice(&77u32.to_le_bytes());
        message[24..29].copy_from_slice(b"proc\n");
        assert!(self.send(&message));
        let (answer, file) = self.receive();
        assert_eq!(answer.len(), 24);
        let status = u32::from_le_bytes(answer[0..4].try_into().unwrap());
        (
            status,
            u64::from_le_bytes(answer[16..24].try_into().unwrap()),
            file,
        )
    }

    fn create(mut self, arena_size: u64) -> Self {
        let (status, size, file) = self.request(arena_size);
        assert_eq!(status, 0);
        self.arena = Some(Arena::map(file.unwrap(), size).unwrap());
        self
    }

    fn arena(&self) -> &Arena {
        self.arena.as_ref().unwrap()
    }

    fn announce(&self, offset: u64, length: u64) -> bool {
        let words = [3u32, 0, offset as u32, length as u32];
        self.send(&words.map(u32::to_le_bytes).concat())
    }

    /// Puts a batch behind the last one, and announces it.
    fn submit(&mut self, bytes: &[u8]) {
        if self.at + bytes.len() as u64 > STREAM_SIZE {
            self.at = 0;
        }
        let at = STREAM_OFFSET + self.at;
        self.arena().memory().write(at, bytes).unwrap();
        self.announce(at, bytes.len() as u64);
        self.at += (bytes.len() as u64).next_multiple_of(64);
    }

    fn next(&mut self) -> Caller {
        self.seq += 1;
        caller(0, self.seq)
    }

    fn wait(&self, who: Caller) -> Result<i64, u32> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(bits) = self.arena().answer(who.lane, who.seq) {
                return Ok(bits as i64);
            }
            if let Some(reason) = self.arena().lost() {
                return Err(reason);
            }
            assert!(Instant::now() < deadline, "no answer");
            std::thread::yield_now();
        }
    }

    fn ping(&mut self, value: u64) -> Result<i64, u32> {
        let who = self.next();
        self.submit(&toy::ping(who, value));
        self.wait(who)
    }

    fn make(&mut self, bytes: u64, new: Handle) -> Result<i64, u32> {
        let who = self.next();
        self.submit(&toy::make(who, NULL, bytes, DATA_OFFSET, new));
        self.wait(who)
    }
}

#[test]
fn calls_go_there_and_back() {
    let setup = Setup::new(100);
    let mut client = setup.client();
    for value in 0..500 {
        assert_eq!(client.ping(value), Ok(value as i64 + 1));
    }
    let who = client.next();
    let [place, len] = toy::arena(DATA_OFFSET, 100);
    client.submit(&toy::command(toy::READ, who, &[100, place, len]));
    assert_eq!(client.wait(who), Ok(0));
    let mut bytes = [0; 100];
    client
        .arena()
        .memory()
        .read(DATA_OFFSET, &mut bytes)
        .unwrap();
    assert_eq!(bytes, [0xab; 100]);
    let stats = setup.stats();
    let figures = &stats.clients[0];
    assert_eq!((figures.traffic.calls, figures.traffic.batches), (501, 501));
    assert_eq!(figures.state, ClientState::Running);
    assert_eq!(
        figures.pid,
        std::process::id(),
        "the system's word, not the client's"
    );
    assert_eq!(figures.comm, "proc?");
    assert_eq!(setup.threads.log.unchecked.load(Ordering::SeqCst), 0);
}

#[test]
fn figures_survive_their_trip_as_json() {
    let setup = Setup::new(100);
    let mut client = setup.client();
    client.ping(1).unwrap();
    client.make(10, BOX).unwrap();
    let stats = setup.stats();
    let text = serde_json::to_string(&stats).unwrap();
    assert_eq!(serde_json::from_str::<AccelStats>(&text).unwrap(), stats);
}

#[test]
fn handles_are_a_client_s_own() {
    let setup = Setup::new(100);
    let (mut one, mut two) = (setup.client(), setup.client());
    assert_eq!(one.make(10, BOX), Ok(BOX.0 as i64));
    let who = two.next();
    two.submit(&toy::run(who, BOX, 0));
    assert_eq!(two.wait(who), Ok(toy::NO_BOX));
}

#[test]
fn the_quota_is_the_tenant_s() {
    let setup = Setup::new(100);
    let (mut one, mut two) = (setup.client(), setup.client());
    assert_eq!(one.make(60, BOX), Ok(BOX.0 as i64));
    assert_eq!(two.make(60, BOX), Ok(0));
    assert_eq!(setup.stats().memory, 60);
    drop(one);
    // No need to wait: what is coming back is waited for.
    eventually("the first is gone", || setup.stats().clients.len() == 1);
    assert_eq!(two.make(60, BOX), Ok(BOX.0 as i64));
    drop(two);
    eventually("all is given back", || setup.stats().memory == 0);
    let stats = setup.stats();
    assert!(stats.memory_peak <= 100);
    assert_eq!((stats.clients_total, stats.clients.len()), (2, 0));
    assert_eq!(
        stats.totals.calls, 3,
        "what was refused for memory was counted"
    );
    assert_eq!(stats.totals.refused, 1);
}

#[test]
fn a_quota_can_be_moved() {
    let setup = Setup::new(100);
    let mut client = setup.client();
    assert_eq!(client.make(150, BOX), Ok(0));
    setup
        .server
        .as_ref()
        .unwrap()
        .handle()
        .set_memory_quota(200);
    assert_eq!(client.make(150, BOX), Ok(BOX.0 as i64));
}

#[test]
fn a_dead_worker_costs_one_client() {
    let setup = Setup::new(100);
    let (mut one, mut two) = (setup.client(), setup.client());
    one.make(60, BOX).unwrap();
    two.ping(1).unwrap();
    let who = one.next();
    one.submit(&toy::command(toy::DIE, who, &[0]));
    assert_eq!(one.wait(who), Err(Lost::Worker as u32));
    eventually("its memory is given back", || setup.stats().memory == 0);
    assert_eq!(two.ping(1), Ok(2));
    assert_eq!(setup.stats().clients[0].state, ClientState::Lost);
    // The shell takes what comes, and answers nothing.
    one.submit(&toy::ping(NOBODY, 1));
    assert_eq!(setup.client().ping(5), Ok(6));
}

#[test]
fn sleepers_are_woken_when_their_client_is_lost() {
    let setup = Setup::new(100);
    let mut client = setup.client();
    let who = client.next();
    client.arena().sleepers().fetch_add(1, Ordering::SeqCst);
    client.submit(&toy::command(toy::HANG, who, &[0]));
    client.submit(&toy::command(toy::DIE, NOBODY, &[0]));
    let at = Arena::lane_offset(0) + SLOT_SEQ;
    let word = client.arena().memory().atomic_u32(at).unwrap();
    let timeout = rustix::thread::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let start = Instant::now();
    while client.arena().lost().is_none() && start.elapsed() < Duration::from_secs(10) {
        let flags = rustix::thread::futex::Flags::empty();
        let _ = rustix::thread::futex::wait(word, flags, 0, Some(&timeout));
    }
    assert!(start.elapsed() < Duration::from_secs(9));
}

#[test]
fn a_client_that_goes_in_the_midst_leaves_nothing() {
    let setup = Setup::new(100);
    let mut other = setup.client();
    for _ in 0..20 {
        let mut client = setup.client();
        client.submit(&toy::make(NOBODY, NULL, 4, 0, BOX));
        client.submit(&toy::command(toy::HANG, caller(0, 1), &[0]));
        client.submit(&toy::ping(NOBODY, 1).repeat(1000));
        drop(client);
        assert_eq!(other.ping(1), Ok(2));
    }
    eventually("all is given back", || setup.stats().memory == 0);
    eventually("its workers are gone", || {
        let log = &setup.threads.log;
        log.launched.load(Ordering::SeqCst) - log.ended.load(Ordering::SeqCst) == 2
    });
}

#[test]
fn a_flood_starves_nobody() {
    let setup = Setup::new(100);
    let mut flooder = setup.client();
    let mut other = setup.client();
    other.ping(0).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let flood = toy::ping(NOBODY, 1).repeat(2000);
            let mut sent = 0;
            while !stop.load(Ordering::SeqCst) {
                if sent - flooder.arena().consumed() < 200 {
                    flooder.submit(&flood);
                    sent += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let _end = RaisedAtEnd(stop);
        // Each of these waits for its answer, but not for ever.
        for value in 0..100 {
            assert_eq!(other.ping(value), Ok(value as i64 + 1));
        }
    });
}

#[test]
fn too_many_batches_end_the_client_that_sent_them() {
    let setup = Setup::new(100);
    setup.threads.log.stalled.store(true, Ordering::SeqCst);
    let mut client = setup.client();
    // More than the channel holds, so that batches queue up.
    let batch = toy::ping(NOBODY, 1).repeat(40_000);
    client.submit(&batch);
    client.submit(&toy::ping(NOBODY, 1));
    for _ in 0..1000 {
        if !client.announce(STREAM_OFFSET, 24) {
            break;
        }
    }
    eventually("it is lost", || {
        client.arena().lost() == Some(Lost::Protocol as u32)
    });
    setup.threads.log.stalled.store(false, Ordering::SeqCst);
    assert_eq!(setup.client().ping(1), Ok(2));
}

#[test]
fn a_worker_that_cannot_be_started_costs_one_client_each() {
    let threads = Threads::default();
    threads.log.broken.store(true, Ordering::SeqCst);
    let setup = Setup::with(config(100), threads);
    let mut client = setup.client();
    assert_eq!(client.ping(1), Err(Lost::Worker as u32));
    setup.threads.log.broken.store(false, Ordering::SeqCst);
    assert_eq!(setup.client().ping(1), Ok(2));
}

#[test]
fn without_a_spare_worker_calls_wait_for_theirs() {
    let mut config = config(100);
    config.spare_workers = 0;
    let setup = Setup::with(config, Threads::default());
    assert_eq!(setup.threads.log.launched.load(Ordering::SeqCst), 0);
    assert_eq!(setup.client().ping(1), Ok(2));
    assert_eq!(setup.threads.log.launched.load(Ordering::SeqCst), 1);
}

#[test]
fn there_are_only_so_many_clients() {
    let mut config = config(100);
    config.max_clients = 2;
    let setup = Setup::with(config, Threads::default());
    let (_one, two) = (setup.client(), setup.client());
    let third = Client::connect(&setup.path);
    assert_eq!(third.request(0).0, 3);
    drop(two);
    eventually("one is gone", || setup.stats().clients.len() == 1);
    assert_eq!(third.request(0).0, 0);
}

#[test]
fn arenas_have_a_size_that_can_be() {
    let setup = Setup::new(100);
    for size in [1, MIN_SIZE - 4096, MIN_SIZE + 1, 5 * MIN_SIZE, u64::MAX] {
        assert_eq!(Client::connect(&setup.path).request(size).0, 1, "{size}");
    }
    let client = Client::connect(&setup.path).create(2 * MIN_SIZE);
    assert_eq!(client.arena().size(), 2 * MIN_SIZE);
}

#[test]
fn messages_that_are_none_end_the_connection() {
    let setup = Setup::new(100);
    let messages: [&[u8]; 6] = [
        &[1, 2, 3],
        &[0; 40],
        &[0xff; 40],
        &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0, 1, 0, 0, 0],
    ];
    for message in messages {
        let client = Client::connect(&setup.path);
        client.send(message);
        while !client.receive().0.is_empty() {}
    }
    // A second client on one connection is none either.
    let client = setup.client();
    let mut again = [0; 40];
    again[0] = 1;
    client.send(&again);
    while !client.receive().0.is_empty() {}
    eventually("it is gone", || setup.stats().clients.is_empty());
    assert_eq!(setup.client().ping(1), Ok(2));
}

#[test]
fn the_end_of_the_server_is_the_end_of_all() {
    let mut setup = Setup::new(100);
    let mut client = setup.client();
    client.make(10, BOX).unwrap();
    let handle = setup.server.as_ref().unwrap().handle();
    setup.server = None;
    assert_eq!(client.arena().lost(), Some(Lost::Ended as u32));
    let stats = handle.stats();
    assert_eq!(
        (stats.memory, stats.memory_peak, stats.clients.len()),
        (0, 10, 0)
    );
    let log = &setup.threads.log;
    assert_eq!(
        log.launched.load(Ordering::SeqCst),
        log.ended.load(Ordering::SeqCst)
    );
    assert!(!setup.path.exists());
}

#[test]
fn the_configuration_is_checked() {
    let path = PathBuf::from("/nonexistent/socket");
    let refused = |change: fn(&mut AccelConfig)| {
        let mut config = config(1);
        change(&mut config);
        let launch = Box::new(Threads::default());
        LocalServer::with_workers(config, path.clone(), launch)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(refused(|_| {}).contains("/nonexistent/socket"));
    for change in [
        (|config| config.api = "cuda".into()) as fn(&mut AccelConfig),
        |config| config.name = String::new(),
        |config| config.name = "x".repeat(32),
        |config| config.max_clients = 0,
        |config| config.arena_default = 5000,
        |config| config.arena_max = MIN_SIZE / 2,
    ] {
        assert!(refused(change).contains("cannot be set up"));
    }
}

#[test]
fn a_mediator_with_nothing_to_do_sleeps() {
    let setup = Setup::new(100);
    let mut client = setup.client();
    client.ping(1).unwrap();
    let before = setup.stats();
    std::thread::sleep(Duration::from_millis(300));
    let after = setup.stats();
    assert!(after.sleeps - before.sleeps < 5, "{before:?} {after:?}");
    assert_eq!(client.ping(1), Ok(2));
}
