//! One client, and the way of its calls.
//!
//! A batch goes through [`Client::turn`] in five steps: **copy**, then for each command in it
//! **check**, **meter**, **admit** and **forward** (`call`). Nothing after the first step reads the
//! arena. Who is refused gets to know by `refuse`; what the worker says afterwards is for `report`.

mod call;
mod refuse;
mod report;
mod wake;
mod work;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use weir_wire::arena::{Arena, Lost, MAX_BATCHES};
use weir_wire::channel::{self, COMPLETIONS_COUNT, VmmEnd};
use weir_wire::function::Api;

pub(super) use self::wake::Wake;

use self::report::Flight;
use self::work::Works;
use super::admit::Admission;
use super::arbiter::now;
use super::bell::Bell;
use super::gates::Gatekeeper;
use super::limits::Limits;
use super::meter::{ClientMeter, ClientState, Tenant};
use super::objects::{Objects, Proposal};
use super::worker::Hired;

/// From this many open commands on, the worker's reports are listened to while the mediator sleeps:
/// below it, all that they can report fits into the ring.
const LISTEN_ABOVE: usize = COMPLETIONS_COUNT as usize / 4;

/// What all clients of one accelerator have in common.
pub(super) struct Desk {
    /// The APIs that the accelerator executes; the first one's errors stand for all that is of none.
    pub(super) apis: Vec<&'static Api>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) admission: Box<dyn Admission>,
    pub(super) gates: Gatekeeper,
    pub(super) limits: Limits,
    /// The change of limits that is in force.
    limits_seen: u64,
}

impl Desk {
    pub(super) fn new(
        apis: Vec<&'static Api>,
        tenant: Arc<Tenant>,
        admission: Box<dyn Admission>,
        gates: Gatekeeper,
    ) -> Self {
        Self {
            apis,
            limits: tenant.limits.get(),
            tenant,
            admission,
            gates,
            limits_seen: 0,
        }
    }

    /// Has the present limits kept, and shows what has come of them.
    pub(super) fn refresh(&mut self) {
        if let Some(limits) = self.tenant.limits.changed(&mut self.limits_seen) {
            self.limits = limits;
            self.gates.set_terms(limits.terms());
            self.admission.set_limits(limits);
        }
        self.tenant.show_waiting(
            self.gates.waited(),
            self.gates.turns(),
            self.admission.held_ns(),
        );
    }
}

/// Part of the stream that the client has announced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) flags: u32,
}

/// A batch, copied.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// How much of it is done.
    done: usize,
    /// The next command has been counted.
    metered: bool,
}

impl Batch {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.done..]
    }
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Something has been done; there may be more.
    pub(super) worked: bool,
    /// A command waits for room or admission.
    pub(super) held: bool,
}

/// One client.
pub(super) struct Client {
    id: u32,
    arena: Arena,
    arena_file: OwnedFd,
    channel: VmmEnd,
    worker_event: Bell,
    vmm_event: Bell,
    wake: Wake,
    pub(super) worker: Option<u32>,
    pub(super) meter: Arc<ClientMeter>,
    announced: VecDeque<Announced>,
    /// Announcements that have been dealt with.
    consumed: u64,
    batch: Batch,
    objects: Objects,
    proposals: Vec<Proposal>,
    flights: HashMap<u64, Flight>,
    works: Works,
    /// Flights whose call has not returned.
    uncalled: usize,
    next_id: u64,
    /// Commands lie in the channel that the worker cannot see yet.
    unpublished: bool,
    held: bool,
    listening: bool,
    lost: bool,
}

impl Client {
    /// A client numbered `id`, with `arena_size` bytes of arena, and the files that its worker gets
    /// in the order in which it gets them.
    pub(super) fn new(
        id: u32,
        arena_size: u64,
        wake: Wake,
        meter: Arc<ClientMeter>,
    ) -> io::Result<(Client, [OwnedFd; 5])> {
        let (arena, arena_file) = Arena::create(arena_size)?;
        let (channel, channel_file) = channel::create()?;
        let worker_event = Bell::new()?;
        let vmm_event = Bell::new()?;
        let wake_event = match &wake {
            Wake::Event(bell) => bell.share()?,
            Wake::Futex => Bell::new()?.share()?,
        };
        let files = [
            arena_file.try_clone()?,
            channel_file,
            worker_event.share()?,
            vmm_event.share()?,
            wake_event,
        ];
        let client = Client {
            id,
            arena,
            arena_file,
            channel,
            worker_event,
            vmm_event,
            wake,
            worker: None,
            meter,
            announced: VecDeque::new(),
            consumed: 0,
            batch: Batch::default(),
            objects: Objects::default(),
            proposals: Vec::new(),
            flights: HashMap::new(),
            works: Works::default(),
            uncalled: 0,
            next_id: 1,
            unpublished: false,
            held: false,
            listening: false,
            lost: false,
        };
        Ok((client, files))
    }

    /// The arena: its file and size.
    pub(super) fn arena(&self) -> (BorrowedFd<'_>, u64) {
        (self.arena_file.as_fd(), self.arena.size())
    }

    /// The event that the worker writes when the mediator sleeps.
    pub(super) fn vmm_event(&self) -> BorrowedFd<'_> {
        self.vmm_event.as_fd()
    }

    /// The client has a worker now.
    pub(super) fn attach(&mut self, hired: Hired) {
        self.worker = Some(hired.worker);
        self.meter.set_worker(hired.pid);
        if hired.ready {
            self.meter.set_state(ClientState::Running);
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Notes that the client has announced a batch.
    ///
    /// # Errors
    /// It has announced more than it may.
    pub(super) fn announce(&mut self, announced: Announced) -> Result<(), Lost> {
        if self.lost {
            return Ok(());
        }
        if self.announced.len() as u64 >= MAX_BATCHES {
            return Err(Lost::Protocol);
        }
        self.announced.push_back(announced);
        Ok(())
    }

    /// Ends the client but for its shell. Returns the bytes of device memory that are free when its
    /// worker is gone.
    pub(super) fn lose(&mut self, desk: &mut Desk, reason: Lost) -> u64 {
        if self.lost {
            return 0;
        }
        self.give_up_work(&mut desk.gates, now());
        self.lost = true;
        self.arena.set_lost(reason);
        self.wake.all(&self.arena);
        self.meter.set_state(ClientState::Lost);
        self.meter.set_worker(0);
        self.announced = VecDeque::new();
        self.batch = Batch::default();
        self.flights = HashMap::new();
        self.uncalled = 0;
        self.held = false;
        let bytes = self.objects.clear();
        self.meter.set_memory(0);
        bytes
    }

    /// Whether the worker's reports cannot wait until the mediator wakes for another reason.
    fn must_listen(&self, desk: &Desk) -> bool {
        self.held
            || self.flights.len() > LISTEN_ABOVE
            || (desk.gates.listens() && !self.works.is_empty())
    }

    /// The mediator is about to sleep. It must then give the client one more turn.
    pub(super) fn before_sleep(&mut self, desk: &Desk) {
        self.listening = !self.lost && self.must_listen(desk);
        if self.listening {
            self.channel.announce_idle();
        }
    }

    /// The mediator looks by itself again.
    pub(super) fn after_sleep(&mut self) {
        if std::mem::take(&mut self.listening) {
            self.channel.announce_busy();
        }
    }

    /// Whether something is under way that will be reported.
    pub(super) fn is_open(&self) -> bool {
        !self.flights.is_empty() || self.held
    }

    /// Takes in what the worker has reported, and then sends on what may go.
    ///
    /// # Errors
    /// The client must be ended.
    pub(super) fn turn(&mut self, desk: &mut Desk) -> Result<Turn, Lost> {
        let mut turn = Turn::default();
        if self.lost {
            return Ok(turn);
        }
        turn.worked |= self.hear(desk)?;
        let mut batch = std::mem::take(&mut self.batch);
        let outcome = self.serve(desk, &mut batch, &mut turn);
        self.batch = batch;
        // A worker that has nothing to do is left asleep.
        if std::mem::take(&mut self.unpublished) && self.channel.publish() {
            self.meter.worker_wakes.add(1);
            self.worker_event.ring();
        }
        self.held = turn.held;
        outcome.map(|()| turn)
    }
}
