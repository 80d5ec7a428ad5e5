//! Stands for mediator and worker: a thread that serves every client of this process, and the vendor
//! library that records.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use weir_runtime::scratch::Scratch;
use weir_runtime::session::{Session, Wake};
use weir_runtime::turn::{self, Seat};
use weir_wire::arena::{Arena, MIN_SIZE};
use weir_wire::channel::{CompletionWriter, Received, VmmEnd, create};
use weir_wire::check::check;
use weir_wire::command::Header;

use crate::values::Seen;
use crate::{APIS, Sides, mutate};

/// Why a call has not come through.
#[derive(Debug)]
pub enum Failed {
    /// It never came to the worker.
    NotSent,
    /// The mediator refuses it.
    Refused(String),
    /// The vendor sees something else.
    Differs(String),
}

/// What the vendor must be called with.
#[derive(Debug)]
pub struct Expected {
    /// The function.
    pub number: u16,
    /// Its arguments.
    pub arguments: Vec<Seen>,
    /// What it returns.
    pub returns: u64,
}

#[derive(Default)]
struct Stage {
    expected: Option<Expected>,
    /// What has come of it at the vendor's.
    seen: Option<Result<(), String>>,
    /// What the check said.
    refused: Option<String>,
    finished: bool,
    command: Vec<u8>,
    sessions: HashMap<u16, Arc<Session>>,
}

static STAGE: OnceLock<(Mutex<Stage>, Condvar)> = OnceLock::new();

fn stage() -> MutexGuard<'static, Stage> {
    let (stage, _) = STAGE.get_or_init(Default::default);
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The vendor library's one function: it is told which it is.
pub fn record(number: u16, arguments: &[u64]) -> u64 {
    if let Some(returned) = mutate::touch(number, arguments) {
        return returned;
    }
    let mut stage = stage();
    let Stage { expected, seen, .. } = &mut *stage;
    match expected {
        Some(expected) if expected.number == number && seen.is_none() => {
            *seen = Some(crate::values::compare(&expected.arguments, arguments));
            expected.returns
        }
        // The dispatch calls others on its own, for instance to keep an object.
        _ => 0,
    }
}

/// Lets the next call be compared with `expected`.
pub fn expect(expected: Expected) {
    let mut stage = stage();
    stage.expected = Some(expected);
    stage.seen = None;
    stage.refused = None;
    stage.finished = false;
}

/// What the call has come to that was expected last: whether the vendor was called, and what was wrong.
///
/// # Errors
/// What was wrong.
pub fn outcome(must_finish: bool, patience: Duration) -> Result<bool, Failed> {
    let (_, changed) = STAGE.get_or_init(Default::default);
    let mut held = stage();
    while must_finish && !held.finished && held.refused.is_none() {
        let (next, waited) = changed
            .wait_timeout(held, patience)
            .unwrap_or_else(PoisonError::into_inner);
        held = next;
        if waited.timed_out() {
            return Err(Failed::NotSent);
        }
    }
    held.expected = None;
    if let Some(why) = held.refused.take() {
        return Err(Failed::Refused(why));
    }
    match held.seen.take() {
        Some(seen) => seen.map(|()| true).map_err(Failed::Differs),
        None => Ok(false),
    }
}

/// The command that the call came to that was expected last.
pub fn last_command() -> Vec<u8> {
    stage().command.clone()
}

/// The client of `api` as its worker sees it.
pub fn session(api: u16) -> Option<Arc<Session>> {
    stage().sessions.get(&api).cloned()
}

/// Becomes a client of every API, once in this process.
pub fn connect() {
    static CONNECTED: OnceLock<()> = OnceLock::new();
    CONNECTED.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("weir-decoders-{}", std::process::id()));
        let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)
            .expect("a socket");
        let address = SocketAddrUnix::new(&path).expect("an address");
        rustix::net::bind(&listener, &address).expect("binding");
        rustix::net::listen(&listener, 8).expect("listening");
        // SAFETY: whoever reads the environment here waits for this to have been done.
        unsafe { std::env::set_var("WEIR_SOCKET", &path) };
        for sides in APIS {
            let client = std::thread::scope(|scope| {
                let client = scope.spawn(|| Client::accept(&listener, sides));
                sides.guest.connect().expect("a client");
                client.join().expect("no panic")
            });
            stage()
                .sessions
                .insert(sides.api.id, Arc::clone(&client.session));
            std::thread::spawn(move || client.serve());
        }
        let _ = std::fs::remove_file(&path);
    });
}

/// A client, and a worker's state for it.
pub fn new_session() -> (Session, VmmEnd, OwnedFd) {
    let (arena, file) = Arena::create(MIN_SIZE).expect("an arena");
    let (vmm, channel) = create().expect("a channel");
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("an event");
    let writer = CompletionWriter::open(&channel).expect("the channel is one");
    (Session::new(arena, writer, event, Wake::Futex), vmm, file)
}

/// Nobody else goes on with the stream.
pub struct Nobody;

impl Seat for Nobody {
    fn step_aside(&mut self) {}
}

struct Client {
    sides: &'static Sides,
    socket: OwnedFd,
    session: Arc<Session>,
    vmm: VmmEnd,
}

impl Client {
    fn accept(listener: &OwnedFd, sides: &'static Sides) -> Client {
        let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC).expect("a client");
        let mut request = [0; 64];
        let received = rustix::net::recv(&socket, &mut request, RecvFlags::empty());
        assert_eq!((received.map(|(len, _)| len), request[0]), (Ok(40), 1));
        let (session, vmm, file) = new_session();
        let mut reply = [0; 24];
        reply[16..].copy_from_slice(&MIN_SIZE.to_le_bytes());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        let parts = [IoSlice::new(&reply)];
        rustix::net::sendmsg(&socket, &parts, &mut control, SendFlags::empty()).expect("an answer");
        Client {
            sides,
            socket,
            session: Arc::new(session),
            vmm,
        }
    }

    fn serve(mut self) {
        let mut message = [0; 16];
        let mut scratch = Scratch::default();
        let mut id = 0;
        while let Ok((16, _)) = rustix::net::recv(&self.socket, &mut message, RecvFlags::empty()) {
            let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| message[at + i]));
            let mut batch = vec![0; word(12) as usize];
            let arena = &self.session.arena;
            arena
                .memory()
                .read(word(8).into(), &mut batch)
                .expect("the batch lies in the arena");
            arena.set_consumed(arena.consumed() + 1);
            let mut rest = &batch[..];
            while let Some(header) = Header::read(rest) {
                let (command, after) = rest.split_at(header.size as usize);
                self.execute(id, command, &mut scratch);
                id += 1;
                rest = after;
            }
        }
    }

    fn execute(&mut self, id: u64, bytes: &[u8], scratch: &mut Scratch) {
        let session = &self.session;
        let kept: weir_wire::function::Kept<'_> = &|handle| session.objects.kept(handle);
        let checked = check(self.sides.api, bytes, MIN_SIZE, kept);
        let refused = checked.err().map(|why| why.to_string());
        thread_local! {
            static LIBRARIES: RefCell<HashMap<u16, Arc<dyn weir_runtime::library::Library>>> =
                RefCell::default();
        }
        let library = LIBRARIES.with_borrow_mut(|libraries| {
            let library = libraries.entry(self.sides.api.id);
            Arc::clone(library.or_insert_with(|| (self.sides.library)()))
        });
        let received = Received { id, gated: false };
        turn::run(session, &library, received, bytes, scratch, &mut Nobody);
        while let Ok(Some(_)) = self.vmm.next_completion() {}
        let mut stage = stage();
        let number = Header::read(bytes).map(|header| header.function);
        if stage.expected.as_ref().map(|expected| expected.number) == number {
            stage.refused = refused;
            stage.command = bytes.to_vec();
            stage.finished = true;
            if let Some((_, changed)) = STAGE.get() {
                changed.notify_all();
            }
        }
    }
}
