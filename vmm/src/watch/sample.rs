//! The figures of all tenants at one moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use weir_devices::accel::AccelStats;

use crate::status::{VmState, VmStatus};

/// All tenants at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Each use that a tenant may make of an accelerator, in the order of the configuration.
    pub tenants: Vec<Use>,
}

/// What one tenant has used of one accelerator. Counts only grow, as long as its machine runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Use {
    /// The tenant's name in the configuration.
    pub tenant: String,
    /// The accelerator's.
    pub accelerator: String,
    /// Whether the tenant is there; else these are its last figures.
    pub running: bool,
    /// When the figures were read, in nanoseconds on a clock that all tenants share.
    pub at_ns: u64,
    /// Its weight.
    pub share: u32,
    /// Most of the device's time that it gets, in percent.
    pub cap: Option<u32>,
    /// Time on the device.
    pub device_time_ns: u64,
    /// Time for which a command of it was ready and waited for the device.
    pub queue_wait_ns: u64,
    /// Turns on the device that it has had.
    pub turns: u64,
    /// Time that a limit of its own has held it back.
    pub throttled_ns: u64,
    /// Calls.
    pub calls: u64,
    /// Calls and batches that were refused.
    pub refused: u64,
    /// Bytes to the device, commands included.
    pub bytes_in: u64,
    /// Bytes from it.
    pub bytes_out: u64,
    /// Bytes of device memory held.
    pub memory: u64,
    /// Most bytes that it may hold.
    pub memory_quota: Option<u64>,
    /// Processes that have the device open.
    pub clients: u64,
}

impl Use {
    /// What `figures` say about `tenant`.
    pub fn new(tenant: &str, running: bool, figures: &AccelStats) -> Self {
        Self {
            tenant: tenant.into(),
            accelerator: figures.name.clone(),
            running,
            at_ns: figures.at_ns,
            share: figures.share,
            cap: figures.cap,
            device_time_ns: figures.totals.device_time_ns,
            queue_wait_ns: figures.queue_wait_ns,
            turns: figures.turns,
            throttled_ns: figures.throttled_ns,
            calls: figures.totals.calls,
            refused: figures.totals.refused,
            bytes_in: figures.totals.bytes_in,
            bytes_out: figures.totals.bytes_out,
            memory: figures.memory,
            memory_quota: Some(figures.memory_quota).filter(|quota| *quota != u64::MAX),
            clients: figures.clients.len() as u64,
        }
    }

    /// What it is called in tables: `alice.gpu0`.
    pub fn title(&self) -> String {
        format!("{}.{}", self.tenant, self.accelerator)
    }

    /// Whether `other` is the same tenant's use of the same accelerator.
    pub fn is_same(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.accelerator == other.accelerator
    }
}

impl Sample {
    /// What the supervisor says about its machines, now.
    pub fn new(vms: &[VmStatus]) -> Self {
        let each = vms.iter().flat_map(|vm| {
            let running = matches!(vm.state, VmState::Running | VmState::Stopping);
            let figures = vm.accelerators.iter();
            figures.map(move |figures| Use::new(&vm.name, running, figures))
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            time_ms: now.map_or(0, |time| time.as_millis() as u64),
            tenants: each.collect(),
        }
    }

    /// The same use as `wanted`, in this sample.
    pub fn find(&self, wanted: &Use) -> Option<&Use> {
        self.tenants.iter().find(|found| found.is_same(wanted))
    }

    /// How much later than `earlier` this is.
    pub fn since(&self, earlier: &Self) -> Duration {
        Duration::from_millis(self.time_ms.saturating_sub(earlier.time_ms))
    }

    /// Whether what a tenant may use has changed since `before`, or who is there.
    pub fn changes_since(&self, before: &Self) -> bool {
        let grants = |of: &Self| {
            let each = of.tenants.iter();
            each.map(|of| (of.title(), of.running, of.share, of.cap))
                .collect::<Vec<_>>()
        };
        grants(self) != grants(before)
    }

    /// What has happened between `before` and this, in words fit for the margin of a plot.
    pub fn events_since(&self, before: &Self) -> Vec<String> {
        let mut events = Vec::new();
        for now in &self.tenants {
            let name = &now.tenant;
            let Some(then) = before.find(now) else {
                events.push(format!("{name} starts"));
                continue;
            };
            match (then.running, now.running) {
                (true, false) => events.push(format!("{name} ends")),
                (false, true) => events.push(format!("{name} starts")),
                _ => {}
            }
            if now.share != then.share {
                events.push(format!("{name}: share {} → {}", then.share, now.share));
            }
            if now.cap != then.cap {
                let text = |cap: Option<u32>| cap.map_or("none".into(), |cap| format!("{cap} %"));
                events.push(format!(
                    "{name}: cap {} → {}",
                    text(then.cap),
                    text(now.cap)
                ));
            }
            if now.memory_quota != then.memory_quota {
                let text = |quota: Option<u64>| {
                    quota.map_or("none".into(), |bytes| format!("{} MiB", bytes >> 20))
                };
                let (from, to) = (text(then.memory_quota), text(now.memory_quota));
                events.push(format!("{name}: memory {from} → {to}"));
            }
        }
        events
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tenant of weight `share` that has used `busy_ms` after `at_ms`.
    pub fn used(tenant: &str, share: u32, at_ms: u64, busy_ms: u64) -> Use {
        Use {
            tenant: tenant.into(),
            accelerator: "gpu0".into(),
            running: true,
            at_ns: at_ms * 1_000_000,
            share,
            device_time_ns: busy_ms * 1_000_000,
            ..Default::default()
        }
    }

    #[test]
    fn what_changes_is_told() {
        let before = Sample {
            time_ms: 0,
            tenants: vec![used("alice", 3, 0, 0), used("bob", 1, 0, 0)],
        };
        let mut after = before.clone();
        assert!(after.events_since(&before).is_empty());
        after.tenants[0].share = 5;
        after.tenants[0].memory_quota = Some(512 << 20);
        after.tenants[1].running = false;
        after.tenants.push(used("carol", 1, 0, 0));
        assert_eq!(
            after.events_since(&before),
            [
                "alice: share 3 → 5",
                "alice: memory none → 512 MiB",
                "bob ends",
                "carol starts"
            ]
        );
    }
}
