//! Readings of what the way of a call costs, side by side from one run.
//!
//! `tests/programs/bench.c` measures; it runs natively and through Weir in turns. Beside its times
//! stand counts that do not depend on the machine's speed: how often a call left the guest, and how
//! often somebody had to be woken.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::artifacts::Artifacts;
use crate::fleet::Fleet;

/// What `bench` can be asked for, and how many rounds of it in a machine as slow as the rig.
const PARTS: &[(&str, u32)] = &[
    ("channel", 100),
    ("sync", 300),
    ("status", 300),
    ("async", 300),
    ("launch", 100),
    ("bulk", 250),
];

/// One measurement: median and spread over its samples.
#[derive(Clone, Debug, Serialize)]
pub struct Reading {
    /// What `median` counts.
    pub unit: String,
    /// Median of the samples.
    pub median: f64,
    /// Tenth of the samples is below.
    pub p10: f64,
    /// Tenth of the samples is above.
    pub p90: f64,
}

/// Counts of one part, divided by its calls.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PerCall {
    /// Calls that reached the device's host side.
    pub calls: u64,
    /// Exits of the virtual machine, of whatever kind.
    pub exits: Option<f64>,
    /// Times that the mediator was woken by the guest.
    pub kicks: f64,
    /// Times that the worker was woken.
    pub worker_wakes: f64,
}

/// Everything from one run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `guest`: through a virtual machine; `local`: between processes of one machine.
    pub transport: &'static str,
    /// By measurement, on the vendor's library.
    pub native: BTreeMap<String, Reading>,
    /// By measurement, through Weir.
    pub weir: BTreeMap<String, Reading>,
    /// By part of the run.
    pub counts: BTreeMap<String, PerCall>,
}

/// Reads what `bench` prints.
fn readings(text: &str) -> Result<BTreeMap<String, Reading>> {
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut next = || {
                words
                    .next()
                    .with_context(|| format!("`bench` printed {line:?}"))
            };
            let (name, unit) = (next()?.to_owned(), next()?.to_owned());
            let (median, p10, p90) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
            Ok((
                name,
                Reading {
                    unit,
                    median,
                    p10,
                    p90,
                },
            ))
        })
        .collect()
}

/// Counters of one tenant so far.
#[derive(Clone, Copy, Default)]
struct Counters {
    calls: u64,
    kicks: u64,
    worker_wakes: u64,
    exits: Option<u64>,
}

impl Counters {
    fn of(stats: &Value, exits: Option<u64>) -> Counters {
        let count = |name: &str| stats[name].as_u64().unwrap_or(0);
        Counters {
            calls: count("calls"),
            kicks: count("kicks"),
            worker_wakes: count("worker_wakes"),
            exits,
        }
    }

    fn per_call_since(self, before: Counters) -> PerCall {
        let calls = self.calls.saturating_sub(before.calls);
        let each = |now: u64, then: u64| now.saturating_sub(then) as f64 / calls.max(1) as f64;
        PerCall {
            calls,
            exits: self
                .exits
                .zip(before.exits)
                .map(|(now, then)| each(now, then)),
            kicks: each(self.kicks, before.kicks),
            worker_wakes: each(self.worker_wakes, before.worker_wakes),
        }
    }
}

/// Exits of the machine of process `pid` so far, as KVM counts them.
fn exits(pid: u64) -> Option<u64> {
    let folder = fs::read_dir("/sys/kernel/debug/kvm").ok()?;
    let of_machine = folder.filter_map(Result::ok).find(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("{pid}-"))
    })?;
    fs::read_to_string(of_machine.path().join("exits"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Measures through a virtual machine.
///
/// # Errors
/// When the machine does not start or a program fails.
pub fn guest(artifacts: &Artifacts) -> Result<Report> {
    let mut fleet = Fleet::start(artifacts)?;
    // What follows reads KVM's counters; without them only the exits are unknown.
    let _ = Command::new("mount")
        .args(["-t", "debugfs", "debugfs", "/sys/kernel/debug"])
        .output();
    let counters = |fleet: &Fleet| -> Result<Counters> {
        let vm = fleet.ps("alice")?;
        Ok(Counters::of(
            &vm["accelerators"][0],
            vm["pid"].as_u64().and_then(exits),
        ))
    };
    let mut report = Report::new("guest");
    for (part, rounds) in PARTS {
        eprintln!("    {part}, natively and in the guest");
        report.native.extend(native(artifacts, part, *rounds)?);
        let before = counters(&fleet)?;
        let script = format!("/weir/programs/bench {part} {rounds}");
        let text = fleet.alice.sh_ok(&script, Duration::from_secs(900))?;
        report.weir.extend(readings(&text)?);
        report
            .counts
            .insert((*part).to_owned(), counters(&fleet)?.per_call_since(before));
    }
    fleet.end()?;
    Ok(report)
}

fn native(artifacts: &Artifacts, part: &str, rounds: u32) -> Result<BTreeMap<String, Reading>> {
    let program = artifacts.programs.join("bench");
    let output = Command::new(program)
        .args([part, &rounds.to_string()])
        .output()?;
    ensure!(
        output.status.success(),
        "bench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    readings(&String::from_utf8(output.stdout)?)
}

impl Report {
    fn new(transport: &'static str) -> Report {
        Report {
            transport,
            native: BTreeMap::new(),
            weir: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The report as text: ratios first.
    pub fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:<16} {:>7} {:>24} {:>24} {:>9}",
            "measurement", "unit", "native (p10..p90)", "weir (p10..p90)", "ratio"
        )];
        let show = |r: &Reading| format!("{:.2} ({:.2}..{:.2})", r.median, r.p10, r.p90);
        for (name, weir) in &self.weir {
            let native = self.native.get(name);
            lines.push(format!(
                "{name:<16} {:>7} {:>24} {:>24} {:>9}",
                weir.unit,
                native.map(show).unwrap_or_default(),
                show(weir),
                native
                    .map(|n| format!("{:.2}", weir.median / n.median))
                    .unwrap_or_default(),
            ));
        }
        lines.push(String::new());
        let ratio = |a: &str, b: &str| Some(self.weir.get(a)?.median / self.weir.get(b)?.median);
        for (what, a, b) in [
            (
                "a synchronous call, in round trips over virtio-blk",
                "finish",
                "virtio-blk",
            ),
            (
                "a synchronous call, in round trips over a socket",
                "finish",
                "socket",
            ),
            (
                "writing 16 MiB, in memcpys",
                "write-16384K",
                "memcpy-16384K",
            ),
            ("reading 16 MiB, in memcpys", "read-16384K", "memcpy-16384K"),
        ] {
            if let Some(ratio) = ratio(a, b) {
                lines.push(format!("{what}: {ratio:.2}"));
            }
        }
        if let Some(call) = self.weir.get("set-argument") {
            lines.push(format!("batched calls a second: {:.0}", 1e6 / call.median));
        }
        lines.push(String::new());
        lines.push(format!(
            "{:<10} {:>9} {:>12} {:>12} {:>14}",
            "part", "calls", "exits/call", "kicks/call", "wakes/call"
        ));
        for (part, counts) in self.counts.iter().filter(|(_, counts)| counts.calls > 0) {
            lines.push(format!(
                "{part:<10} {:>9} {:>12} {:>12.4} {:>14.4}",
                counts.calls,
                counts
                    .exits
                    .map_or("unknown".to_owned(), |exits| format!("{exits:.4}")),
                counts.kicks,
                counts.worker_wakes,
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_program_are_read() {
        let found = readings("finish us 1.500 1.000 2.250 15\n").unwrap();
        assert_eq!(found["finish"].median, 1.5);
        assert!(readings("finish us 1.5\n").is_err());
    }

    #[test]
    fn counts_are_divided_by_calls() {
        let before = Counters {
            calls: 10,
            kicks: 1,
            worker_wakes: 2,
            exits: Some(100),
        };
        let after = Counters {
            calls: 20,
            kicks: 6,
            worker_wakes: 2,
            exits: Some(130),
        };
        let each = after.per_call_since(before);
        assert_eq!((each.calls, each.exits, each.kicks), (10, Some(3.0), 0.5));
    }
}
