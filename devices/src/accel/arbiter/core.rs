//! What an arbiter does with what its tenants say: hands out turns, one at a time.
//!
//! A turn that nobody contends is without limit, until somebody does: then it is revoked, and is over
//! when what is on the device has ended. Contended turns have a limit of time, which matters for
//! short commands only: at least one command may always begin, and none is stopped.
//!
//! Going from one tenant to the next takes a few wake-ups. So that the device does not stand still
//! meanwhile, the next turn begins a little before the last one will probably end.

use super::pages::{ArbiterEnd, Usage};
use super::policy::{Choice, Policy, Ready, TenantId, Terms};

/// How much longer than twice what is usual one absence counts at most.
const HELD_UP: u64 = 100_000;

/// How an arbiter goes about it. All times are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Most expected time of the commands that a contended turn begins, if there are several.
    pub quantum: u64,
    /// How long before the expected end of a turn the next one begins.
    pub lead: u64,
    /// A turn that lasts longer does not exclude others any more: either its command is very long,
    /// or the tenant holds the device without using it. It is charged for the time.
    pub overrun: u64,
    /// Longest that the device is kept for a tenant that is ahead in the queue, has just been served
    /// and has always come back at once.
    pub patience: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            quantum: 2_000_000,
            lead: 300_000,
            overrun: 1_000_000_000,
            patience: 5_000_000,
        }
    }
}

/// A tenant's figures at its arbiter.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TenantFigures {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub share: u32,
    /// Device time that it has been charged for, in nanoseconds.
    pub used_ns: u64,
    /// Of that, what its mediator did not report: it held the device meanwhile.
    pub unreported_ns: u64,
    /// Time for which it has waited with a ready command, in nanoseconds.
    pub waited_ns: u64,
    /// Of that, because of its cap.
    pub capped_ns: u64,
    /// Turns that it has had.
    pub turns: u64,
    /// Turns that lasted so long that others did not wait for them.
    pub overruns: u64,
    /// Its tag in the queue: what it has used, divided by its share.
    pub virtual_time: u64,
    /// Whether it waits.
    pub waiting: bool,
    /// Whether it has the device.
    pub served: bool,
}

/// A turn under way.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: u64,
    granted: u64,
    /// Since when nobody else should have been on the device.
    since: u64,
    /// Charged in all, and before `since`.
    charged: u64,
    charged_before: u64,
    most: u64,
    /// When it was given last: turns that follow on one another are one turn.
    renewed: u64,
    /// When it began, if another was not over then: since then the tenant takes its commands for
    /// running.
    behind: Option<u64>,
    /// It ends no sooner than this.
    floor: u64,
    revoked: bool,
    overran: bool,
}

struct Member {
    id: TenantId,
    name: String,
    end: ArbiterEnd,
    terms: Terms,
    usage: Usage,
    turn: Option<Turn>,
    turns: u64,
    /// When it was served last, and for how long, in turns that nobody else's came between.
    ended: Option<u64>,
    lasted: u64,
    /// How long it usually takes to come back after it has been served.
    absence: u64,
    /// How long it was away before it came back.
    away: u64,
    /// Since when it waits.
    waits: Option<u64>,
    capped: bool,
    figures: TenantFigures,
}

impl Member {
    fn backlogged(&self) -> bool {
        let open = self
            .turn
            .is_some_and(|turn| self.usage.sealed < turn.number);
        self.usage.wanted && !open
    }

    /// When the present turn will probably be over, if that is known.
    fn ends_at(&self) -> Option<u64> {
        let turn = self.turn?;
        let ends_at = self.usage.ends_at.max(turn.floor);
        (turn.revoked || self.usage.sealed >= turn.number).then_some(ends_at)
    }

    fn ready(&self) -> Ready {
        Ready {
            tenant: self.id,
            next: self.usage.next,
        }
    }

    /// The turn before this one's is over.
    fn comes_first(&mut self, now: u64) {
        if let Some(turn) = &mut self.turn
            && let Some(since) = turn.behind.take()
        {
            (turn.since, turn.renewed) = (now, now);
            turn.floor = now.saturating_add(self.usage.ends_at.saturating_sub(since));
        }
    }

    /// How long it is worth to wait for the tenant after it has been served, if at all, rather than
    /// let another begin a command of length `next`, after `kept` that the device was kept already.
    fn patience(&self, most: u64, next: u64, kept: u64) -> Option<u64> {
        let limit = (self.lasted / 8).max(next / 16).saturating_sub(kept);
        let limit = limit.min(most);
        let time = 2 * self.absence + 20_000;
        (self.absence > 0 && time <= limit).then_some(time)
    }
}

/// An arbiter's mind. It is told the time.
pub(super) struct Core {
    policy: Box<dyn Policy>,
    tuning: Tuning,
    members: Vec<Member>,
    next: TenantId,
    /// Whose turn began last, and how long the device has stood still for it between its turns.
    last: TenantId,
    kept: u64,
}

impl Core {
    pub(super) fn new(policy: Box<dyn Policy>, tuning: Tuning) -> Self {
        Self {
            policy,
            tuning,
            members: Vec::new(),
            next: 0,
            last: 0,
            kept: 0,
        }
    }

    pub(super) fn join(
        &mut self,
        name: String,
        terms: Terms,
        end: ArbiterEnd,
        now: u64,
    ) -> TenantId {
        self.next += 1;
        let id = self.next;
        self.policy.set_terms(id, terms, now);
        self.members.push(Member {
            id,
            name,
            end,
            terms,
            usage: Usage::default(),
            turn: None,
            turns: 0,
            ended: None,
            lasted: 0,
            absence: 0,
            away: 0,
            waits: None,
            capped: false,
            figures: TenantFigures::default(),
        });
        id
    }

    /// The tenant's mediator is gone, and what it had on the device too.
    pub(super) fn leave(&mut self, id: TenantId) {
        self.members.retain(|member| member.id != id);
        self.policy.leave(id);
    }

    pub(super) fn set_terms(&mut self, id: TenantId, terms: Terms, now: u64) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.terms = terms;
            self.policy.set_terms(id, terms, now);
        }
    }

    pub(super) fn figures(&self) -> Vec<TenantFigures> {
        let figures = self.members.iter().map(|member| TenantFigures {
            name: member.name.clone(),
            share: member.terms.share,
            turns: member.turns,
            virtual_time: self.policy.virtual_time(member.id),
            waiting: member.waits.is_some(),
            served: member.turn.is_some(),
            ..member.figures.clone()
        });
        figures.collect()
    }

    /// Takes in what has happened and hands out what there is. Returns when to look again even if
    /// nobody says anything.
    pub(super) fn step(&mut self, now: u64) -> Option<u64> {
        for index in 0..self.members.len() {
            let served = self.members[index].turn.is_some();
            self.hear(index, now);
            if served && self.members[index].turn.is_none() {
                for other in &mut self.members {
                    other.comes_first(now);
                }
            }
        }
        let mut again = self.grant(now);
        for member in &self.members {
            if let Some(turn) = member.turn
                && !turn.overran
                && (turn.most != u64::MAX || turn.revoked)
            {
                let at = turn.renewed.saturating_add(self.tuning.overrun);
                again = Some(again.map_or(at, |other| other.min(at)));
            }
        }
        again.map(|at| at.max(now + 1))
    }

    fn hear(&mut self, index: usize, now: u64) {
        let overrun = self.tuning.overrun;
        let policy = &mut *self.policy;
        let member = &mut self.members[index];
        let heard = member.end.usage();
        let used = heard.used.saturating_sub(member.usage.used);
        let used_before = member.usage.used;
        let wanted_before = member.usage.wanted;
        member.usage = heard;
        member.usage.used = heard.used.max(used_before);
        if let Some(turn) = &mut member.turn {
            // Nobody can have used more time than has passed.
            let passed = now.saturating_sub(turn.granted);
            let mut charge = used.min(passed.saturating_sub(turn.charged));
            let over = heard.ended >= turn.number || (turn.revoked && !heard.busy);
            let exclusive = turn.most != u64::MAX || turn.revoked;
            turn.overran |= exclusive && !over && now.saturating_sub(turn.renewed) >= overrun;
            let held = now.saturating_sub(turn.since);
            let least = match exclusive && (over || turn.overran) {
                true => least_for(held),
                false => 0,
            };
            let charged = turn.charged - turn.charged_before + charge;
            let unreported = least.saturating_sub(charged);
            charge += unreported;
            turn.charged += charge;
            member.figures.used_ns += charge;
            member.figures.unreported_ns += unreported;
            if charge > 0 {
                policy.charge(member.id, charge, now);
            }
            if over {
                member.figures.overruns += u64::from(turn.overran);
                member.lasted += held;
                member.ended = Some(now);
                member.turn = None;
                policy.end(member.id, heard.wanted, now);
            }
        } else if used > 0 {
            member.figures.used_ns += used.min(overrun);
            policy.charge(member.id, used.min(overrun), now);
        }
        if heard.wanted && !wanted_before && member.turn.is_none() {
            policy.arrive(member.id, now);
            if let Some(ended) = member.ended.take() {
                let absence = now.saturating_sub(ended).max(1);
                member.away = absence;
                member.absence = match member.absence {
                    0 => absence,
                    // One that a busy processor held up once does not count as away for long.
                    before => (3 * before + absence.min(2 * before + HELD_UP)) / 4,
                };
            }
        }
        if heard.wanted && !wanted_before && member.turn.is_some() {
            // It has come back before it was gone.
            member.absence = (3 * member.absence / 4).max(1);
        }
        let waits = member.backlogged() && member.turn.is_none();
        match (waits, member.waits) {
            (true, None) => member.waits = Some(now),
            (false, Some(_)) => member.stop_waiting(now),
            _ => {}
        }
    }

    /// Hands out turns. Returns when to look again.
    fn grant(&mut self, now: u64) -> Option<u64> {
        loop {
            if self.revoke(now) {
                continue;
            }
            let waiting = self.members.iter().filter(|member| member.backlogged());
            let waiting: Vec<Ready> = waiting.map(Member::ready).collect();
            if waiting.is_empty() {
                return None;
            }
            let choice = self.policy.choose(&waiting, now);
            let (tenant, most) = match choice {
                Choice::Grant { tenant, most } => (tenant, most),
                Choice::Until(at) => {
                    self.mark_capped(&waiting);
                    return Some(at);
                }
                Choice::Nobody => return None,
            };
            let chosen = self.members.iter().position(|member| member.id == tenant)?;
            if let Err(again) = self.device_is_free(chosen, now) {
                return again;
            }
            if let Some(at) = self.awaited(chosen, now) {
                return Some(at);
            }
            let alone = waiting.len() == 1;
            let most = match alone && most == u64::MAX {
                true => u64::MAX,
                false => most.min(self.tuning.quantum),
            };
            self.begin(chosen, most, now);
        }
    }

    /// Takes back turns without end where somebody else waits. Returns whether there is one more turn
    /// that is over by that.
    fn revoke(&mut self, now: u64) -> bool {
        for index in 0..self.members.len() {
            let others = self.members.iter().enumerate();
            let mut others =
                others.filter(|(other, member)| *other != index && member.backlogged());
            if others.next().is_none() {
                continue;
            }
            let member = &mut self.members[index];
            let Some(turn) = &mut member.turn else {
                continue;
            };
            if turn.most != u64::MAX || turn.revoked {
                continue;
            }
            turn.revoked = true;
            (turn.since, turn.charged_before) = (now, turn.charged);
            turn.renewed = now;
            member.end.revoke(turn.number);
            // What has ended meanwhile is over.
            self.hear(index, now);
            if self.members[index].turn.is_none() {
                return true;
            }
        }
        false
    }

    /// Whether another turn may begin; if not, when to look again.
    fn device_is_free(&mut self, chosen: usize, now: u64) -> Result<(), Option<u64>> {
        let lead = self.tuning.lead;
        let mut busy = 0;
        let mut soonest: Option<u64> = None;
        let mut free = true;
        for (index, member) in self.members.iter_mut().enumerate() {
            let Some(turn) = &mut member.turn else {
                continue;
            };
            if turn.overran {
                continue;
            }
            busy += usize::from(index != chosen);
            match member.ends_at() {
                // What is late has no known end.
                Some(at) if at <= now + lead && at + lead > now => {}
                Some(at) if at > now => {
                    free = false;
                    let at = at - lead;
                    soonest = Some(soonest.map_or(at, |other| other.min(at)));
                }
                _ => free = false,
            }
        }
        match free && busy < 2 {
            true => Ok(()),
            false => Err(soonest),
        }
    }

    /// If the device should rather wait for a tenant that has just been served: until when.
    fn awaited(&self, chosen: usize, now: u64) -> Option<u64> {
        let most = self.tuning.patience;
        let next = self.members[chosen].usage.next;
        let chosen = self.members[chosen].id;
        let others = self.members.iter().filter(|member| {
            member.id != chosen && !member.usage.wanted && self.policy.prefers(member.id, chosen)
        });
        let until = others.filter_map(|member| {
            let kept = if member.id == self.last { self.kept } else { 0 };
            let patience = member.patience(most, next, kept)?;
            match (member.turn, member.ended) {
                // It is about to end.
                (Some(turn), _) if !turn.overran => Some(member.usage.ends_at.max(now) + patience),
                (None, Some(ended)) => Some(ended + patience),
                _ => None,
            }
        });
        until.filter(|at| *at > now).min()
    }

    fn begin(&mut self, chosen: usize, most: u64, now: u64) {
        let others = self.members.iter().enumerate();
        let others = others.filter(|(index, member)| {
            *index != chosen && member.turn.is_some_and(|turn| !turn.overran)
        });
        // Where another turn is about to end, this one has the device from then on.
        let ends: Vec<u64> = others.filter_map(|(_, member)| member.ends_at()).collect();
        let free_at = ends.iter().copied().fold(now, u64::max);
        for (index, other) in self.members.iter_mut().enumerate() {
            if index != chosen {
                other.lasted = 0;
            }
        }
        let member = &mut self.members[chosen];
        // Those for whom the device is kept cannot have it kept for longer than is worth it by
        // always doing next to nothing.
        let away = std::mem::take(&mut member.away);
        self.kept = match self.last == member.id {
            true => self.kept.saturating_add(away),
            false => 0,
        };
        self.last = member.id;
        member.stop_waiting(now);
        member.turns += 1;
        // A turn that follows on the tenant's own goes on with it.
        let (granted, since, charged, charged_before) = match member.turn {
            Some(turn) => (turn.granted, turn.since, turn.charged, turn.charged_before),
            None => (now, free_at, 0, 0),
        };
        member.turn = Some(Turn {
            number: member.turns,
            granted,
            since,
            charged,
            charged_before,
            most,
            renewed: free_at,
            behind: (!ends.is_empty()).then_some(now),
            floor: 0,
            revoked: false,
            overran: false,
        });
        let expected = member.usage.next.clamp(1, self.tuning.overrun);
        self.policy.begin(member.id, expected, now);
        member.end.grant(member.turns, most);
    }

    fn mark_capped(&mut self, waiting: &[Ready]) {
        for member in &mut self.members {
            member.capped |= waiting.iter().any(|ready| ready.tenant == member.id);
        }
    }
}

impl Member {
    fn stop_waiting(&mut self, now: u64) {
        if let Some(since) = self.waits.take() {
            let time = now.saturating_sub(since);
            self.figures.waited_ns += time;
            if std::mem::take(&mut self.capped) {
                self.figures.capped_ns += time;
            }
            self.end.set_waited(self.figures.waited_ns);
        }
    }
}

/// The least that a tenant is charged for having kept others off the device for `held`, whatever
/// its mediator says. The difference is for the time that changing over takes, which on a host whose
/// processors are busy can be some milliseconds.
fn least_for(held: u64) -> u64 {
    (held / 2).saturating_sub(2_000_000)
}
