//! A worker that is a thread of the test and executes the toy API.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType,
};
use weir_wire::arena::{Arena, SLOT_SEQ};
use weir_wire::channel::{CommandReader, Completion, CompletionWriter, Event, Received};
use weir_wire::check::{check, handle_list};
use weir_wire::command::{Call, Place};
use weir_wire::function::NOTHING_KEPT;

use super::super::bell::Bell;
use super::super::worker::{Launch, Process};
use super::toy;

/// What happened to all workers of a test.
#[derive(Debug, Default)]
pub struct Log {
    pub launched: AtomicU32,
    pub ended: AtomicU32,
    /// Commands that should not have got through.
    pub unchecked: AtomicU32,
    /// The next launches fail.
    pub broken: AtomicBool,
    /// Workers take no commands.
    pub stalled: AtomicBool,
}

#[derive(Clone, Default)]
pub struct Threads {
    pub log: Arc<Log>,
}

impl Launch for Threads {
    fn launch(&mut self) -> io::Result<Box<dyn Process>> {
        if self.log.broken.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let killed = Arc::new(AtomicBool::new(false));
        let exited = Bell::new()?;
        let end = End {
            exited: Bell::from_file(exited.share()?),
            log: self.log.clone(),
        };
        let number = self.log.launched.fetch_add(1, Ordering::SeqCst);
        let (until, log) = (killed.clone(), self.log.clone());
        std::thread::spawn(move || {
            let _end = end;
            let worker = Worker {
                socket: theirs,
                killed: until,
                log,
            };
            worker.run();
        });
        Ok(Box::new(Thread {
            pid: 1000 + number,
            socket,
            exited,
            killed,
        }))
    }
}

struct End {
    exited: Bell,
    log: Arc<Log>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.log.ended.fetch_add(1, Ordering::SeqCst);
        self.exited.ring();
    }
}

struct Thread {
    pid: u32,
    socket: OwnedFd,
    exited: Bell,
    killed: Arc<AtomicBool>,
}

impl Process for Thread {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn exited(&self) -> BorrowedFd<'_> {
        self.exited.as_fd()
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn kill(&mut self) {
        self.killed.store(true, Ordering::SeqCst);
    }

    fn reap(&mut self) -> String {
        "the thread ended".into()
    }
}

struct Worker {
    socket: OwnedFd,
    killed: Arc<AtomicBool>,
    log: Arc<Log>,
}

impl Worker {
    fn killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    fn run(&self) {
        let ready = br#"{"ready":{"platform":"toys"}}"#;
        rustix::net::send(&self.socket, ready, SendFlags::NOSIGNAL).unwrap();
        let Some((text, files)) = self.hello() else {
            return;
        };
        let hello: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(hello["accelerators"][0]["api"], "toy");
        let size = hello["arena_size"].as_u64().unwrap();
        let arena = Arena::map(&files[0], size).unwrap();
        let mut reader = CommandReader::open(&files[1]).unwrap();
        let mut served = Served {
            arena,
            writer: CompletionWriter::open(&files[1]).unwrap(),
            vmm_event: &files[3],
            wake: (hello["wake"] == "event").then_some(&files[4]),
        };
        let mut bytes = Vec::new();
        while !self.killed() {
            if self.log.stalled.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            match reader.next(&mut bytes).unwrap() {
                Some(Received { id, .. }) => match check(&toy::TOY, &bytes, size, NOTHING_KEPT) {
                    Ok((_, call)) if !served.execute(id, &call) => return,
                    Ok(_) => {}
                    Err(_) => drop(self.log.unchecked.fetch_add(1, Ordering::SeqCst)),
                },
                None => {
                    reader.announce_idle();
                    if !reader.has_next() {
                        wait(files[2].as_fd());
                    }
                    reader.announce_busy();
                }
            }
        }
    }

    fn hello(&self) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
        while !self.killed() {
            wait(self.socket.as_fd());
            let mut text = vec![0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut text)],
                &mut control,
                RecvFlags::DONTWAIT,
            );
            let Ok(received) = received else { continue };
            text.truncate(received.bytes);
            let files = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(files) => Some(files.collect()),
                _ => None,
            });
            return files.map(|files| (text, files));
        }
        None
    }
}

/// Waits for `file`, but not for long.
fn wait(file: BorrowedFd<'_>) {
    let mut polled = [PollFd::new(&file, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: 2_000_000,
    };
    let _ = rustix::event::poll(&mut polled, Some(&timeout));
}

struct Served<'a> {
    arena: Arena,
    writer: CompletionWriter,
    vmm_event: &'a OwnedFd,
    wake: Option<&'a OwnedFd>,
}

impl Served<'_> {
    fn report(&mut self, id: u64, event: Event) {
        loop {
            match self.writer.push(Completion { id, event }) {
                None => std::thread::yield_now(),
                Some(asleep) => {
                    if asleep {
                        rustix::io::write(self.vmm_event, &1u64.to_ne_bytes()).unwrap();
                    }
                    return;
                }
            }
        }
    }

    /// Executes a call; returns whether the worker lives on.
    fn execute(&mut self, id: u64, call: &Call<'_>) -> bool {
        let (mut bound, mut error, mut value) = (0, 0, 0);
        match call.header.function {
            toy::PING => value = call.word(0) + 1,
            toy::MAKE => {
                error = call.word(2) as i32;
                if error == 0 {
                    (bound, value) = (1, call.word(5));
                }
                self.write(call, 3, &error.to_le_bytes());
            }
            toy::READ => self.write(call, 1, &vec![0xab; call.word(0) as usize]),
            toy::FIND => {
                bound = call.word(5);
                let found = handle_list(call, 1).flat_map(|handle| handle.0.to_le_bytes());
                self.write(call, 3, &found.collect::<Vec<u8>>());
            }
            toy::DIE => return false,
            toy::HANG => return true,
            _ => {}
        }
        self.report(id, Event::Called { bound, error });
        if call.header.seq != 0 {
            let lane = call.header.lane;
            if self.arena.reply(lane, call.header.seq, value) {
                match self.wake {
                    Some(event) => drop(rustix::io::write(event, &1u64.to_ne_bytes())),
                    None => {
                        let at = Arena::lane_offset(lane) + SLOT_SEQ;
                        let word = self.arena.memory().atomic_u32(at).unwrap();
                        let flags = rustix::thread::futex::Flags::empty();
                        let _ = rustix::thread::futex::wake(word, flags, i32::MAX as u32);
                    }
                }
            }
        }
        if call.header.function == toy::RUN {
            let device_ns = call.word(1);
            self.report(id, Event::Executed { device_ns });
        }
        true
    }

    fn write(&self, call: &Call<'_>, word: usize, data: &[u8]) {
        if let Some(found) = call.reference(word)
            && let Place::Arena(at) = found.place
        {
            self.arena.memory().write(at, data).unwrap();
        }
    }
}
