//! The client's stream of commands, in order, by whichever thread leads.
//!
//! One thread at a time holds the *seat*: it takes commands from the channel in order and makes the
//! calls itself. A call that may take long gives the seat up once its inputs have been taken; if
//! another command comes, another thread takes the seat, else nobody needs it. So a program with one
//! thread costs no hand-over at all.
//!
//! Who holds the seat looks for commands for a bounded time before it gives the seat up and sleeps on
//! the worker's event. Whoever is woken takes the seat, waiting for it if need be: the one who holds
//! it may have looked a last time already. Each writing of the event wakes one of those who sleep.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use weir_runtime::library::Library;
use weir_runtime::scratch::Scratch;
use weir_runtime::session::{Session, raise};
use weir_runtime::turn::{self, Seat};
use weir_wire::arena::MAX_LANES;
use weir_wire::channel::{CommandReader, GateReader, Received};
use weir_wire::command::Header;

/// Most threads: one for each lane that can be in a call, and one that leads.
const MAX_THREADS: usize = MAX_LANES as usize + 1;
/// The longest that a thread looks for commands before it sleeps.
const LONGEST_LOOK: Duration = Duration::from_micros(100);
/// The shortest; below it, looking is not worth while and it sleeps at once.
const SHORTEST_LOOK: Duration = Duration::from_micros(4);
/// After so many commands in a row, those that the device has finished are looked for.
const SWEEP_EVERY: u32 = 64;

/// One client's stream.
pub(crate) struct Dispatcher {
    session: Session,
    libraries: Vec<Arc<dyn Library>>,
    seat: Mutex<CommandReader>,
    /// What wakes threads without the seat.
    event: OwnedFd,
    /// What they sleep on: the one event, so that each time that it is written one of them wakes, and
    /// not all. (Of those who read or poll the event itself, all would, for the first to take.)
    sleepers: OwnedFd,
    /// Threads that are not in a call that may take long.
    free: AtomicUsize,
    /// All threads.
    threads: AtomicUsize,
}

impl Dispatcher {
    /// A stream that comes through `reader`, whose VMM writes `event` when this side sleeps.
    pub(crate) fn new(
        session: Session,
        libraries: Vec<Arc<dyn Library>>,
        reader: CommandReader,
        event: OwnedFd,
    ) -> std::io::Result<Dispatcher> {
        let sleepers = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let once = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&sleepers, &event, epoll::EventData::new_u64(0), once)?;
        Ok(Dispatcher {
            session,
            libraries,
            seat: Mutex::new(reader),
            event,
            sleepers,
            free: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
        })
    }

    /// Starts the first thread, and the one that opens `gates`: it waits for nothing else, so that a
    /// gate opens whatever the others are blocked in.
    pub(crate) fn start(self: Arc<Self>, mut gates: GateReader) -> std::io::Result<()> {
        let this = Arc::clone(&self);
        let opener = std::thread::Builder::new().name("weir-gates".to_owned());
        opener.spawn(move || {
            loop {
                match gates.opened() {
                    Some(id) => this.session.gates.open(id),
                    None => gates.wait(),
                }
            }
        })?;
        self.spawn()
            .then_some(())
            .ok_or_else(std::io::Error::last_os_error)
    }

    /// Starts one more thread. Returns whether there is one.
    fn spawn(self: &Arc<Self>) -> bool {
        if self.threads.fetch_add(1, Ordering::AcqRel) >= MAX_THREADS {
            self.threads.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        let this = Arc::clone(self);
        let thread = std::thread::Builder::new().name("weir-dispatch".to_owned());
        self.free.fetch_add(1, Ordering::AcqRel);
        let spawned = thread.spawn(move || Thread::new(this).run());
        if let Err(error) = &spawned {
            log::error!("starting a thread: {error}");
            self.free.fetch_sub(1, Ordering::AcqRel);
            self.threads.fetch_sub(1, Ordering::AcqRel);
        }
        spawned.is_ok()
    }

    /// Sleeps until the event is written, if it has not been since somebody was last woken by it.
    fn sleep(&self) {
        // Nobody reads the event: each writing of it is one edge, however high it counts.
        let mut written = [MaybeUninit::uninit(); 1];
        while let Err(Errno::INTR) = epoll::wait(&self.sleepers, &mut written, None) {}
    }

    /// Has the event written when the next of the outstanding commands ends.
    fn watch(&self) {
        let event = (&raw const self.event).cast_mut().cast();
        // SAFETY: the dispatcher lives as long as the process: its threads never end.
        unsafe { self.session.tracker.watch(write_event, event) };
    }
}

/// Writes the event at `event`. Called by the vendor library when a command has ended.
extern "C" fn write_event(event: *mut c_void) {
    // SAFETY: it is the event of the one dispatcher, which lives as long as the process: its threads
    // never end.
    raise(unsafe { &*event.cast::<OwnedFd>() });
}

/// The channel, while a thread leads; without it, somebody else may lead.
struct Held<'a> {
    dispatcher: &'a Arc<Dispatcher>,
    reader: Option<MutexGuard<'a, CommandReader>>,
}

impl Seat for Held<'_> {
    fn step_aside(&mut self) {
        let Some(reader) = self.reader.take() else {
            return;
        };
        if self.dispatcher.free.fetch_sub(1, Ordering::AcqRel) == 1 && !self.dispatcher.spawn() {
            // Nobody could go on with the stream: it waits for this call.
            self.dispatcher.free.fetch_add(1, Ordering::AcqRel);
            self.reader = Some(reader);
            return;
        }
        // More than one command at the device: each one's end is of interest meanwhile.
        if self.dispatcher.session.tracker.is_busy() {
            self.dispatcher.watch();
        }
        reader.announce_idle();
        let more = reader.has_next();
        drop(reader);
        if more {
            raise(&self.dispatcher.event);
        }
    }
}

/// One thread.
struct Thread {
    dispatcher: Arc<Dispatcher>,
    command: Vec<u8>,
    scratch: Scratch,
    /// How long it looks for commands before it sleeps.
    look: Duration,
}

impl Thread {
    fn new(dispatcher: Arc<Dispatcher>) -> Thread {
        Thread {
            dispatcher,
            command: Vec::new(),
            scratch: Scratch::default(),
            look: LONGEST_LOOK,
        }
    }

    fn run(mut self) {
        let dispatcher = Arc::clone(&self.dispatcher);
        loop {
            let reader = dispatcher.seat.lock();
            self.lead(&dispatcher, reader.unwrap_or_else(PoisonError::into_inner));
            let since = Instant::now();
            dispatcher.sleep();
            // Had it looked a little longer, it need not have slept.
            if since.elapsed() < LONGEST_LOOK {
                self.look = (2 * self.look).clamp(SHORTEST_LOOK, LONGEST_LOOK);
            }
        }
    }

    /// Leads until there is nothing to do, or somebody else leads.
    fn lead<'a>(
        &mut self,
        dispatcher: &'a Arc<Dispatcher>,
        mut reader: MutexGuard<'a, CommandReader>,
    ) {
        let session = &dispatcher.session;
        let mut in_a_row = 0;
        reader.announce_busy();
        session.tracker.sweep(session);
        loop {
            let received = match reader.next(&mut self.command) {
                Ok(Some(received)) => received,
                Ok(None) if self.look_for_more(session, &reader) => continue,
                Ok(None) => {
                    dispatcher.watch();
                    reader.announce_idle();
                    if !reader.has_next() {
                        return;
                    }
                    reader.announce_busy();
                    continue;
                }
                Err(broken) => {
                    log::error!("the channel to the VMM: {broken}");
                    std::process::abort();
                }
            };
            in_a_row += 1;
            if in_a_row % SWEEP_EVERY == 0 {
                session.tracker.sweep(session);
            }
            let mut seat = Held {
                dispatcher,
                reader: Some(reader),
            };
            self.make(dispatcher, received, &mut seat);
            reader = match seat.reader {
                Some(reader) => reader,
                None => {
                    dispatcher.free.fetch_add(1, Ordering::AcqRel);
                    let reader = match dispatcher.seat.try_lock() {
                        Ok(reader) => reader,
                        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                        Err(TryLockError::WouldBlock) => return,
                    };
                    reader.announce_busy();
                    reader
                }
            };
        }
    }

    fn make(&mut self, dispatcher: &Dispatcher, received: Received, seat: &mut Held<'_>) {
        let session = &dispatcher.session;
        let api = Header::read(&self.command).map_or(0, |header| header.api);
        let library = dispatcher
            .libraries
            .iter()
            .find(|library| library.api().id == api);
        match library {
            Some(library) => {
                let scratch = &mut self.scratch;
                turn::run(session, library, received, &self.command, scratch, seat);
            }
            None => turn::refuse(
                session,
                received.id,
                &self.command,
                0,
                "of an API that is not offered",
            ),
        }
    }

    /// Looks for commands for a while; whether there are any.
    fn look_for_more(&mut self, session: &Session, reader: &CommandReader) -> bool {
        if reader.has_next() {
            return true;
        }
        if self.look < SHORTEST_LOOK {
            return false;
        }
        let since = Instant::now();
        let mut rounds = 0u32;
        while since.elapsed() < self.look {
            for _ in 0..32 {
                if reader.has_next() {
                    self.look = (2 * self.look).min(LONGEST_LOOK);
                    return true;
                }
                std::hint::spin_loop();
            }
            rounds += 1;
            if rounds.is_multiple_of(4) {
                session.tracker.sweep(session);
                std::thread::yield_now();
            }
        }
        self.look /= 2;
        false
    }
}
