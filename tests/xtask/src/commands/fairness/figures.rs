//! From recordings to figures.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// How long after all tenants are at work they are measured, in seconds.
const WARM_UP: f64 = 1.0;

/// The lines of a recording that are of interest.
#[derive(Deserialize)]
struct Sample {
    tenants: Vec<Use>,
}

#[derive(Deserialize)]
struct Use {
    tenant: String,
    at_ns: u64,
    device_time_ns: u64,
}

/// What one tenant had used at which time, in seconds.
#[derive(Clone, Debug, Default)]
struct Curve(Vec<(f64, f64)>);

impl Curve {
    /// What it had used at `time`, between the samples before and after.
    fn at(&self, time: f64) -> f64 {
        let after = self.0.partition_point(|(at, _)| *at < time);
        match (
            after.checked_sub(1).map(|i| self.0[i]),
            self.0.get(after).copied(),
        ) {
            (Some((t0, d0)), Some((t1, d1))) if t1 > t0 => d0 + (d1 - d0) * (time - t0) / (t1 - t0),
            (_, Some((_, used))) | (Some((_, used)), None) => used,
            (None, None) => 0.0,
        }
    }
}

/// The device time of several tenants, over the time in which all were at work.
#[derive(Clone, Debug)]
pub struct Run {
    tenants: Vec<(f64, Curve)>,
    from: f64,
    to: f64,
}

impl Run {
    /// Reads what `weir record` wrote about tenants of these weights.
    ///
    /// # Errors
    /// It cannot be read, or a tenant did nothing.
    pub fn read(path: &Path, weights: &[(String, u32)]) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
        for sample in text
            .lines()
            .filter_map(|line| serde_json::from_str::<Sample>(line).ok())
        {
            for of in sample.tenants {
                let point = (of.at_ns as f64 / 1e9, of.device_time_ns as f64 / 1e9);
                let curve = curves.entry(of.tenant).or_default();
                if curve.0.last().is_none_or(|last| last.0 < point.0) {
                    curve.0.push(point);
                }
            }
        }
        let tenants = weights
            .iter()
            .map(|(name, weight)| {
                let curve = curves.remove(name).unwrap_or_default();
                Ok((f64::from(*weight), curve))
            })
            .collect::<Result<Vec<_>>>()?;
        Self::new(tenants).with_context(|| format!("{}", path.display()))
    }

    fn new(tenants: Vec<(f64, Curve)>) -> Result<Self> {
        let (mut from, mut to) = (0.0f64, f64::MAX);
        for (_, curve) in &tenants {
            let begins = curve.0.iter().find(|(_, used)| *used > 0.0);
            let begins = begins.context("a tenant has used nothing")?;
            let ends = curve.0.last().context("a tenant has no samples")?;
            from = from.max(begins.0 + WARM_UP);
            to = to.min(ends.0);
        }
        ensure!(
            to - from > 1.0,
            "there is no second in which all were at work"
        );
        Ok(Self { tenants, from, to })
    }

    /// What each tenant used between two times.
    fn used(&self, from: f64, to: f64) -> Vec<f64> {
        let used = |(_, curve): &(f64, Curve)| curve.at(to) - curve.at(from);
        self.tenants.iter().map(used).collect()
    }

    /// The windows of `length` seconds, one after the other.
    fn windows(&self, length: f64) -> Vec<Vec<f64>> {
        let count = ((self.to - self.from) / length + 1e-6) as usize;
        let start = |index: usize| self.from + length * index as f64;
        let window = |index| self.used(start(index), start(index + 1));
        (0..count).map(window).collect()
    }

    /// Of each window of `length` seconds: how unequal the tenants were served, each by its weight.
    /// For two that is |t1 - t2| / (t1 + t2); for more, of the best and the worst served.
    pub fn unfairness(&self, length: f64) -> Vec<f64> {
        let each = self.windows(length).into_iter();
        each.map(|used| {
            let normal = self.normalized(&used);
            let most = normal.iter().copied().fold(f64::MIN, f64::max);
            let least = normal.iter().copied().fold(f64::MAX, f64::min);
            (most - least) / (most + least).max(1e-12)
        })
        .collect()
    }

    /// Of each window of `length` seconds: how far any tenant's share was from what its weight says.
    pub fn errors(&self, length: f64) -> Vec<f64> {
        let weights: f64 = self.tenants.iter().map(|(weight, _)| weight).sum();
        let each = self.windows(length).into_iter();
        each.map(|used| {
            let sum: f64 = used.iter().sum::<f64>().max(1e-12);
            let parts = used.iter().zip(&self.tenants);
            parts
                .map(|(used, (weight, _))| (used / sum - weight / weights).abs())
                .fold(0.0, f64::max)
        })
        .collect()
    }

    /// Jain's index of what the tenants used in all, each by its weight.
    pub fn jain(&self) -> f64 {
        let normal = self.normalized(&self.used(self.from, self.to));
        let sum: f64 = normal.iter().sum();
        let squares: f64 = normal.iter().map(|x| x * x).sum();
        sum * sum / (normal.len() as f64 * squares).max(1e-12)
    }

    fn normalized(&self, used: &[f64]) -> Vec<f64> {
        let each = used.iter().zip(&self.tenants);
        each.map(|(used, (weight, _))| used / weight).collect()
    }

    /// The part of the time in which the device was busy. Where commands run side by side, that is
    /// all of it.
    pub fn busy(&self) -> f64 {
        let used: f64 = self.used(self.from, self.to).iter().sum();
        (used / (self.to - self.from)).min(1.0)
    }

    /// How much more of the device the tenant number `index` got than its weight gives it: 0.02 is two
    /// percent more.
    pub fn gain(&self, index: usize) -> f64 {
        let used = self.used(self.from, self.to);
        let weights: f64 = self.tenants.iter().map(|(weight, _)| weight).sum();
        let share = used[index] / used.iter().sum::<f64>().max(1e-12);
        share / (self.tenants[index].0 / weights) - 1.0
    }
}

/// What there is to say about many values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half are below.
    pub median: f64,
    /// Nineteen of twenty are below.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of `values`.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let Some(last) = values.len().checked_sub(1) else {
            return Self::default();
        };
        let at = |part: f64| values[(part * last as f64).ceil() as usize];
        Self {
            median: at(0.5),
            p95: at(0.95),
            max: at(1.0),
        }
    }
}

/// The middle of `values`.
pub fn median(values: Vec<f64>) -> f64 {
    Spread::of(values).median
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tenants that use `rates` of each second for ten seconds.
    fn run(rates: &[(f64, f64)]) -> Run {
        let curve = |rate: f64| {
            Curve(
                (0..=100)
                    .map(|n| (f64::from(n) / 10.0, rate * f64::from(n) / 10.0))
                    .collect(),
            )
        };
        Run::new(
            rates
                .iter()
                .map(|(weight, rate)| (*weight, curve(*rate)))
                .collect(),
        )
        .unwrap()
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn fair_is_by_weight() {
        let fair = run(&[(3.0, 0.75), (1.0, 0.25)]);
        assert_eq!(fair.unfairness(1.0).len(), 8);
        assert!(fair.unfairness(0.5).iter().all(|u| near(*u, 0.0)));
        assert!(near(fair.jain(), 1.0) && near(fair.busy(), 1.0));
        assert!(near(fair.gain(0), 0.0) && fair.errors(1.0).iter().all(|e| near(*e, 0.0)));
    }

    #[test]
    fn what_is_not_fair_shows() {
        let unfair = run(&[(1.0, 0.6), (1.0, 0.3)]);
        assert!(near(unfair.unfairness(1.0)[0], 1.0 / 3.0));
        assert!(near(unfair.errors(1.0)[0], 1.0 / 6.0));
        assert!(near(unfair.jain(), 0.81 / 0.9) && near(unfair.busy(), 0.9));
        assert!(near(unfair.gain(0), 1.0 / 3.0) && near(unfair.gain(1), -1.0 / 3.0));
        assert!(near(run(&[(1.0, 0.9), (1.0, 0.9)]).busy(), 1.0));
    }

    #[test]
    fn who_does_nothing_is_no_tenant_to_measure() {
        let idle = Curve(vec![(0.0, 0.0), (10.0, 0.0)]);
        assert!(Run::new(vec![(1.0, idle)]).is_err());
    }

    #[test]
    fn spreads() {
        let spread = Spread::of((0..=100).map(f64::from).collect());
        assert_eq!((spread.median, spread.p95, spread.max), (50.0, 95.0, 100.0));
        assert_eq!(Spread::of(vec![]), Spread::default());
    }

    #[test]
    fn recordings_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r");
        let mut text = "{\"weir_record\":1,\"interval_ms\":100}\n".to_owned();
        for n in 0..60u64 {
            let tenants = ["a", "b"].map(|name| {
                serde_json::json!({"tenant": name, "at_ns": n * 100_000_000, "device_time_ns": n * 50_000_000, "other": 1})
            });
            text.push_str(&serde_json::json!({"time_ms": n, "tenants": tenants}).to_string());
            text.push_str("\n{\"time_ms\":1,\"event\":\"x\"}\n");
        }
        std::fs::write(&file, text).unwrap();
        let weights = ["a", "b"].map(|name| (name.to_owned(), 1));
        let run = Run::read(&file, &weights).unwrap();
        assert!(near(run.busy(), 1.0) && near(run.jain(), 1.0));
    }
}
