//! `cargo xtask fairness`: how well tenants share a device, measured.
//!
//! Local tenants use PoCL at native speed, each with endless kernels whose length is calibrated. What
//! each got is read from a recording of `weir record`.

mod figures;
mod fleet;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use self::figures::{Run, Spread, median};
use self::fleet::{Fleet, Load, Report};
use crate::layout::Layout;
use crate::packages::system;
use crate::process;
use crate::product::Local;
use crate::progress;

/// The longest kernel, in milliseconds.
const LONG: f64 = 10.0;
/// Work that a tenant has always given to its queue, in milliseconds, as far as 64 kernels are that.
const BACKLOG: f64 = 20.0;
/// The policies that are compared with: in the order of arrival, and nobody is held back.
const FIFO: &str = "fifo";
const NONE: &str = "none";

/// Arguments of `cargo xtask fairness`.
#[derive(clap::Args)]
pub struct Args {
    /// Take about three minutes rather than ten.
    #[arg(long)]
    short: bool,
    /// Use programs that are built already, in this folder and in target/programs.
    #[arg(long, value_name = "FOLDER", hide = true)]
    bin: Option<PathBuf>,
    /// Also print the figures as one JSON object, on the last line.
    #[arg(long)]
    json: bool,
}

/// The figures, all of them fractions.
#[derive(Debug, Serialize)]
struct Figures {
    unfairness_1s: Spread,
    unfairness_500ms: Spread,
    jain: f64,
    error_over_l_per_w: f64,
    busy_vs_fifo: f64,
    scheduler_cost: f64,
    light_p99_excess_in_l: Excess,
    adversary_gain_max: f64,
}

/// How much longer a light tenant waits than alone, in lengths of the longest kernel.
#[derive(Debug, Serialize)]
struct Excess {
    beside_1: f64,
    beside_7: f64,
}

/// Tenants that are at work all the time: name of the run, and weight and kernel length of each.
type Mix = (&'static str, &'static [(u32, f64)]);

const MIXES: [Mix; 7] = [
    ("two-1-1", &[(1, 10.0), (1, 10.0)]),
    ("two-3-1", &[(3, 10.0), (1, 10.0)]),
    ("two-16-1", &[(16, 10.0), (1, 10.0)]),
    ("two-lengths", &[(1, 10.0), (1, 0.1)]),
    ("two-16-1-lengths", &[(16, 0.1), (1, 10.0)]),
    ("four-8-4-2-1", &[(8, 10.0), (4, 5.0), (2, 2.0), (1, 1.0)]),
    (
        "eight",
        &[
            (1, 10.0),
            (1, 5.0),
            (2, 2.0),
            (1, 1.0),
            (2, 0.5),
            (1, 0.2),
            (4, 0.1),
            (4, 10.0),
        ],
    ),
];

/// A way to get more than one's share: how many processes, the length of their kernels, and options of the load.
type Adversary = (&'static str, u32, f64, &'static [&'static str]);

const ADVERSARIES: [Adversary; 9] = [
    ("processes", 4, 10.0, &[]),
    ("contexts", 1, 10.0, &["threads=8", "contexts=8"]),
    ("queues", 1, 10.0, &["threads=8"]),
    ("deep-queue", 1, 10.0, &["depth=64"]),
    ("tiny-flood", 4, 0.01, &["depth=64", "threads=8"]),
    ("blind-flood", 2, 0.01, &["blind=1", "threads=4"]),
    (
        "sleep-and-wake",
        1,
        10.0,
        &["depth=8", "pause=30", "burst=8"],
    ),
    ("very-long", 1, 100.0, &[]),
    ("blind", 1, 10.0, &["blind=1"]),
];

/// All that the measurements have in common.
struct Bench {
    product: Local,
    folder: PathBuf,
    /// Rounds of a kernel that lasts a millisecond.
    per_ms: f64,
    time: Duration,
    repeat: usize,
}

/// Measures, prints a table, and leaves recordings and plots in `target/fairness`.
///
/// # Errors
/// When something cannot be prepared or a run fails.
pub fn main(args: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    let product = {
        let _lock = layout.lock()?;
        system::ensure()?;
        match args.bin {
            Some(bin) => Local {
                programs: layout.target().join("programs"),
                bin,
            },
            None => Local::build(&layout)?,
        }
    };
    let folder = layout.target().join("fairness");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let said = process::capture(Command::new(product.programs.join("load")).arg("calibrate"))?;
    let per_ms = said.trim().parse().context("calibrating")?;
    let bench = Bench {
        product,
        folder,
        per_ms,
        time: Duration::from_secs(if args.short { 8 } else { 20 }),
        repeat: if args.short { 1 } else { 3 },
    };
    let began = Instant::now();
    let figures = bench.measure()?;
    progress::detail(format_args!("took {:.0?}", began.elapsed()));
    print!("{}", table(&figures));
    let json = serde_json::to_string(&figures)?;
    fs::write(bench.folder.join("fairness.json"), format!("{json}\n"))?;
    progress::detail(format_args!(
        "recordings, plots and fairness.json are in {}",
        bench.folder.display()
    ));
    if args.json {
        println!("{json}");
    }
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    fn measure(&self) -> Result<Figures> {
        let longest_s = self.longest()?;
        let (mut second, mut half, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut jain = 1.0f64;
        let mut busy = 0.0;
        for (name, mix) in MIXES {
            progress::step(format_args!("{name}: {} tenants", mix.len()));
            let (run, _) = self.run(name, None, mix)?;
            let (one, short) = (
                Spread::of(run.unfairness(1.0)),
                Spread::of(run.unfairness(0.5)),
            );
            progress::detail(format_args!(
                "unfairness over 1 s {:.2} %, over 500 ms {:.2} %, Jain {:.5}, busy {:.1} %",
                100.0 * one.median,
                100.0 * short.median,
                run.jain(),
                100.0 * run.busy()
            ));
            second.extend(run.unfairness(1.0));
            half.extend(run.unfairness(0.5));
            let longest = mix.iter().map(|(_, ms)| ms / LONG).fold(0.0, f64::max) * longest_s;
            for window in [1.0, 0.5] {
                errors.extend(
                    run.errors(window)
                        .iter()
                        .map(|error| error * window / longest),
                );
            }
            jain = jain.min(run.jain());
            if name == MIXES[0].0 {
                busy = run.busy();
            }
        }
        Ok(Figures {
            unfairness_1s: Spread::of(second),
            unfairness_500ms: Spread::of(half),
            jain,
            error_over_l_per_w: Spread::of(errors).max,
            busy_vs_fifo: self.busy_beside_fifo(busy)?,
            scheduler_cost: self.cost()?,
            light_p99_excess_in_l: self.light(1e3 * longest_s)?,
            adversary_gain_max: self.adversaries()?,
        })
    }

    /// How long the longest kernel really takes, in seconds: what one tenant alone is charged for each.
    fn longest(&self) -> Result<f64> {
        progress::step("the length of the longest kernel");
        let (run, reports) = self.run("longest", None, &[(1, LONG)])?;
        let kernels = reports.first().map_or(0, |report| report.kernels);
        anyhow::ensure!(kernels > 0, "no kernel has ended");
        let longest = run.busy() * reports[0].seconds / kernels as f64;
        progress::detail(format_args!("{:.2} ms", 1e3 * longest));
        Ok(longest)
    }

    fn options(&self, milliseconds: f64, more: &[&str]) -> Vec<String> {
        let rounds = (milliseconds * self.per_ms).max(1.0) as u64;
        let own = ["seconds=0".to_owned(), format!("rounds={rounds}")];
        own.into_iter()
            .chain(more.iter().map(|option| (*option).into()))
            .collect()
    }

    /// Lets tenants work all the time.
    fn run(
        &self,
        name: &str,
        policy: Option<&str>,
        mix: &[(u32, f64)],
    ) -> Result<(Run, Vec<Report>)> {
        let tenants = tenants(mix.iter().map(|(share, _)| *share));
        let fleet = Fleet::start(&self.product, &self.folder, name, policy, &tenants)?;
        let loads = tenants
            .iter()
            .zip(mix)
            .map(|((tenant, _), (_, ms))| {
                // So much is always there to do that a tenant never has nothing to offer.
                let depth = format!("depth={}", (BACKLOG / ms).clamp(2.0, 64.0) as u32);
                fleet.load(tenant, &self.options(*ms, &[&depth]))
            })
            .collect::<Result<Vec<_>>>()?;
        let run = self.watch(&fleet, name, &tenants)?;
        let reports = loads.into_iter().map(Load::finish).collect::<Result<_>>()?;
        Ok((run, reports))
    }

    /// Records, draws, and reads what was recorded.
    fn watch(&self, fleet: &Fleet<'_>, name: &str, tenants: &[(String, u32)]) -> Result<Run> {
        // Workers start and kernels are compiled meanwhile.
        thread::sleep(Duration::from_secs(1));
        let file = self.folder.join(format!("{name}.jsonl"));
        fleet.record(&file, self.time + Duration::from_secs(1))?;
        let mut plot = Command::new(self.product.bin.join("weir"));
        plot.arg("plot")
            .arg(&file)
            .arg("-o")
            .arg(file.with_extension("html"));
        process::run(&mut plot)?;
        Run::read(&file, tenants)
    }

    /// How much of the time the device is busy, of what it is where the first to come is served first.
    fn busy_beside_fifo(&self, busy: f64) -> Result<f64> {
        progress::step("first come, first served, to compare with");
        let (run, _) = self.run("fifo", Some(FIFO), MIXES[0].1)?;
        let ratio = busy / run.busy();
        progress::detail(format_args!(
            "busy {:.1} % of the time, with shares {:.1} %; unfairness over 1 s {:.2} %",
            100.0 * run.busy(),
            100.0 * busy,
            100.0 * median(run.unfairness(1.0))
        ));
        Ok(ratio)
    }

    /// What sharing costs a tenant that is alone, in kernels per second. The two are measured in
    /// turn, so that what else the machine does meets both.
    fn cost(&self) -> Result<f64> {
        progress::step("what the scheduler costs");
        let mut costs = Vec::new();
        for round in 0..self.repeat.max(2) {
            let speed = |name: &str, policy| {
                let name = format!("cost-{name}-{round}");
                let (_, reports) = self.run(&name, policy, &[(1, 1.0)])?;
                anyhow::Ok(reports[0].kernels as f64 / reports[0].seconds)
            };
            let (with, without) = (speed("with", None)?, speed("without", Some(NONE))?);
            progress::detail(format_args!(
                "{with:.1} kernels per second; without {without:.1}"
            ));
            costs.push(1.0 - with / without);
        }
        Ok(median(costs))
    }

    /// How much longer a tenant with little to do waits beside those that have much.
    fn light(&self, longest_ms: f64) -> Result<Excess> {
        progress::step("a light tenant beside heavy ones");
        let alone = self.wait(0)?;
        let excess = |heavy| anyhow::Ok((self.wait(heavy)? - alone) / longest_ms);
        Ok(Excess {
            beside_1: excess(1)?,
            beside_7: excess(7)?,
        })
    }

    /// The light tenant's 99th percentile of waiting beside so many, in milliseconds.
    fn wait(&self, heavy: usize) -> Result<f64> {
        let mut waits = Vec::new();
        for round in 0..self.repeat {
            let name = format!("light-beside-{heavy}-{round}");
            let tenants = tenants(std::iter::repeat_n(1, heavy + 1));
            let fleet = Fleet::start(&self.product, &self.folder, &name, None, &tenants)?;
            let mut loads = Vec::new();
            for (tenant, _) in &tenants[1..] {
                loads.push(fleet.load(tenant, &self.options(LONG, &[]))?);
            }
            // The heavy ones are at work before the light one begins.
            thread::sleep(Duration::from_secs(2));
            let light = self.options(1.0, &["pause=20", "depth=1"]);
            let light = fleet.load(&tenants[0].0, &light)?;
            self.watch(&fleet, &name, &tenants)?;
            waits.push(light.finish()?.p99_us / 1e3);
            for load in loads {
                load.finish()?;
            }
        }
        let wait = median(waits);
        progress::detail(format_args!("p99 beside {heavy}: {wait:.2} ms"));
        Ok(wait)
    }

    /// The most that anybody gains by cunning.
    fn adversaries(&self) -> Result<f64> {
        progress::step("adversaries beside an honest tenant of the same weight");
        let mut most = f64::MIN;
        for (name, processes, ms, options) in ADVERSARIES {
            let tenants = tenants([1, 1].into_iter());
            let name = format!("adversary-{name}");
            let fleet = Fleet::start(&self.product, &self.folder, &name, None, &tenants)?;
            let honest = fleet.load(&tenants[0].0, &self.options(LONG, &[]))?;
            let mut others = Vec::new();
            for _ in 0..processes {
                others.push(fleet.load(&tenants[1].0, &self.options(ms, options))?);
            }
            let run = self.watch(&fleet, &name, &tenants)?;
            progress::detail(format_args!("{name}: {:+.2} %", 100.0 * run.gain(1)));
            most = most.max(run.gain(1));
            honest.finish()?;
            // One that ended by itself has lost, and that is well.
            drop(others);
        }
        Ok(most)
    }
}

/// Tenants of these weights, named after them.
fn tenants(weights: impl Iterator<Item = u32>) -> Vec<(String, u32)> {
    let named = weights.enumerate();
    named
        .map(|(index, weight)| (format!("t{index}-w{weight}"), weight))
        .collect()
}

fn table(figures: &Figures) -> String {
    let percent = |part: f64| format!("{:.2} %", 100.0 * part);
    let spread = |spread: Spread| {
        format!(
            "median {}, 95th percentile {}, at most {}",
            percent(spread.median),
            percent(spread.p95),
            percent(spread.max)
        )
    };
    let excess = &figures.light_p99_excess_in_l;
    let rows = [
        (
            "unfairness over 1 s",
            spread(figures.unfairness_1s),
            "1 %, 3 %",
        ),
        (
            "unfairness over 500 ms",
            spread(figures.unfairness_500ms),
            "2 %, 6 %",
        ),
        (
            "Jain's index, the worst run",
            format!("{:.5}", figures.jain),
            "at least 0.999",
        ),
        (
            "share error, the largest",
            format!("{:.2} L/W", figures.error_over_l_per_w),
            "1.5 L/W",
        ),
        (
            "busy, of what it is by FIFO",
            percent(figures.busy_vs_fifo),
            "at least 98 %",
        ),
        (
            "cost of the scheduler",
            percent(figures.scheduler_cost),
            "1 %",
        ),
        (
            "light tenant's p99 beside 1",
            format!("{:+.2} L", excess.beside_1),
            "1.1 L",
        ),
        (
            "light tenant's p99 beside 7",
            format!("{:+.2} L", excess.beside_7),
            "1.1 L",
        ),
        (
            "gain of the best adversary",
            percent(figures.adversary_gain_max),
            "2 %",
        ),
    ];
    let head = [
        ("measured", "value".to_owned(), "aim"),
        ("---", "---".to_owned(), "---"),
    ];
    let line =
        |(what, value, aim): &(&str, String, &str)| format!("| {what} | {value} | {aim} |\n");
    head.iter().chain(&rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_agreed_form() {
        let spread = Spread {
            median: 0.01,
            p95: 0.02,
            max: 0.03,
        };
        let figures = Figures {
            unfairness_1s: spread,
            unfairness_500ms: spread,
            jain: 1.0,
            error_over_l_per_w: 1.0,
            busy_vs_fifo: 1.0,
            scheduler_cost: 0.0,
            light_p99_excess_in_l: Excess {
                beside_1: 0.5,
                beside_7: 1.0,
            },
            adversary_gain_max: 0.0,
        };
        let expected = "{\"unfairness_1s\":{\"median\":0.01,\"p95\":0.02,\"max\":0.03},\
            \"unfairness_500ms\":{\"median\":0.01,\"p95\":0.02,\"max\":0.03},\"jain\":1.0,\
            \"error_over_l_per_w\":1.0,\"busy_vs_fifo\":1.0,\"scheduler_cost\":0.0,\
            \"light_p99_excess_in_l\":{\"beside_1\":0.5,\"beside_7\":1.0},\"adversary_gain_max\":0.0}";
        assert_eq!(serde_json::to_string(&figures).unwrap(), expected);
        let table = table(&figures);
        assert_eq!(table.lines().count(), 11);
        assert!(table.lines().all(|line| line.matches('|').count() == 4));
    }
}
