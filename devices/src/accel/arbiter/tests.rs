//! The arbiter and mediators' own code on a simulated clock, with a simulated device that does one
//! command after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::core::Core;
use super::pages::create;
use super::{PolicyKind, TenantEnd, TenantId, Terms, Tuning};
use crate::accel::bell::Bell;
use crate::accel::gates::Gatekeeper;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// What a tenant does.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// It always has so many commands waiting.
    Queues(u64),
    /// It gives one command so long after the last has ended.
    Returns(u64),
    /// From this time on it always has four commands waiting.
    Late(u64),
    /// It gives so many, and then another for each that ends: one after the other, each of which
    /// takes it so long.
    Refills(u64, u64),
    /// The same, but one in so many takes it so much longer: a busy processor holds it up.
    Stalls(u64, u64, u64, usize),
}

#[derive(Clone, Copy, Debug)]
struct Load {
    share: u32,
    length: u64,
    habit: Habit,
}

fn queues(share: u32, length: u64) -> Load {
    let habit = Habit::Queues(4);
    Load {
        share,
        length,
        habit,
    }
}

fn returns(share: u32, length: u64, after: u64) -> Load {
    let habit = Habit::Returns(after);
    Load {
        share,
        length,
        habit,
    }
}

fn refills(share: u32, length: u64, depth: u64, time: u64) -> Load {
    let habit = Habit::Refills(depth, time);
    Load {
        share,
        length,
        habit,
    }
}

struct Tenant {
    id: TenantId,
    gates: Gatekeeper,
    load: Load,
    waiting: u64,
    /// When the next commands come.
    comes: VecDeque<u64>,
    came: u64,
    /// Times from coming to ending.
    waits: Vec<u64>,
}

struct Running {
    tenant: usize,
    since: u64,
    expected: u64,
    ends: u64,
}

struct World {
    now: u64,
    core: Core,
    tenants: Vec<Tenant>,
    device: VecDeque<Running>,
    free_at: u64,
    /// How long after its end everybody gets to know of a command's.
    notice: u64,
    /// Who used how much until when.
    done: Vec<(u64, usize, u64)>,
    busy: u64,
}

impl World {
    fn new(policy: PolicyKind, loads: &[(Load, Terms)]) -> Self {
        let bell = Bell::new().unwrap();
        let mut core = Core::new(policy.build().unwrap(), Tuning::default());
        let join = |(load, terms): &(Load, Terms)| {
            let (end, files) = create(&bell).unwrap();
            let id = core.join("tenant".into(), *terms, end, 0);
            let end = Arc::new(TenantEnd::open(files).unwrap());
            Tenant {
                id,
                gates: Gatekeeper::at(end),
                load: *load,
                waiting: 0,
                comes: VecDeque::from([match load.habit {
                    Habit::Late(at) => at,
                    _ => 0,
                }]),
                came: 0,
                waits: Vec::new(),
            }
        };
        let tenants = loads.iter().map(join).collect();
        Self {
            now: 0,
            core,
            tenants,
            device: VecDeque::new(),
            free_at: 0,
            notice: 0,
            done: Vec::new(),
            busy: 0,
        }
    }

    fn fair(loads: &[Load]) -> Self {
        let terms = |load: &Load| Terms {
            share: load.share,
            ..Terms::default()
        };
        let loads: Vec<_> = loads.iter().map(|load| (*load, terms(load))).collect();
        Self::new(PolicyKind::Fair, &loads)
    }

    /// Lets everybody act at the present moment. Returns when somebody wants to act again.
    fn act(&mut self) -> Option<u64> {
        let mut again = None;
        // Who acts may let another act.
        for _ in 0..4 {
            again = self.core.step(self.now);
            for (index, tenant) in self.tenants.iter_mut().enumerate() {
                let expected = tenant.gates.expected(0);
                while tenant.waiting > 0 && tenant.gates.try_begin(expected, self.now) {
                    tenant.waiting -= 1;
                    let ends = self.free_at.max(self.now) + tenant.load.length;
                    self.busy += tenant.load.length;
                    self.free_at = ends;
                    let since = self.now;
                    self.device.push_back(Running {
                        tenant: index,
                        since,
                        expected,
                        ends,
                    });
                }
                let next = (tenant.waiting > 0).then_some(expected);
                tenant.gates.settle(next);
            }
        }
        let wakes = self
            .tenants
            .iter()
            .filter_map(|tenant| tenant.gates.wake_at());
        let comes = self.tenants.iter();
        let comes = comes.filter_map(|tenant| tenant.comes.front().copied());
        let ends = self.device.front();
        let ends = ends.map(|running| running.ends + self.notice);
        again
            .into_iter()
            .chain(wakes)
            .chain(comes)
            .chain(ends)
            .min()
    }

    fn run(mut self, time: u64) -> Self {
        while self.now < time {
            let next = self.act().expect("somebody always acts");
            self.now = next.max(self.now + 1);
            while self
                .device
                .front()
                .is_some_and(|running| running.ends + self.notice <= self.now)
            {
                let Some(over) = self.device.pop_front() else {
                    break;
                };
                let tenant = &mut self.tenants[over.tenant];
                let length = tenant.load.length;
                tenant
                    .gates
                    .end(0, over.since, over.expected, length, self.now);
                tenant.waits.push(self.now - tenant.came);
                self.done.push((over.ends, over.tenant, length));
                match tenant.load.habit {
                    Habit::Queues(_) | Habit::Late(_) => tenant.waiting += 1,
                    Habit::Returns(after) => tenant.comes.push_back(self.now + after),
                    Habit::Refills(_, time) | Habit::Stalls(_, time, ..) => {
                        let before = tenant.comes.back().copied().unwrap_or(0);
                        let so_far = tenant.waits.len();
                        let stall = match tenant.load.habit {
                            Habit::Stalls(.., stall, every) if so_far.is_multiple_of(every) => {
                                stall
                            }
                            _ => 0,
                        };
                        tenant.comes.push_back(before.max(self.now) + time + stall);
                    }
                }
            }
            for tenant in &mut self.tenants {
                while tenant.comes.front().is_some_and(|at| *at <= self.now) {
                    tenant.comes.pop_front();
                    let first = std::mem::replace(&mut tenant.came, self.now) == 0;
                    tenant.waiting += match tenant.load.habit {
                        Habit::Queues(depth) => depth,
                        Habit::Late(_) => 4,
                        Habit::Refills(depth, _) | Habit::Stalls(depth, ..) if first => depth,
                        Habit::Returns(_) | Habit::Refills(..) | Habit::Stalls(..) => 1,
                    };
                }
            }
        }
        self
    }

    /// What each tenant used from `from` to `to`.
    fn used(&self, from: u64, to: u64) -> Vec<f64> {
        let mut used = vec![0.0; self.tenants.len()];
        for (end, tenant, length) in &self.done {
            let start = end - length;
            let inside = (*end).min(to).saturating_sub(start.max(from));
            used[*tenant] += inside as f64;
        }
        used
    }

    /// The largest error of a share in any window, times the window.
    fn worst_error(&self, window: u64) -> f64 {
        let shares: f64 = self.tenants.iter().map(|t| f64::from(t.load.share)).sum();
        let mut worst: f64 = 0.0;
        let mut from = SECOND / 2;
        while from + window <= self.now {
            let used = self.used(from, from + window);
            let sum: f64 = used.iter().sum();
            for (used, tenant) in used.iter().zip(&self.tenants) {
                let right = sum * f64::from(tenant.load.share) / shares;
                worst = worst.max((used - right).abs());
            }
            from += window / 4;
        }
        worst
    }

    fn longest(&self) -> f64 {
        let longest = self.tenants.iter().map(|tenant| tenant.load.length).max();
        longest.unwrap_or(0).max(2 * MS) as f64
    }
}

#[test]
fn shares_are_kept_in_every_window() {
    for loads in [
        vec![queues(1, 10 * MS), queues(1, 10 * MS)],
        vec![queues(3, 10 * MS), queues(1, 10 * MS)],
        vec![queues(1, 10 * MS), queues(16, 10 * MS)],
        vec![queues(1, 100 * US), queues(1, 10 * MS)],
        vec![queues(1, 500 * US), queues(2, 500 * US), queues(5, 3 * MS)],
        (1..=8).map(|share| queues(share, 5 * MS)).collect(),
    ] {
        let world = World::fair(&loads).run(3 * SECOND);
        let error = world.worst_error(SECOND) / world.longest();
        assert!(error <= 1.5, "{error} L/W: {loads:?}");
    }
}

#[test]
fn equal_shares_are_equal() {
    let loads: Vec<Load> = (1..=4).map(|n| queues(1, n * 2 * MS)).collect();
    let world = World::fair(&loads).run(5 * SECOND);
    let used = world.used(SECOND, 5 * SECOND);
    let (sum, squares) = used
        .iter()
        .fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    let jain = sum * sum / (used.len() as f64 * squares);
    assert!(jain >= 0.999, "{jain}: {used:?}");
}

#[test]
fn the_device_does_not_stand_still() {
    for loads in [
        vec![queues(1, 10 * MS)],
        vec![queues(1, 100 * US)],
        vec![queues(9, 5 * MS), returns(1, MS, 50 * MS)],
    ] {
        let world = World::fair(&loads).run(SECOND / 2);
        let busy = world.busy as f64 / world.now as f64;
        assert!(busy >= 0.98, "{loads:?}: {busy}");
    }
}

/// The 99th percentile of what the first of `loads` waits.
fn p99(loads: &[Load], notice: u64) -> u64 {
    let mut world = World::fair(loads);
    world.notice = notice;
    let world = world.run(8 * SECOND);
    let mut waits = world.tenants[0].waits[3..].to_vec();
    waits.sort_unstable();
    waits[waits.len() * 99 / 100]
}

#[test]
fn a_light_tenant_waits_for_one_command() {
    const LONG: u64 = 10 * MS;
    for (heavy, after) in [
        (1, 97 * MS),
        (1, 21 * MS),
        (3, 37 * MS),
        (7, 333 * MS),
        (7, 97 * MS),
        (7, 37 * MS),
        (7, 21 * MS),
    ] {
        let light = returns(1, MS, after);
        for others in [queues(1, LONG), returns(1, LONG, 200 * US)] {
            let mut loads = vec![light];
            loads.extend(vec![others; heavy]);
            for notice in [0, 50 * US] {
                let more = p99(&loads, notice) - p99(&[light], notice);
                let most = LONG + LONG / 10;
                assert!(more <= most, "beside {heavy}, after {after}: {more}");
            }
        }
    }
}

#[test]
fn who_gives_short_commands_one_by_one_gets_the_share_too() {
    for (share, other, depth, time) in [
        (1, 1, 64, 50 * US),
        (1, 1, 64, 110 * US),
        (1, 1, 8, 90 * US),
        (16, 1, 64, 80 * US),
        (1, 16, 64, 80 * US),
    ] {
        let short = refills(share, 100 * US, depth, time);
        let loads = [short, refills(other, 10 * MS, 2, 100 * US)];
        let mut world = World::fair(&loads);
        world.notice = 50 * US;
        let world = world.run(10 * SECOND);
        let used = world.used(SECOND, 10 * SECOND);
        let part = used[0] / (used[0] + used[1]);
        let right = f64::from(share) / f64::from(share + other);
        assert!(
            (part - right).abs() <= 0.01,
            "{loads:?}: {part}, not {right}"
        );
        let error = world.worst_error(SECOND) / world.longest();
        assert!(error <= 1.5, "{loads:?}: {error} L/W");
    }
}

#[test]
fn who_is_held_up_now_and_then_gets_the_share_too() {
    for (time, stall, every, least) in [
        (60 * US, 5 * MS, 60, 0.495),
        (110 * US, 2 * MS, 20, 0.495),
        // It could hardly do more alone.
        (140 * US, 5 * MS, 60, 0.465),
        (140 * US, 12 * MS, 150, 0.465),
    ] {
        let short = Load {
            habit: Habit::Stalls(64, time, stall, every),
            ..queues(1, 100 * US)
        };
        let loads = [short, refills(1, 10 * MS, 2, 100 * US)];
        let mut world = World::fair(&loads);
        world.notice = 50 * US;
        let world = world.run(4 * SECOND);
        let used = world.used(SECOND, 4 * SECOND);
        let part = used[0] / (used[0] + used[1]);
        assert!((least..=0.505).contains(&part), "{:?}: {part}", loads[0]);
        // What it costs is bounded by how long the device is kept.
        let busy = (used[0] + used[1]) / 3e9;
        assert!(busy >= 0.93, "{:?}: {busy}", loads[0]);
    }
}

#[test]
fn first_come_first_served_is_as_busy() {
    let loads = [queues(1, 10 * MS), queues(1, 5 * MS)].map(|load| (load, Terms::default()));
    let busy = |policy| {
        let mut world = World::new(policy, &loads);
        world.notice = 50 * US;
        let world = world.run(5 * SECOND);
        world.used(SECOND, 5 * SECOND)
    };
    let (fair, fifo) = (busy(PolicyKind::Fair), busy(PolicyKind::Fifo));
    // In turn, one command each: by the lengths of their commands.
    assert!((1.9..=2.1).contains(&(fifo[0] / fifo[1])), "{fifo:?}");
    assert!((0.99..=1.01).contains(&(fair[0] / fair[1])), "{fair:?}");
    let sum = |used: Vec<f64>| used.iter().sum::<f64>();
    let (fair, fifo) = (sum(fair), sum(fifo));
    assert!(fair >= 0.98 * fifo && fair >= 0.98 * 4e9, "{fair} {fifo}");
}

#[test]
fn by_strict_priority_the_larger_share_has_what_it_wants() {
    let terms = |share| Terms {
        share,
        ..Terms::default()
    };
    let low = (queues(1, 10 * MS), terms(1));
    let both = [low, (queues(1, 10 * MS), terms(2))];
    let world = World::new(PolicyKind::Strict, &both).run(3 * SECOND);
    let used = world.used(SECOND, 3 * SECOND);
    assert!(used[0] == 0.0, "{used:?}");
    let light = [low, (returns(1, MS, 15 * MS), terms(2))];
    let world = World::new(PolicyKind::Strict, &light).run(3 * SECOND);
    let longest = world.tenants[1].waits[3..].iter().max();
    assert!(longest.is_some_and(|wait| *wait <= 12 * MS), "{longest:?}");
    let used = world.used(SECOND, 3 * SECOND);
    assert!(used[0] + used[1] >= 0.98 * 2e9, "{used:?}");
}

#[test]
fn who_comes_late_gets_the_share_at_once_and_no_more() {
    let late = Load {
        habit: Habit::Late(2 * SECOND),
        ..queues(1, 10 * MS)
    };
    let world = World::fair(&[queues(1, 10 * MS), queues(2, 10 * MS), late]).run(4 * SECOND);
    let before = world.used(SECOND, 2 * SECOND);
    assert!((0.65..=0.68).contains(&(before[1] / 1e9)), "{before:?}");
    for from in (2 * SECOND..3 * SECOND).step_by(250_000_000) {
        let used = world.used(from, from + 500 * MS);
        let part = used[2] / 5e8;
        // L/W is 0.02, and what it has in hand is no more.
        assert!((part - 0.25).abs() <= 0.031, "from {from}: {part}");
    }
}

#[test]
fn interactive_tenants_go_first_within_their_share() {
    let interactive = Terms {
        interactive: true,
        ..Terms::default()
    };
    let others = (queues(1, 10 * MS), Terms::default());
    // As much as it may use, and what its commands take makes it no later.
    let light = (returns(1, 2 * MS, 20 * MS), interactive);
    let mut loads = vec![light];
    loads.extend(vec![others; 3]);
    let world = World::new(PolicyKind::Fair, &loads).run(5 * SECOND);
    let longest = world.tenants[0].waits[3..].iter().max();
    assert!(longest.is_some_and(|wait| *wait <= 13 * MS), "{longest:?}");
    // Who wants more than its share does not get more.
    let loads = [(queues(1, 2 * MS), interactive), others];
    let world = World::new(PolicyKind::Fair, &loads).run(5 * SECOND);
    let part = world.used(SECOND, 5 * SECOND)[0] / 4e9;
    assert!((0.49..=0.51).contains(&part), "{part}");
}

#[test]
fn who_keeps_the_device_waiting_cannot_do_so_for_long() {
    // Always back soon enough to be waited for, and with next to nothing to do.
    for after in [20 * US, 100 * US, 290 * US] {
        let loads = [returns(1, 10 * US, after), queues(1, 10 * MS)];
        let world = World::fair(&loads).run(5 * SECOND);
        let used = world.used(SECOND, 5 * SECOND)[1] / 4e9;
        assert!(used >= 0.9, "after {after}: {used}");
    }
}

#[test]
fn a_cap_holds_whoever_else_is_there() {
    for others in [0, 1] {
        let capped = Terms {
            cap: Some(30),
            ..Terms::default()
        };
        let mut loads = vec![(queues(1, 5 * MS), capped)];
        loads.extend(vec![(queues(1, 5 * MS), Terms::default()); others]);
        let world = World::new(PolicyKind::Fair, &loads).run(5 * SECOND);
        let used = world.used(SECOND, 5 * SECOND)[0] / 4e9;
        assert!((0.29..=0.305).contains(&used), "{used}");
    }
}

#[test]
fn who_waits_for_each_command_gets_the_share_too() {
    let loads = [returns(3, 10 * MS, 100 * US), queues(1, 10 * MS)];
    let world = World::fair(&loads).run(10 * SECOND);
    let used = world.used(SECOND, 10 * SECOND);
    let part = used[0] / (used[0] + used[1]);
    assert!((0.73..=0.77).contains(&part), "{part}");
}

#[test]
fn sleeping_and_waking_gains_nothing() {
    for after in [200 * US, 2 * MS, 11 * MS, 37 * MS] {
        let loads = [returns(1, 10 * MS, after), queues(1, 10 * MS)];
        let world = World::fair(&loads).run(10 * SECOND);
        let used = world.used(SECOND, 10 * SECOND);
        let part = used[0] / 9e9;
        assert!(part <= 0.51, "after {after}: {part}");
    }
}

#[test]
fn a_mediator_that_is_gone_gives_back_what_it_held() {
    let mut world = World::fair(&[queues(1, 10 * MS), queues(1, 10 * MS)]).run(SECOND);
    let gone = world.tenants.remove(0);
    world.core.leave(gone.id);
    world.device.clear();
    world.free_at = world.now;
    world.done.clear();
    // What it had begun of the other's is over too.
    let other = &mut world.tenants[0];
    while world.core.figures()[0].served {
        other.gates.leave(0, world.now);
        other.gates.settle(Some(10 * MS));
        world.core.step(world.now);
        if other.gates.try_begin(10 * MS, world.now) {
            other.gates.leave(10 * MS, world.now);
            break;
        }
    }
    let from = world.now;
    let world = world.run(2 * SECOND);
    assert!(world.used(from, world.now)[0] > 0.9e9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn shares_are_kept_whatever_they_are(
        loads in prop::collection::vec((1u32..=16, 100u64..=10_000), 2..=8),
        notice in 0u64..=60,
    ) {
        let loads: Vec<Load> = loads.iter().map(|(s, us)| queues(*s, us * US)).collect();
        let mut world = World::fair(&loads);
        world.notice = notice * US;
        let world = world.run(3 * SECOND);
        let error = world.worst_error(SECOND) / world.longest();
        // A tenant is never ahead by more than its own command, nor behind by more than the longest:
        // that much a window can be off at either end.
        prop_assert!(error <= 2.0, "{} L/W", error);
    }
}
