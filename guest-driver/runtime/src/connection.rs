//! The client that this process is.
//!
//! It is made at the first call that needs it and lasts until the process ends, when the kernel
//! closes its file. It is never torn down before: programs make calls in destructors, after `main`.
//!
//! A child of `fork` is no client. Memory and file belong to the parent, so each of the child's
//! calls fails with the API's error for a lost device, before it touches anything; unless the parent
//! was no client yet: then the child may become one of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use weir_wire::arena::{self, Arena, DATA_OFFSET};

use crate::cache::Cache;
use crate::deferred::Deferred;
use crate::heap::Heap;
use crate::known::Known;
use crate::lanes::{Lane, Lanes, SCRATCH};
use crate::memory::Region;
use crate::objects::{Object, Objects};
use crate::stream::{Lost, Stream, Urgency};
use crate::transport::{self, Transport};
use crate::{Code, Face, lock};

/// Set in a child whose parent was a client, or was about to become one.
static ORPHAN: AtomicBool = AtomicBool::new(false);
/// Set as soon as this process tries to become a client.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// This process is a child of a client.
    #[error("this process was forked from one that uses the accelerator")]
    Forked,
    /// There is nothing to connect to, or it refused.
    #[error("becoming a client")]
    Transport(#[source] transport::Error),
    /// There was no room for the structures of objects.
    #[error("reserving address space for objects")]
    Objects(#[source] std::io::Error),
}

/// The place of an API's one connection.
#[derive(Debug)]
pub struct Library {
    face: &'static Face,
    /// Whether any call may be the first.
    at_first_call: bool,
    current: AtomicPtr<Connection>,
    connecting: Mutex<()>,
}

/// A client.
pub struct Connection {
    /// The API.
    pub face: &'static Face,
    /// What the program holds in its hands.
    pub objects: Objects,
    /// Bulk transfers under way.
    pub deferred: Deferred,
    /// Answers that cannot change.
    pub cache: Cache,
    /// Calls that are known to succeed.
    pub known: Known,
    arena: Arena,
    transport: Box<dyn Transport>,
    stream: Stream,
    lanes: Lanes,
    heap: Mutex<Heap>,
    gone: AtomicBool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("api", &self.face.name)
            .field("arena", &self.arena.size())
            .finish_non_exhaustive()
    }
}

impl Library {
    /// No connection yet.
    pub const fn new(face: &'static Face) -> Library {
        Library {
            face,
            at_first_call: false,
            current: AtomicPtr::new(std::ptr::null_mut()),
            connecting: Mutex::new(()),
        }
    }

    /// No connection yet; the first call makes it.
    pub const fn at_first_call(face: &'static Face) -> Library {
        Library {
            face,
            at_first_call: true,
            current: AtomicPtr::new(std::ptr::null_mut()),
            connecting: Mutex::new(()),
        }
    }

    /// The connection that a call goes over.
    pub(crate) fn connection(&self) -> Result<&'static Connection, Code> {
        match self.at_first_call {
            false => self.current(),
            true => self.connect().map_err(|_| Code(self.face.errors.lost)),
        }
    }

    /// What is known of the API.
    pub fn face(&self) -> &'static Face {
        self.face
    }

    /// The connection, if there is one and it may be used.
    pub fn current(&self) -> Result<&'static Connection, Code> {
        let lost = Code(self.face.errors.lost);
        if ORPHAN.load(Ordering::Relaxed) {
            return Err(lost);
        }
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: null, or a leaked box that `connect` made.
        unsafe { current.as_ref() }.ok_or(lost)
    }

    /// The connection; makes it if there is none yet. With `WEIR_LOG` set, a failure is explained
    /// on standard error.
    pub fn connect(&self) -> Result<&'static Connection, Unavailable> {
        if ORPHAN.load(Ordering::Relaxed) {
            return Err(Unavailable::Forked);
        }
        if let Ok(connection) = self.current() {
            return Ok(connection);
        }
        let _one_at_a_time = lock(&self.connecting);
        if let Ok(connection) = self.current() {
            return Ok(connection);
        }
        watch_forks();
        match Connection::open(self.face) {
            Ok(connection) => {
                let connection = Box::leak(Box::new(connection));
                self.current.store(connection, Ordering::Release);
                Ok(connection)
            }
            Err(error) => {
                explain(&error);
                // Nothing has been made that a child could spoil.
                ACTIVE.store(false, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

/// Ends the program: `function` cannot be made, and whatever it returned would be taken for a result.
pub fn abort(function: &str, library: &Library) -> ! {
    let why = match library.connect() {
        Ok(connection) if connection.is_lost() => "this process has lost the accelerator",
        Ok(_) => "it was refused",
        Err(_) => "there is no accelerator (WEIR_LOG=1 tells why)",
    };
    eprintln!("weir: {function} cannot say that it failed, so this program ends here: {why}");
    std::process::abort();
}

fn is_talkative() -> bool {
    std::env::var_os("WEIR_LOG").is_some()
}

fn explain(error: &Unavailable) {
    use std::error::Error;
    if !is_talkative() {
        return;
    }
    let mut line = format!("weir: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line += &format!(": {error}");
        cause = error.source();
    }
    eprintln!("{line}");
}

fn watch_forks() {
    static WATCHING: std::sync::Once = std::sync::Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the handler only touches atomics, which a child may do at any time. It fails for
        // want of memory only; then a child's calls would get errors from the driver instead.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    ACTIVE.store(true, Ordering::Relaxed);
}

extern "C" fn in_child() {
    if ACTIVE.load(Ordering::Relaxed) {
        ORPHAN.store(true, Ordering::Relaxed);
    }
}

impl Connection {
    fn open(face: &'static Face) -> Result<Connection, Unavailable> {
        let objects = Objects::new().map_err(Unavailable::Objects)?;
        let (arena, transport) = transport::open(face.name).map_err(Unavailable::Transport)?;
        let heap = Heap::new(DATA_OFFSET, arena.size());
        Ok(Connection {
            face,
            objects,
            deferred: Deferred::default(),
            cache: Cache::default(),
            known: Known::default(),
            arena,
            transport,
            stream: Stream::default(),
            lanes: Lanes::default(),
            heap: Mutex::new(heap),
            gone: AtomicBool::new(false),
        })
    }

    /// Counts one reference of `object` less; has called what is to be called if it is gone then.
    pub fn release(&'static self, object: &Object) {
        for ended in self.objects.release(object) {
            (self.face.ended)(self, ended);
        }
    }

    /// The API's error for a lost device.
    pub fn lost(&self) -> Code {
        Code(self.face.errors.lost)
    }

    /// Whether the client is over.
    pub fn is_lost(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || self.arena.lost().is_some()
    }

    /// The arena.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Where the `len` bytes at `address` lie in the arena's data, if they do.
    pub fn in_arena(&self, address: *const u8, len: u64) -> Option<u64> {
        let base = self.arena.memory().address(0, 0).ok()?;
        let at = address.addr().checked_sub(base.addr().get())? as u64;
        let end = at.checked_add(len)?;
        (at >= DATA_OFFSET && end <= self.arena.size()).then_some(at)
    }

    /// Where `region` begins in this process.
    pub fn address(&self, region: &Region) -> *mut u8 {
        match self.arena.memory().address(region.at(), region.len()) {
            Ok(address) => address.as_ptr(),
            Err(_) => unreachable!("the heap lies inside of the arena"),
        }
    }

    /// Takes arena memory. If there is no room, waits for transfers under way to end.
    pub fn allocate(&'static self, len: u64) -> Result<Region, Code> {
        loop {
            if let Some(region) = Region::allocate(&self.heap, len) {
                return Ok(region);
            }
            self.deferred.collect(&self.arena);
            if let Some(region) = Region::allocate(&self.heap, len) {
                return Ok(region);
            }
            if self.is_lost() {
                return Err(self.lost());
            }
            let Some(owner) = self.deferred.oldest() else {
                return Err(Code(self.face.errors.quota));
            };
            (self.face.drain)(owner);
            // What its owner has finished and is still not complete never will be.
            if self.deferred.oldest() == Some(owner) {
                return Err(Code(self.face.errors.quota));
            }
        }
    }

    /// Takes arena memory for the small outputs of a lane's calls. It stays in use.
    pub(crate) fn scratch(&'static self) -> Option<u64> {
        let region = Region::allocate(&self.heap, SCRATCH)?;
        let at = region.at();
        std::mem::forget(region);
        Some(at)
    }

    /// Sends what has gathered in the stream.
    pub fn flush(&self) -> Result<(), Code> {
        self.sent(self.stream.flush(&self.arena, &*self.transport))
    }

    pub(crate) fn append(&self, command: &[u8], urgency: Urgency) -> Result<(), Code> {
        self.sent(
            self.stream
                .append(&self.arena, &*self.transport, command, urgency),
        )
    }

    fn sent(&self, result: Result<(), Lost>) -> Result<(), Code> {
        result.map_err(|Lost| self.end())
    }

    /// Takes note that the client is over.
    fn end(&self) -> Code {
        if !self.gone.swap(true, Ordering::Relaxed) && is_talkative() {
            let why = match self.arena.lost() {
                Some(reason) if reason == arena::Lost::Worker as u32 => "its worker is gone",
                Some(reason) if reason == arena::Lost::Protocol as u32 => "it broke the protocol",
                Some(reason) if reason == arena::Lost::Timeout as u32 => "a command took too long",
                Some(_) => "it was ended",
                None => "the device is gone",
            };
            eprintln!("weir: this process has lost the accelerator: {why}");
        }
        self.lost()
    }

    /// Waits for an answer, and ends the transfers that are complete by then.
    pub(crate) fn wait(&self, lane: &Lane<'_>, seq: u32) -> Result<u64, Code> {
        let Some(value) = lane.wait(&self.arena, &*self.transport, seq) else {
            return Err(self.end());
        };
        self.stream.answered();
        self.deferred.collect(&self.arena);
        Ok(value)
    }
}
