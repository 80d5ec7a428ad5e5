//! The way of a call: copy → check → meter → admit → forward.

use weir_wire::arena::{Lost, STREAM_OFFSET, STREAM_SIZE};
use weir_wire::check::{Malformed, Use, check, handles, traffic};
use weir_wire::command::{Call, HEADER_SIZE, Header, MAX_COMMAND};
use weir_wire::function::{Api, Expression, Function, Kept};
use weir_wire::handle::{Handle, MAX_PROPOSALS};

use super::super::admit::{Decision, Request};
use super::super::arbiter::now;
use super::super::events::Kind;
use super::super::objects::{KindOf, Objects, Proposal};
use super::super::quota::Taken;
use super::report::Flight;
use super::work::Plan;
use super::{Announced, Batch, Client, Desk, Turn};

/// Commands that one client may send on before it is the next one's turn.
const COMMANDS_PER_TURN: usize = 128;
/// Commands whose end a worker may leave open.
const MAX_FLIGHTS: usize = 1 << 20;

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
pub(super) struct Refusal {
    /// The tables by which to find out where the caller looks for it.
    pub(super) api: &'static Api,
    pub(super) code: i64,
}

/// A command that may be looked at. What it proposes is in [`Client::proposals`].
struct Checked<'a> {
    api: &'static Api,
    function: &'static Function,
    call: Call<'a>,
}

impl Client {
    /// Sends on what may go, within the limits of one turn.
    pub(super) fn serve(
        &mut self,
        desk: &mut Desk,
        batch: &mut Batch,
        turn: &mut Turn,
    ) -> Result<(), Lost> {
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
            let place = format_args!("call=? offset={offset} length={length}");
            self.meter.note(Kind::Refused, place);
            let code = desk.apis[0].errors.malformed;
            self.arena.put_error(Handle::NULL, code as i32);
        }
        self.meter.batches.add(1);
        self.consumed += 1;
        self.arena.set_consumed(self.consumed);
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
                let alone = self.proposed_bytes() > desk.tenant.quota.limit();
                let too_large = checked.function.too_large.filter(|_| alone);
                let (api, code) = (checked.api, checked.api.errors.quota);
                let code = too_large.unwrap_or(code);
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
        let objects = &self.objects;
        let kept: Kept<'_> = &|handle| objects.kept(handle);
        let (function, call) = check(api, bytes, self.arena.size(), kept).map_err(|error| {
            log::debug!("client {}: {error}", self.id);
            let code = match error {
                Malformed::Function(_) => api.errors.unsupported,
                _ => api.errors.malformed,
            };
            Refusal { api, code }
        })?;
        self.check_handles(api, function, &call)?;
        let objects = &self.objects;
        let value = |expression: Option<Expression>| match expression {
            Some(value) => value(&call, &|handle| objects.kept(handle)),
            None => Some(0),
        };
        let values = (value(function.holds), value(function.keeps));
        let (Some(holds), Some(keeps)) = values else {
            return Err(Refusal::malformed(api));
        };
        if let Some(first) = self.proposals.iter_mut().find(|new| !new.permanent) {
            first.bytes = holds;
            first.kept = keeps;
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
                if !objects.is_free(handle) || proposals.len() == MAX_PROPOSALS {
                    return Err(Refusal::malformed(api));
                }
                proposals.push(Proposal {
                    handle,
                    kind: KindOf { api: api.id, kind },
                    parent,
                    bytes: 0,
                    kept: 0,
                    permanent: found,
                });
                Ok(())
            }
        })?;
        if proposals.len() > 1 {
            let mut slots: Vec<u32> = proposals.iter().map(|new| new.handle.slot()).collect();
            slots.sort_unstable();
            if !slots.is_sorted_by(|one, next| one < next) {
                return Err(Refusal::malformed(api));
            }
        }
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
        let (into, out) = traffic(checked.function, &checked.call);
        if self.flights.len() >= desk.limits.queue_depth as usize {
            // It waits for room, unless nothing that is under way can end by itself: what comes
            // next in the stream could be what all wait for.
            return match self.uncalled > 0 || self.works.can_end() || self.eligible().is_some() {
                true => Taken::Soon,
                false => Taken::No,
            };
        }
        let request = Request {
            client: self.id,
            function: checked.function,
            bytes: into + out,
            now: now(),
        };
        if desk.admission.admit(request) == Decision::Hold {
            if !self.held {
                let call = format_args!("call={}", checked.function.name);
                self.meter.note(Kind::Throttled, call);
            }
            return Taken::Soon;
        }
        let many = self.objects.count() + self.proposals.len() as u64;
        let new = !self.proposals.is_empty();
        if new && many > u64::from(desk.limits.handles) {
            return Taken::No;
        }
        let taken = desk.tenant.quota.take(self.proposed_bytes());
        if taken == Taken::Soon {
            desk.admission.take_back(request);
        }
        taken
    }

    fn proposed_bytes(&self) -> u64 {
        self.proposals.iter().map(|new| new.bytes).sum()
    }

    /// **Forward**: hands the command to the worker, and from then on takes it as done: what it
    /// makes exists, what it releases does not.
    fn forward(&mut self, desk: &mut Desk, checked: &Checked<'_>) -> Result<Outcome, Lost> {
        let Desk { tenant, gates, .. } = desk;
        let quota = &tenant.quota;
        let (function, call) = (checked.function, &checked.call);
        let now = if function.device_time { now() } else { 0 };
        let plan = function
            .device_time
            .then(|| self.plan(gates, function, call, now));
        let id = self.next_id;
        let pushed = match plan.as_ref().is_some_and(Plan::gated) {
            true => self.channel.push_gated(id, call.bytes()),
            false => self.channel.push(id, call.bytes()),
        };
        if !matches!(pushed, Ok(true)) {
            quota.give(self.proposed_bytes());
            if let Some(plan) = &plan {
                self.unplanned(plan, gates, now);
            }
            return pushed.map(|_| Outcome::Held).map_err(|_| Lost::Worker);
        }
        self.unpublished = true;
        let work = match plan {
            Some(plan) => Some(self.planned(id, plan, gates, now)),
            None => {
                self.passed(id, function, call);
                None
            }
        };
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
            bound: vec![0; self.proposals.len().div_ceil(64)],
            proposed: self.proposals.iter().map(|new| new.handle).collect(),
            work,
            called: false,
        };
        self.flights.insert(id, flight);
        self.uncalled += 1;
        self.next_id += 1;
        Ok(Outcome::Sent)
    }
}

impl Refusal {
    fn malformed(api: &'static Api) -> Self {
        let code = api.errors.malformed;
        Self { api, code }
    }
}

/// The command that `bytes` begin with, if its size can be true.
pub(super) fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let size = Header::read(bytes)?.size as usize;
    let plausible = (HEADER_SIZE..=MAX_COMMAND).contains(&size) && size.is_multiple_of(8);
    bytes.get(..size).filter(|_| plausible)
}
