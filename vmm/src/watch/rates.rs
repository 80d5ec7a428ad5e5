//! What happened between two samples, per second and as shares.

use std::time::Duration;

use super::sample::{Sample, Use};

/// One tenant's use of one accelerator between two samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Its part of the accelerator's time, from 0 to 1.
    pub used: f64,
    /// The part that its weight and its cap give it among those who wanted the accelerator.
    pub entitled: f64,
    /// Whether it wanted the accelerator at all.
    pub active: bool,
    /// Mean wait for a turn on the device.
    pub wait: Duration,
    /// Part of the time in which a limit of its own held it back.
    pub throttled: f64,
    /// Calls per second.
    pub calls: f64,
    /// Bytes to and from the device, per second.
    pub bytes: f64,
}

/// How each tenant of `to` used its accelerator since `from`, in the order of `to`.
pub fn between(from: &Sample, to: &Sample) -> Vec<Rates> {
    let differences: Vec<Difference> = to
        .tenants
        .iter()
        .map(|now| Difference::new(from.find(now), now))
        .collect();
    let mut rates = Vec::new();
    for (now, difference) in to.tenants.iter().zip(&differences) {
        let neighbours: Vec<(&Use, &Difference)> = to
            .tenants
            .iter()
            .zip(&differences)
            .filter(|(other, _)| other.accelerator == now.accelerator)
            .collect();
        // Where commands run side by side, they use more time than passes.
        let busy: f64 = neighbours.iter().map(|(_, other)| other.busy()).sum();
        rates.push(Rates {
            used: difference.busy() / busy.max(1.0),
            entitled: entitled(now, &neighbours),
            active: difference.active(),
            wait: Duration::from_nanos(
                difference
                    .queue_wait_ns
                    .checked_div(difference.turns)
                    .unwrap_or(0),
            ),
            throttled: difference.per(difference.throttled_ns),
            calls: difference.per(difference.calls) * 1e9,
            bytes: difference.per(difference.bytes) * 1e9,
        });
    }
    rates
}

/// What the counts of one tenant have grown by.
#[derive(Default)]
struct Difference {
    time_ns: u64,
    device_time_ns: u64,
    queue_wait_ns: u64,
    turns: u64,
    throttled_ns: u64,
    calls: u64,
    bytes: u64,
}

impl Difference {
    fn new(before: Option<&Use>, now: &Use) -> Self {
        let Some(before) = before else {
            return Self::default();
        };
        // A machine that is started anew counts from nothing.
        let grown = |count: fn(&Use) -> u64| count(now).saturating_sub(count(before));
        Self {
            time_ns: grown(|of| of.at_ns),
            device_time_ns: grown(|of| of.device_time_ns),
            queue_wait_ns: grown(|of| of.queue_wait_ns),
            turns: grown(|of| of.turns),
            throttled_ns: grown(|of| of.throttled_ns),
            calls: grown(|of| of.calls),
            bytes: grown(|of| of.bytes_in) + grown(|of| of.bytes_out),
        }
    }

    fn per(&self, count: u64) -> f64 {
        match self.time_ns {
            0 => 0.0,
            time => count as f64 / time as f64,
        }
    }

    fn busy(&self) -> f64 {
        self.per(self.device_time_ns)
    }

    fn active(&self) -> bool {
        self.device_time_ns > 0 || self.queue_wait_ns > 0
    }
}

/// The part of an accelerator that `tenant` is entitled to beside those of `all` who want it. What
/// a cap keeps from one goes to the others, by their weights.
fn entitled(tenant: &Use, all: &[(&Use, &Difference)]) -> f64 {
    let wants = |(of, difference): &(&Use, &Difference)| of.is_same(tenant) || difference.active();
    let mut open: Vec<&Use> = all
        .iter()
        .filter(|each| wants(each))
        .map(|each| each.0)
        .collect();
    let cap = |of: &Use| f64::from(of.cap.unwrap_or(100)) / 100.0;
    let mut left = 1.0;
    loop {
        let weights: f64 = open.iter().map(|of| f64::from(of.share)).sum();
        let part = |of: &Use| left * f64::from(of.share) / weights.max(1.0);
        let Some(capped) = open.iter().position(|of| cap(of) < part(of)) else {
            return part(tenant);
        };
        let of = open.remove(capped);
        if of.is_same(tenant) {
            return cap(of);
        }
        left -= cap(of);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::used;
    use super::*;

    fn sample(tenants: Vec<Use>) -> Sample {
        Sample {
            time_ms: 0,
            tenants,
        }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn shares_stand_against_entitlements() {
        let from = sample(vec![used("alice", 3, 100, 50), used("bob", 1, 100, 0)]);
        let to = sample(vec![used("alice", 3, 1100, 750), used("bob", 1, 1100, 250)]);
        let rates = between(&from, &to);
        assert!(near(rates[0].used, 0.7) && near(rates[0].entitled, 0.75));
        assert!(near(rates[1].used, 0.25) && near(rates[1].entitled, 0.25));
    }

    #[test]
    fn who_wants_nothing_takes_nothing_from_others() {
        let from = sample(vec![used("alice", 3, 0, 0), used("bob", 1, 0, 0)]);
        let to = sample(vec![used("alice", 3, 1000, 0), used("bob", 1, 1000, 900)]);
        let rates = between(&from, &to);
        assert!(!rates[0].active && near(rates[0].entitled, 0.75));
        assert!(near(rates[1].entitled, 1.0) && near(rates[1].used, 0.9));
    }

    #[test]
    fn commands_side_by_side_are_parts_of_one_device() {
        let from = sample(vec![used("alice", 1, 0, 0), used("bob", 1, 0, 0)]);
        let to = sample(vec![used("alice", 1, 1000, 900), used("bob", 1, 1000, 900)]);
        assert!(near(between(&from, &to)[0].used, 0.5));
    }

    #[test]
    fn what_a_cap_keeps_goes_to_the_others() {
        let from = sample(vec![
            used("a", 8, 0, 0),
            used("b", 1, 0, 0),
            used("c", 1, 0, 0),
        ]);
        let mut to = sample(vec![
            used("a", 8, 9, 1),
            used("b", 1, 9, 1),
            used("c", 1, 9, 1),
        ]);
        to.tenants[0].cap = Some(40);
        to.tenants[1].cap = Some(20);
        let entitled: Vec<f64> = between(&from, &to).iter().map(|r| r.entitled).collect();
        assert!(near(entitled[0], 0.4) && near(entitled[1], 0.2) && near(entitled[2], 0.4));
    }

    #[test]
    fn a_tenant_that_is_new_or_gone_has_no_rates() {
        let from = sample(vec![used("alice", 1, 1000, 900)]);
        let to = sample(vec![used("alice", 1, 1000, 900), used("bob", 1, 2000, 900)]);
        for rates in between(&from, &to) {
            assert_eq!((rates.used, rates.calls), (0.0, 0.0));
        }
    }
}
