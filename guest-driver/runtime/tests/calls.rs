//! Calls against a mediator that is a thread of this test: what the library puts on the wire passes
//! the checks that a mediator makes, and answers, errors and late transfers come back right.

use std::ffi::c_void;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use weir_guest::call::{Bulk, Call, Failure};
use weir_guest::connection::Library;
use weir_guest::{Code, Errors, Face};
use weir_wire::arena::{Arena, MIN_SIZE};
use weir_wire::check::check;
use weir_wire::command::{Call as Command, Header, Place};
use weir_wire::function::{self, Api, Contents, Function, Kind, NOTHING_KEPT, Param, Passing};

const THING: usize = 0;
const MAKE: u16 = 0;
const ASK: u16 = 1;
const READ: u16 = 2;
const WRITE: u16 = 3;
const DROP: u16 = 4;
const FAIL: u16 = 5;

const LOST: i64 = -1;
const BAD: i64 = -2;
const FULL: i64 = -3;
const INVALID: i64 = -5;

const fn errors() -> Errors {
    Errors {
        lost: LOST,
        malformed: BAD,
        quota: FULL,
        unsupported: -4,
    }
}

const fn param(name: &'static str, word: usize, optional: bool, passing: Passing) -> Param {
    Param {
        name,
        word,
        optional,
        passing,
    }
}

const fn function(
    name: &'static str,
    words: usize,
    params: &'static [Param],
    failure: function::Failure,
) -> Function {
    Function {
        name,
        words,
        params,
        failure,
        blocks: None,
        holds: None,
        too_large: None,
        keeps: None,
        device_time: false,
        retains: None,
        releases: None,
        order: None,
    }
}

const NEW: Passing = Passing::New {
    kind: THING,
    parent: None,
};
const BULK: Passing = Passing::In {
    len: Some(|call, _| Some(call.word(1))),
    contents: Contents::Bulk,
};

static API: Api = Api {
    name: "toy",
    id: 9,
    kinds: &[Kind {
        name: "thing",
        invalid: INVALID,
    }],
    errors: errors(),
    functions: &[
        function(
            "make",
            3,
            &[
                param("result", 0, false, NEW),
                param(
                    "error",
                    1,
                    false,
                    Passing::Out {
                        len: Some(|_, _| Some(4)),
                    },
                ),
            ],
            function::Failure::Out(1),
        ),
        function(
            "ask",
            3,
            &[
                param("thing", 0, false, Passing::Handle(THING)),
                param("answer", 1, false, Passing::Out { len: None }),
            ],
            function::Failure::Return,
        ),
        function(
            "read",
            6,
            &[
                param("thing", 0, false, Passing::Handle(THING)),
                param("size", 1, false, Passing::Scalar),
                param(
                    "to",
                    2,
                    false,
                    Passing::Out {
                        len: Some(|call, _| Some(call.word(1))),
                    },
                ),
                param(
                    "done",
                    4,
                    true,
                    Passing::Out {
                        len: Some(|_, _| Some(4)),
                    },
                ),
            ],
            function::Failure::Return,
        ),
        function(
            "write",
            6,
            &[
                param("thing", 0, false, Passing::Handle(THING)),
                param("size", 1, false, Passing::Scalar),
                param("from", 2, false, BULK),
                param(
                    "done",
                    4,
                    true,
                    Passing::Out {
                        len: Some(|_, _| Some(4)),
                    },
                ),
            ],
            function::Failure::Return,
        ),
        function(
            "drop",
            1,
            &[param("thing", 0, false, Passing::Handle(THING))],
            function::Failure::Return,
        ),
        function("fail", 0, &[], function::Failure::Return),
    ],
};

static FACE: Face = Face {
    ended: |weir, ended| weir.objects.end(ended),
    name: "toy",
    id: 9,
    errors: errors(),
    invalid: &[INVALID],
    dispatch: std::ptr::null,
    reports: |function| function == ASK,
    drain: |_| {},
};
static LIBRARY: Library = Library::new(&FACE);

/// Commands that the mediator has seen, by their functions.
static SEEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
/// Whether it completes late transfers.
static COMPLETE: AtomicBool = AtomicBool::new(true);
static QUESTIONS: AtomicU32 = AtomicU32::new(0);

/// The mediator and worker in one: executes what a `thing` is asked to do, which is to hold bytes.
struct Mediator {
    socket: OwnedFd,
    arena: Arena,
    thing: Vec<u8>,
    late: Vec<u64>,
}

impl Mediator {
    fn listen(path: &std::path::Path) {
        let listener =
            rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        std::thread::spawn(move || {
            let flags = SocketFlags::CLOEXEC;
            let socket = rustix::net::accept_with(&listener, flags).unwrap();
            let mut request = [0; 64];
            let (len, _) = rustix::net::recv(&socket, &mut request, RecvFlags::empty()).unwrap();
            assert_eq!((len, request[0]), (40, 1));
            let (arena, file) = Arena::create(MIN_SIZE).unwrap();
            let mut reply = [0; 24];
            reply[16..].copy_from_slice(&MIN_SIZE.to_le_bytes());
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let files = [file.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
            let parts = [IoSlice::new(&reply)];
            rustix::net::sendmsg(&socket, &parts, &mut control, SendFlags::empty()).unwrap();
            let mediator = Mediator {
                socket,
                arena,
                thing: vec![0; 1 << 20],
                late: Vec::new(),
            };
            mediator.serve();
        });
    }

    fn serve(mut self) {
        let mut message = [0; 16];
        while let Ok((16, _)) = rustix::net::recv(&self.socket, &mut message, RecvFlags::empty()) {
            let word = |at: usize| u32::from_le_bytes(*message[at..].first_chunk().unwrap());
            assert_eq!((word(0), word(4)), (3, 0));
            let mut batch = vec![0; word(12) as usize];
            self.arena
                .memory()
                .read(word(8).into(), &mut batch)
                .unwrap();
            self.arena.set_consumed(self.arena.consumed() + 1);
            let mut rest = &batch[..];
            while let Some(header) = Header::read(rest) {
                let (command, after) = rest.split_at(header.size as usize);
                self.execute(command);
                rest = after;
            }
            assert!(rest.is_empty());
        }
    }

    fn execute(&mut self, bytes: &[u8]) {
        let (_, call) =
            check(&API, bytes, MIN_SIZE, NOTHING_KEPT).unwrap_or_else(|error| panic!("{error}"));
        SEEN.lock().unwrap().push(call.header.function);
        let value = match call.header.function {
            MAKE => call.word(0),
            ASK => {
                QUESTIONS.fetch_add(1, Ordering::Relaxed);
                let len = call.reference(1).unwrap().len as usize;
                self.put(&call, 1, &vec![7; len]);
                0
            }
            READ => {
                let len = call.word(1) as usize;
                self.put(&call, 2, &self.thing[..len]);
                self.done(&call);
                0
            }
            WRITE => {
                let len = call.word(1) as usize;
                let from = call.reference(2).unwrap();
                match from.place {
                    Place::Arena(at) => {
                        self.arena
                            .memory()
                            .read(at, &mut self.thing[..len])
                            .unwrap();
                    }
                    _ => self.thing[..len].copy_from_slice(call.inline(from).unwrap()),
                }
                self.done(&call);
                0
            }
            FAIL => -42_i32 as u32 as u64,
            _ => 0,
        };
        if call.header.seq == 0 {
            if call.header.function == FAIL {
                self.arena.put_error(weir_wire::handle::Handle::NULL, -42);
            }
            return;
        }
        if COMPLETE.load(Ordering::Relaxed) {
            for at in self.late.drain(..) {
                let word = self.arena.memory().atomic_u32(at).unwrap();
                word.store(1, Ordering::Release);
            }
        }
        if self.arena.reply(call.header.lane, call.header.seq, value) {
            let slot = Arena::lane_offset(call.header.lane);
            let word = self.arena.memory().atomic_u32(slot).unwrap();
            let all = i32::MAX as u32;
            rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), all).unwrap();
        }
    }

    fn put(&self, call: &Command<'_>, word: usize, bytes: &[u8]) {
        let Place::Arena(at) = call.reference(word).unwrap().place else {
            panic!("an output lies in the arena");
        };
        self.arena.memory().write(at, bytes).unwrap();
    }

    fn done(&mut self, call: &Command<'_>) {
        if let Place::Arena(at) = call.reference(4).unwrap().place {
            self.late.push(at);
        }
    }
}

/// Connects, once for all tests; they run one after the other, since they share the client.
fn fixture() -> std::sync::MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    static CONNECTED: OnceLock<()> = OnceLock::new();
    let guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    CONNECTED.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("weir-calls-{}", std::process::id()));
        Mediator::listen(&path);
        // SAFETY: no other test reads the environment before it has this fixture.
        unsafe { std::env::set_var("WEIR_SOCKET", &path) };
        LIBRARY.connect().unwrap();
        std::fs::remove_file(&path).unwrap();
    });
    SEEN.lock().unwrap().clear();
    guard
}

fn make() -> *mut c_void {
    let mut call = Call::new(&LIBRARY, MAKE, 3).unwrap();
    let made = call.new_object(0, THING, None).unwrap();
    let error = call.output(1, 4, true);
    call.send(false, Failure::Out(error)).unwrap();
    made.address()
}

fn ask(thing: *mut c_void, answer: &mut [u8]) -> Result<(), Code> {
    let mut call = Call::new(&LIBRARY, ASK, 3)?;
    call.object(0, thing, THING, false)?;
    let output = call.output(1, answer.len() as u64, true);
    let reply = call.send(false, Failure::Return)?;
    // SAFETY: there is room for as many bytes.
    unsafe { reply.copy(output, answer.as_mut_ptr().cast(), u64::MAX) };
    Ok(())
}

fn read(thing: *mut c_void, to: &mut [u8], queued: bool) -> Result<(), Code> {
    let mut call = Call::new(&LIBRARY, READ, 6)?;
    call.object(0, thing, THING, false)?;
    call.word(1, to.len() as u64);
    let bulk = Bulk::line(to.as_mut_ptr().cast());
    // SAFETY: the tests keep what is read into until it has come.
    unsafe { call.bulk_output(2, bulk, to.len() as u64, false)? };
    call.done(4);
    call.send(queued, Failure::Return).map(drop)
}

fn write(thing: *mut c_void, from: &[u8], queued: bool) -> Result<(), Code> {
    let mut call = Call::new(&LIBRARY, WRITE, 6)?;
    call.object(0, thing, THING, false)?;
    call.word(1, from.len() as u64);
    let bulk = Bulk::line(from.as_ptr().cast());
    // SAFETY: so many bytes there are.
    unsafe { call.bulk_input(2, bulk, from.len() as u64, false)? };
    call.done(4);
    call.send(queued, Failure::Return).map(drop)
}

#[test]
fn queued_calls_go_before_the_one_that_waits() {
    let _one = fixture();
    let thing = make();
    SEEN.lock().unwrap().clear();
    for _ in 0..3 {
        write(thing, b"some bytes", true).unwrap();
    }
    assert!(
        SEEN.lock().unwrap().is_empty(),
        "nothing has asked for them"
    );
    ask(thing, &mut [0; 8]).unwrap();
    assert_eq!(*SEEN.lock().unwrap(), [WRITE, WRITE, WRITE, ASK]);
}

#[test]
fn what_is_read_late_comes_before_a_waiting_call_returns() {
    let _one = fixture();
    let thing = make();
    let sent: Vec<u8> = (0..100_000).map(|i| i as u8).collect();
    write(thing, &sent, true).unwrap();
    let mut got = vec![0xee; sent.len()];
    COMPLETE.store(false, Ordering::Relaxed);
    read(thing, &mut got, true).unwrap();
    ask(thing, &mut [0; 8]).unwrap();
    assert!(
        got.iter().all(|byte| *byte == 0xee),
        "it is not complete yet"
    );
    COMPLETE.store(true, Ordering::Relaxed);
    ask(thing, &mut [0; 8]).unwrap();
    assert!(got == sent);
}

#[test]
fn transfers_of_all_sizes_arrive() {
    let _one = fixture();
    let thing = make();
    for len in [0, 1, 4095, 4096, 4097, 70_000, 1 << 20] {
        let sent: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
        write(thing, &sent, len % 2 == 0).unwrap();
        let mut got = vec![0; len];
        read(thing, &mut got, false).unwrap();
        assert!(got == sent, "{len} bytes");
    }
}

#[test]
fn answers_of_any_length_are_copied_and_no_byte_more() {
    let _one = fixture();
    let thing = make();
    for len in [1, 8, 4096, 4097, 200_000] {
        let mut answer = vec![0; len + 1];
        ask(thing, &mut answer[..len]).unwrap();
        assert!(answer[..len].iter().all(|byte| *byte == 7));
        assert_eq!(answer[len], 0);
    }
}

#[test]
fn an_error_that_nobody_waited_for_is_reported_once_later() {
    let _one = fixture();
    let thing = make();
    let fail = |queued| {
        let call = Call::new(&LIBRARY, FAIL, 0).unwrap();
        call.send(queued, Failure::Return).map(drop)
    };
    assert_eq!(fail(false), Err(Code(-42)));
    assert_eq!(fail(true), Ok(()));
    assert_eq!(ask(thing, &mut [0; 8]), Err(Code(-42)));
    assert_eq!(ask(thing, &mut [0; 8]), Ok(()));
}

#[test]
fn pointers_that_name_nothing_get_the_error_of_their_kind() {
    let _one = fixture();
    let mut on_stack = [0_u64; 16];
    for wrong in [
        std::ptr::null_mut(),
        std::ptr::without_provenance_mut(0x1000),
        (&raw mut on_stack).cast(),
        make().wrapping_byte_add(1),
    ] {
        assert_eq!(ask(wrong, &mut [0; 8]), Err(Code(INVALID)));
    }
    assert!(!SEEN.lock().unwrap().contains(&ASK), "nothing was sent");
}

#[test]
fn an_object_given_up_is_one_no_more() {
    let _one = fixture();
    let thing = make();
    let mut call = Call::new(&LIBRARY, DROP, 1).unwrap();
    let object = call.object(0, thing, THING, false).unwrap().unwrap();
    call.send(true, Failure::Return).unwrap();
    LIBRARY.current().unwrap().release(object);
    assert_eq!(ask(thing, &mut [0; 8]), Err(Code(INVALID)));
}

#[test]
fn what_cannot_change_is_asked_once() {
    let _one = fixture();
    let thing = make();
    let before = QUESTIONS.load(Ordering::Relaxed);
    for _ in 0..5 {
        let mut call = Call::new(&LIBRARY, ASK, 3).unwrap();
        call.object(0, thing, THING, false).unwrap();
        let output = call.output(1, 8, true);
        let reply = call.send_cached(Failure::Return).unwrap();
        assert_eq!(reply.number(output), 0x0707_0707_0707_0707);
    }
    assert_eq!(QUESTIONS.load(Ordering::Relaxed) - before, 1);
}

#[test]
fn threads_get_their_own_answers() {
    let _one = fixture();
    let thing = make().expose_provenance();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let thing = std::ptr::with_exposed_provenance_mut(thing);
                for i in 0..200 {
                    let mut answer = vec![0; 1 + (i * 8 + thread) % 300];
                    ask(thing, &mut answer).unwrap();
                    assert!(answer.iter().all(|byte| *byte == 7));
                }
            });
        }
    });
}

#[test]
fn an_arena_that_is_full_is_an_error() {
    let _one = fixture();
    let thing = make();
    let mut huge = vec![0; MIN_SIZE as usize];
    assert_eq!(read(thing, &mut huge, false), Err(Code(FULL)));
    ask(thing, &mut [0; 8]).unwrap();
}

#[test]
fn a_child_of_fork_gets_the_error_for_a_lost_device() {
    let _one = fixture();
    let thing = make();
    // SAFETY: the child does nothing but a call that must not touch anything, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let lost = ask(thing, &mut [0; 8]) == Err(Code(LOST)) && LIBRARY.connect().is_err();
        // SAFETY: ends this process only.
        unsafe { libc::_exit(if lost { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child is this test's own.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    ask(thing, &mut [0; 8]).unwrap();
}
