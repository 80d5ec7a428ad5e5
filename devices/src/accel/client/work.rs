//! Commands of a client that make the device work: which of them are behind closed gates, and which
//! of those may be opened.
//!
//! A command is *eligible* if nothing but its gate keeps it from beginning: its worker has said so, or
//! all that it waits for has begun itself.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use weir_wire::arena::Lost;
use weir_wire::check::handle_list;
use weir_wire::command::Call;
use weir_wire::function::{Function, Passing};
use weir_wire::handle::Handle;

use super::super::gates::Gatekeeper;
use super::Client;
use super::report::Flight;

/// From so many lines on, those without work on them are not kept.
const MOST_LINES: usize = 4096;

/// A command that makes the device work.
#[derive(Debug)]
pub(super) struct Work {
    /// The line that it was given to; null where its work is the call itself.
    line: u64,
    /// What commands are like it.
    key: u64,
    expected: u64,
    /// When its gate was opened, if it is open.
    since: Option<u64>,
    /// Commands that it waits for.
    after: Vec<u64>,
    /// It may wait for something else as well.
    unknown: bool,
}

#[derive(Debug, Default)]
struct Line {
    /// Commands that have begun, or may have.
    open: u32,
    /// Those behind closed gates, in order.
    closed: VecDeque<u64>,
    /// The last command of the line that the device does nothing for, and that waits for something:
    /// what comes after it may wait too.
    waits: u64,
}

/// What a client's commands are to the device.
#[derive(Debug, Default)]
pub(super) struct Works {
    lines: HashMap<u64, Line>,
    /// Commands behind closed gates of which the worker has said that they are ready.
    ready: BTreeSet<u64>,
    closed: usize,
    open: u32,
    /// Which command an event belongs to, by the event's slot.
    events: HashMap<u32, (Handle, u64)>,
    /// When a command has begun or ended last.
    progress: u64,
    /// What the client has used, in its tenant's own queue.
    virtual_time: u64,
    /// Gates that are open, and of which the worker cannot be told yet.
    unsent: VecDeque<u64>,
}

impl Works {
    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.closed == 0 && self.open == 0
    }

    /// Whether any of them is on the device, or may be.
    pub(super) fn can_end(&self) -> bool {
        self.open > 0
    }
}

/// What is known of a command before it is sent.
pub(super) struct Plan {
    work: Work,
    gated: bool,
}

impl Plan {
    pub(super) fn gated(&self) -> bool {
        self.gated
    }
}

impl Client {
    /// How a command that makes the device work is to be sent.
    pub(super) fn plan(
        &self,
        gates: &mut Gatekeeper,
        function: &Function,
        call: &Call<'_>,
        now: u64,
    ) -> Plan {
        let order = function.order;
        let line = order.map_or(0, |order| call.word(order.line));
        let mut hasher = DefaultHasher::new();
        (self.id, call.header.api, call.header.function).hash(&mut hasher);
        for param in function.params {
            if let Passing::Handle(_) = param.passing
                && order.is_none_or(|order| order.line != param.word)
            {
                call.word(param.word).hash(&mut hasher);
            }
        }
        let key = hasher.finish();
        let mut work = Work {
            line,
            key,
            expected: gates.expected(key),
            since: None,
            after: Vec::new(),
            unknown: false,
        };
        for event in order
            .and_then(|order| order.waits)
            .into_iter()
            .flat_map(|word| handle_list(call, word))
        {
            match self.works.events.get(&event.slot()) {
                Some((known, id)) if *known == event => work.after.push(*id),
                _ => work.unknown = true,
            }
        }
        let first = self.works.lines.get(&line);
        let first = first.is_none_or(|line| line.closed.is_empty()) || line == 0;
        let free = first && !gates.wanted() && self.can_begin(&work);
        let gated = !(free && gates.try_begin(work.expected, now));
        if !gated {
            work.since = Some(now);
        }
        Plan { work, gated }
    }

    /// Whether all that `work`, which is the first of its line, waits for has begun.
    fn can_begin(&self, work: &Work) -> bool {
        let begun = |id: &u64| match self.flights.get(id).and_then(|flight| flight.work.as_ref()) {
            Some(work) => work.since.is_some(),
            None => true,
        };
        let line = self.works.lines.get(&work.line);
        !work.unknown && line.is_none_or(|line| line.waits == 0) && work.after.iter().all(begun)
    }

    /// The command `id` has been sent as planned.
    pub(super) fn planned(&mut self, id: u64, plan: Plan, gates: &Gatekeeper, now: u64) -> Work {
        let works = &mut self.works;
        if works.is_empty() {
            works.virtual_time = works.virtual_time.max(gates.virtual_time);
        }
        if works.open == 0 {
            works.progress = now;
        }
        let line = works.lines.entry(plan.work.line).or_default();
        if plan.gated {
            line.closed.push_back(id);
            works.closed += 1;
        } else {
            line.open += 1;
            works.open += 1;
        }
        for proposal in &self.proposals {
            let entry = (proposal.handle, id);
            works.events.insert(proposal.handle.slot(), entry);
        }
        plan.work
    }

    /// A plan that has come to nothing.
    pub(super) fn unplanned(&self, plan: &Plan, gates: &mut Gatekeeper, now: u64) {
        if !plan.gated {
            gates.leave(plan.work.expected, now);
        }
    }

    /// The command `id`, for which the device does nothing, has been given to a line.
    pub(super) fn passed(&mut self, id: u64, function: &Function, call: &Call<'_>) {
        let Some(order) = function.order else { return };
        let waits = order
            .waits
            .map_or(0, |word| handle_list(call, word).count());
        if waits > 0 {
            let lines = &mut self.works.lines;
            if lines.len() >= MOST_LINES {
                // A program can make and drop lines without end: those without work are forgotten,
                // which at worst lets a command of theirs have its turn early.
                lines.retain(|_, line| line.open > 0 || !line.closed.is_empty());
            }
            lines.entry(call.word(order.line)).or_default().waits = id;
        }
    }

    /// The worker says that nothing but its gate keeps command `id`.
    pub(super) fn ready(&mut self, id: u64) {
        if let Some(Flight {
            work: Some(work), ..
        }) = self.flights.get(&id)
            && work.since.is_none()
        {
            self.works.ready.insert(id);
            if let Some(line) = self.works.lines.get_mut(&work.line)
                && line.waits < id
            {
                line.waits = 0;
            }
        }
    }

    /// The command `id` that `work` was about has ended: `device_ns` by the worker's word, or without
    /// having begun. Returns what is charged.
    pub(super) fn worked(
        &mut self,
        id: u64,
        work: &Work,
        gates: &mut Gatekeeper,
        device_ns: Option<u64>,
        now: u64,
    ) -> u64 {
        let works = &mut self.works;
        works.progress = now;
        let line = works.lines.entry(work.line).or_default();
        let charged = match work.since {
            Some(since) => {
                line.open = line.open.saturating_sub(1);
                works.open = works.open.saturating_sub(1);
                match device_ns {
                    Some(time) => gates.end(work.key, since, work.expected, time, now),
                    None => {
                        gates.leave(work.expected, now);
                        0
                    }
                }
            }
            None => {
                line.closed.retain(|other| *other != id);
                works.ready.remove(&id);
                works.closed -= 1;
                0
            }
        };
        if device_ns.is_some() && line.waits < id {
            line.waits = 0;
        }
        if line.open == 0 && line.closed.is_empty() && line.waits == 0 {
            works.lines.remove(&work.line);
        }
        works.virtual_time += charged;
        charged
    }

    /// The command whose gate is to be opened next, and how long it will probably take.
    pub(in super::super) fn eligible(&self) -> Option<(u64, u64)> {
        let fronts = self
            .works
            .lines
            .values()
            .filter_map(|line| line.closed.front());
        let work_of = |id: &u64| self.flights.get(id)?.work.as_ref();
        let fronts = fronts.filter(|id| work_of(id).is_some_and(|work| self.can_begin(work)));
        let first = fronts.chain(self.works.ready.first()).min()?;
        Some((*first, work_of(first)?.expected))
    }

    /// What decides between clients of a tenant.
    pub(in super::super) fn virtual_time(&self) -> u64 {
        self.works.virtual_time
    }

    /// Opens the gate of command `id`, which may begin now.
    pub(in super::super) fn open_gate(&mut self, id: u64, now: u64) {
        let Some(Flight {
            work: Some(work), ..
        }) = self.flights.get_mut(&id)
        else {
            return;
        };
        work.since = Some(now);
        let works = &mut self.works;
        if works.open == 0 {
            works.progress = now;
        }
        works.ready.remove(&id);
        works.closed -= 1;
        works.open += 1;
        if let Some(line) = works.lines.get_mut(&work.line) {
            line.closed.retain(|other| *other != id);
            line.open += 1;
        }
        works.unsent.push_back(id);
    }

    /// Tells the worker which gates are open.
    ///
    /// # Errors
    /// The worker does not keep to the rules.
    pub(in super::super) fn send_gates(&mut self) -> Result<(), Lost> {
        if self.works.unsent.is_empty() {
            return Ok(());
        }
        while let Some(id) = self.works.unsent.front() {
            match self.channel.open_gate(*id) {
                Ok(true) => drop(self.works.unsent.pop_front()),
                Ok(false) => break,
                Err(_) => return Err(Lost::Worker),
            }
        }
        self.channel.publish_gates();
        Ok(())
    }

    /// Since when a command of the client has been on the device, and none has ended.
    pub(in super::super) fn stuck_since(&self) -> Option<u64> {
        (self.works.open > 0).then_some(self.works.progress)
    }

    /// Gives back what the client holds of its tenant's turn.
    pub(super) fn give_up_work(&mut self, gates: &mut Gatekeeper, now: u64) {
        for work in self
            .flights
            .values()
            .filter_map(|flight| flight.work.as_ref())
        {
            if work.since.is_some() {
                gates.leave(work.expected, now);
            }
        }
        self.works = Works::default();
    }
}
