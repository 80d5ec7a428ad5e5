//! One client, and the way of its calls.
//!
//! A batch goes through [`Client::turn`] in five steps: **copy**, then for each command in it
//! **check**, **meter**, **admit** and **forward**. Nothing after the first step reads the arena.
//! What the worker reports afterwards comes in through [`Client::hear`].

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::thread::futex;
use weir_wire::arena::{
    Arena, CONSUMED, DATA_OFFSET, EVENTS, Lost, MAX_BATCHES, MAX_LANES, SLOT_SEQ, STREAM_OFFSET,
    STREAM_SIZE,
};
use weir_wire::channel::{self, COMPLETIONS_COUNT, Completion, Event, VmmEnd};
use weir_wire::check::{Malformed, Use, check, handles, traffic};
use weir_wire::command::{Call, HEADER_SIZE, Header, MAX_COMMAND, Place};
use weir_wire::function::{Api, Failure, Function};
use weir_wire::handle::Handle;

use super::admit::{Admission, Decision, Request};
use super::bell::Bell;
use super::meter::{ClientMeter, ClientState, Tenant};
use super::objects::{KindOf, MAX_PROPOSALS, Objects, Proposal};
use super::quota::Taken;
use super::worker::Hired;

/// Commands that one client may send on before it is the next one's turn.
const COMMANDS_PER_TURN: usize = 128;
/// Commands whose end a worker may leave open.
const MAX_FLIGHTS: usize = 1 << 20;
/// From this many open commands on, the worker's reports are listened to while the mediator sleeps:
/// below it, all that they can report fits into the ring.
const LISTEN_ABOVE: usize = COMPLETIONS_COUNT as usize / 4;

/// What all clients of one accelerator have in common.
pub(super) struct Desk {
    /// The APIs that the accelerator executes; the first one's errors stand for all that is of none.
    pub(super) apis: Vec<&'static Api>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) admission: Box<dyn Admission>,
}

/// How threads of a client that sleep are woken.
#[derive(Debug)]
pub(super) enum Wake {
    /// An event that reaches them all: a guest's interrupt.
    Event(Bell),
    /// They sleep on the words of the arena itself.
    Futex,
}

impl Wake {
    /// Wakes who sleeps until the word at `offset` changes.
    fn word(&self, arena: &Arena, offset: u64) {
        match self {
            Wake::Event(bell) => bell.ring(),
            Wake::Futex => {
                if let Ok(word) = arena.memory().atomic_u32(offset) {
                    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
                }
            }
        }
    }

    /// Wakes all that sleep.
    fn all(&self, arena: &Arena) {
        match self {
            Wake::Event(_) => self.word(arena, 0),
            Wake::Futex => {
                for lane in 0..MAX_LANES {
                    self.word(arena, Arena::lane_offset(lane) + SLOT_SEQ);
                }
                self.word(arena, CONSUMED);
                self.word(arena, EVENTS);
            }
        }
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

/// A command that has been sent on.
#[derive(Debug)]
struct Flight {
    proposed: Vec<Handle>,
    /// When, where the device's time counts and has not been reported.
    executing_since: Option<Instant>,
    called: bool,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Something has been done; there may be more.
    pub(super) worked: bool,
    /// A command waits for room or admission.
    pub(super) held: bool,
}

/// What came of one command.
enum Outcome {
    /// It has been sent on.
    Sent,
    /// It waits for room or admission.
    Held,
    /// It is not sent on; this is the error that its caller gets.
    Refused(Refusal),
}

/// An error that Weir gives instead of the API.
struct Refusal {
    /// The tables by which to find out where the caller looks for it.
    api: &'static Api,
    code: i64,
}

/// A command that may be looked at. What it proposes is in [`Client::proposals`].
struct Checked<'a> {
    api: &'static Api,
    function: &'static Function,
    call: Call<'a>,
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
    next_id: u64,
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
            next_id: 1,
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
    pub(super) fn lose(&mut self, reason: Lost) -> u64 {
        if self.lost {
            return 0;
        }
        self.lost = true;
        self.arena.set_lost(reason);
        self.wake.all(&self.arena);
        self.meter.set_state(ClientState::Lost);
        self.meter.set_worker(0);
        self.announced = VecDeque::new();
        self.batch = Batch::default();
        self.flights = HashMap::new();
        self.held = false;
        let bytes = self.objects.clear();
        self.meter.set_memory(0);
        bytes
    }

    /// Whether the worker's reports cannot wait until the mediator wakes for another reason.
    fn must_listen(&self, desk: &Desk) -> bool {
        self.held
            || self.flights.len() > LISTEN_ABOVE
            || (desk.admission.listens() && !self.flights.is_empty())
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
        if self.channel.publish() {
            self.meter.worker_wakes.add(1);
            self.worker_event.ring();
        }
        self.held = turn.held;
        outcome.map(|()| turn)
    }

    fn serve(&mut self, desk: &mut Desk, batch: &mut Batch, turn: &mut Turn) -> Result<(), Lost> {
        for _ in 0..COMMANDS_PER_TURN {
            if batch.rest().is_empty() {
                let Some(announced) = self.announced.pop_front() else {
                    break;
                };
                self.copy(desk, announced, batch);
                turn.worked = true;
                continue;
            }
            if !self.next_command(desk, batch)? {
                turn.held = true;
                break;
            }
            turn.worked = true;
        }
        Ok(())
    }

    /// **Copy**: takes what was announced out of the arena, once.
    fn copy(&mut self, desk: &Desk, announced: Announced, batch: &mut Batch) {
        let (offset, length) = (u64::from(announced.offset), u64::from(announced.length));
        let stream = STREAM_OFFSET..=STREAM_OFFSET + STREAM_SIZE;
        let fits = stream.contains(&offset) && stream.contains(&(offset + length));
        batch.done = 0;
        batch.metered = false;
        batch.bytes.resize(length as usize * usize::from(fits), 0);
        if length == 0
            || announced.flags != 0
            || !fits
            || self.arena.memory().read(offset, &mut batch.bytes).is_err()
        {
            batch.bytes.clear();
            self.meter.refused.add(1);
            self.arena.put_error(desk.apis[0].errors.malformed as i32);
        }
        self.meter.batches.add(1);
        self.consumed += 1;
        self.arena.set_consumed(self.consumed);
        if self.arena.has_sleepers() {
            self.wake.word(&self.arena, CONSUMED);
        }
    }

    /// Deals with the command at the front of `batch`; returns whether it is done.
    fn next_command(&mut self, desk: &mut Desk, batch: &mut Batch) -> Result<bool, Lost> {
        let rest = &batch.bytes[batch.done..];
        let (size, outcome) = match frame(rest) {
            Some(bytes) => (bytes.len(), self.pass(desk, bytes, &mut batch.metered)?),
            // Where the next command begins cannot be known any more.
            None => (
                rest.len(),
                Outcome::Refused(Refusal::malformed(desk.apis[0])),
            ),
        };
        match outcome {
            Outcome::Held => return Ok(false),
            Outcome::Sent => {}
            Outcome::Refused(refusal) => self.refuse(rest, refusal),
        }
        batch.done += size;
        batch.metered = false;
        Ok(true)
    }

    /// The steps after the copy.
    fn pass(&mut self, desk: &mut Desk, bytes: &[u8], metered: &mut bool) -> Result<Outcome, Lost> {
        let checked = match self.check(desk, bytes) {
            Ok(checked) => checked,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        if !std::mem::replace(metered, true) {
            self.count(&checked);
        }
        match self.admit(desk, &checked) {
            Taken::Yes => {}
            Taken::Soon => return Ok(Outcome::Held),
            Taken::No => {
                let (api, code) = (checked.api, checked.api.errors.quota);
                return Ok(Outcome::Refused(Refusal { api, code }));
            }
        }
        self.forward(desk, &checked)
    }

    /// **Check**: form by the API's tables, handles by the client's own. Fills in the proposals.
    fn check<'a>(&mut self, desk: &Desk, bytes: &'a [u8]) -> Result<Checked<'a>, Refusal> {
        let first = desk.apis[0];
        let id = Header::read(bytes).map(|header| header.api);
        let api = desk.apis.iter().find(|api| Some(api.id) == id);
        let Some(&api) = api else {
            let (api, code) = (first, first.errors.unsupported);
            return Err(Refusal { api, code });
        };
        let (function, call) = check(api, bytes, self.arena.size()).map_err(|error| {
            log::debug!("client {}: {error}", self.id);
            let code = match error {
                Malformed::Function(_) => api.errors.unsupported,
                _ => api.errors.malformed,
            };
            Refusal { api, code }
        })?;
        self.check_handles(api, function, &call)?;
        let holds = match function.holds {
            Some(holds) => holds(&call).ok_or(Refusal::malformed(api))?,
            None => 0,
        };
        if let Some(first) = self.proposals.iter_mut().find(|new| !new.permanent) {
            first.bytes = holds;
        }
        Ok(Checked {
            api,
            function,
            call,
        })
    }

    fn check_handles(
        &mut self,
        api: &'static Api,
        function: &Function,
        call: &Call<'_>,
    ) -> Result<(), Refusal> {
        let invalid = |kind: usize| Refusal {
            api,
            code: api
                .kinds
                .get(kind)
                .map_or(api.errors.malformed, |kind| kind.invalid),
        };
        let objects = &self.objects;
        let proposals = &mut self.proposals;
        proposals.clear();
        handles(function, call, |handle, usage| match usage {
            Use::Existing(kind) => match objects.kind(handle) {
                Some(found) if found == (KindOf { api: api.id, kind }) => Ok(()),
                _ => Err(invalid(kind)),
            },
            Use::ExistingAny => match objects.kind(handle) {
                Some(found) if found.api == api.id => Ok(()),
                _ => Err(Refusal::malformed(api)),
            },
            Use::New {
                kind,
                parent,
                found,
            } => {
                let known = |other: &Proposal| other.handle.slot() == handle.slot();
                if !objects.is_free(handle)
                    || proposals.len() == MAX_PROPOSALS
                    || proposals.iter().any(known)
                {
                    return Err(Refusal::malformed(api));
                }
                proposals.push(Proposal {
                    handle,
                    kind: KindOf { api: api.id, kind },
                    parent,
                    bytes: 0,
                    permanent: found,
                });
                Ok(())
            }
        })?;
        let refused = |word: Option<usize>, allowed: fn(&Objects, Handle) -> bool| {
            let handle = Handle(call.word(word?));
            (!handle.is_null() && !allowed(objects, handle)).then(|| match objects.kind(handle) {
                Some(found) => invalid(found.kind),
                None => Refusal::malformed(api),
            })
        };
        let retained = refused(function.retains, Objects::can_retain);
        let refused = retained.or_else(|| refused(function.releases, Objects::can_release));
        refused.map_or(Ok(()), Err)
    }

    /// **Meter**: counts a command, once, whether it is admitted or not.
    fn count(&self, checked: &Checked<'_>) {
        let (into, out) = traffic(checked.function, &checked.call);
        let meter = &self.meter;
        meter.calls.add(1);
        meter.bytes_in.add(into + checked.call.bytes().len() as u64);
        meter.bytes_out.add(out);
    }

    /// **Admit**: the policy first, then the memory that the command's object holds.
    fn admit(&mut self, desk: &mut Desk, checked: &Checked<'_>) -> Taken {
        let request = Request {
            client: self.id,
            function: checked.function,
        };
        match desk.admission.admit(request) {
            Decision::Forward => desk.tenant.quota.take(self.proposed_bytes()),
            Decision::Hold => Taken::Soon,
        }
    }

    fn proposed_bytes(&self) -> u64 {
        self.proposals.iter().map(|new| new.bytes).sum()
    }

    /// **Forward**: hands the command to the worker, and from then on takes it as done: what it
    /// makes exists, what it releases does not.
    fn forward(&mut self, desk: &Desk, checked: &Checked<'_>) -> Result<Outcome, Lost> {
        let quota = &desk.tenant.quota;
        match self.channel.push(self.next_id, checked.call.bytes()) {
            Ok(true) => {}
            Ok(false) => {
                quota.give(self.proposed_bytes());
                return Ok(Outcome::Held);
            }
            Err(_) => {
                quota.give(self.proposed_bytes());
                return Err(Lost::Worker);
            }
        }
        let function = checked.function;
        let named = |word: Option<usize>| word.map(|word| Handle(checked.call.word(word)));
        if let Some(handle) = named(function.retains) {
            self.objects.retain(handle);
        }
        for proposal in &self.proposals {
            self.objects.bind(*proposal);
        }
        if let Some(handle) = named(function.releases) {
            quota.give(self.objects.release(handle));
        }
        self.meter.set_memory(self.objects.bytes());
        if self.flights.len() >= MAX_FLIGHTS {
            return Err(Lost::Protocol);
        }
        let flight = Flight {
            proposed: self.proposals.iter().map(|new| new.handle).collect(),
            executing_since: function.device_time.then(Instant::now),
            called: false,
        };
        self.flights.insert(self.next_id, flight);
        self.next_id += 1;
        Ok(Outcome::Sent)
    }

    /// Tells the caller of the command that `bytes` begin with that it is refused.
    fn refuse(&mut self, bytes: &[u8], refusal: Refusal) {
        self.meter.refused.add(1);
        let Refusal { api, code } = refusal;
        let header = Header::read(bytes);
        let function = header.and_then(|header| api.functions.get(usize::from(header.function)));
        let header = header.filter(|header| header.seq != 0);
        let Some(header) = header.filter(|header| header.lane < MAX_LANES) else {
            // A release that nobody waits for fails where its object was never made, which has been
            // told.
            if function.is_none_or(|function| function.releases.is_none()) {
                self.arena.put_error(code as i32);
            }
            return;
        };
        let value = match function.map(|function| (function, function.failure)) {
            Some((function, Failure::Out(word))) => {
                self.put_failure(bytes, function, word, code as i32);
                0
            }
            _ => code as u64,
        };
        if self.arena.reply(header.lane, header.seq, value) {
            let lane = Arena::lane_offset(header.lane);
            self.wake.word(&self.arena, lane + SLOT_SEQ);
        }
    }

    /// Writes `code` to where the command's out-parameter at `word` lies, if it lies where it may:
    /// the command itself may be all wrong.
    fn put_failure(&self, bytes: &[u8], function: &Function, word: usize, code: i32) {
        let place = frame(bytes)
            .and_then(|bytes| Call::new(bytes, function.words))
            .and_then(|call| call.reference(word));
        if let Some(found) = place
            && let Place::Arena(at) = found.place
            && at >= DATA_OFFSET
            && found.len >= 4
        {
            // Refuses by itself what lies beyond the arena's end.
            let _ = self.arena.memory().write(at, &code.to_le_bytes());
        }
    }

    /// Takes in what the worker has reported. Returns whether there was anything.
    ///
    /// # Errors
    /// The worker does not keep to the rules.
    fn hear(&mut self, desk: &mut Desk) -> Result<bool, Lost> {
        // What was there when we began is gone through; what comes meanwhile may wait.
        for heard in 0..COMPLETIONS_COUNT {
            match self.channel.next_completion() {
                Ok(None) => return Ok(heard > 0),
                Ok(Some(completion)) => self.complete(desk, completion)?,
                Err(_) => return Err(Lost::Worker),
            }
        }
        Ok(true)
    }

    fn complete(&mut self, desk: &mut Desk, completion: Completion) -> Result<(), Lost> {
        let id = completion.id;
        if id >= self.next_id {
            return Err(Lost::Worker);
        }
        let Some(flight) = self.flights.get_mut(&id) else {
            return match completion.event {
                Event::Called { .. } => Err(Lost::Worker),
                // The work of a call that failed, late. It costs nothing.
                Event::Executed { .. } => Ok(()),
            };
        };
        match completion.event {
            Event::Called { .. } if flight.called => return Err(Lost::Worker),
            Event::Called { bound, error } => {
                flight.called = true;
                if error != 0 {
                    flight.executing_since = None;
                }
                let mut freed = 0;
                for (index, handle) in flight.proposed.iter().enumerate() {
                    if bound >> index & 1 == 0 {
                        freed += self.objects.unbind(*handle);
                    }
                }
                desk.tenant.quota.give(freed);
                self.meter.set_memory(self.objects.bytes());
            }
            Event::Executed { device_ns } => {
                if let Some(since) = flight.executing_since.take() {
                    let seen = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    let charged = device_ns.min(seen);
                    self.meter.device_time_ns.add(charged);
                    desk.admission.charge(self.id, charged);
                }
            }
        }
        if flight.called && flight.executing_since.is_none() {
            self.flights.remove(&id);
        }
        Ok(())
    }
}

impl Refusal {
    fn malformed(api: &'static Api) -> Self {
        let code = api.errors.malformed;
        Self { api, code }
    }
}

/// The command that `bytes` begin with, if its size can be true.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let size = Header::read(bytes)?.size as usize;
    let plausible = (HEADER_SIZE..=MAX_COMMAND).contains(&size) && size.is_multiple_of(8);
    bytes.get(..size).filter(|_| plausible)
}
