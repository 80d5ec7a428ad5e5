//! `cargo xtask chaos`: processes are killed at random under load; the others go on or end cleanly,
//! a new start works, nothing is left.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::chaos::processes::{self, Kind};
use crate::chaos::system::{System, TENANTS};
use crate::commands::setup;
use crate::layout::Layout;
use crate::progress;

/// Rounds within `cargo xtask test`.
pub const SHORT: u32 = 12;

/// Arguments of `cargo xtask chaos`.
#[derive(clap::Args)]
pub struct Args {
    /// How many processes are killed.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Repeat the choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Also print the result as one JSON object, on the last line.
    #[arg(long)]
    json: bool,
}

/// Builds what is needed, and does as the module says, with local tenants on this host's OpenCL.
///
/// # Errors
/// When something cannot be built.
pub fn main(args: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    setup::prepare(&layout, false)?;
    progress::step("building Weir in release");
    let status = Command::new("cargo")
        .args(["build", "--release", "-p", "weir", "-p", "weir-worker"])
        .args(["-p", "weir-opencl", "--target-dir"])
        .arg(layout.target())
        .current_dir(layout.root())
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "cargo build ended with {status}");
    let seed = args.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        now.map_or(1, |now| now.as_nanos() as u64)
    });
    let outcome = run(&layout, args.rounds, seed);
    if let Err(error) = &outcome {
        eprintln!("error: {error:#} (again with --seed {seed})");
    }
    if args.json {
        let killed = outcome.as_ref().ok();
        println!(
            "{}",
            json!({ "passed": outcome.is_ok(), "seed": seed, "killed": killed })
        );
    }
    Ok(match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// Kills `rounds` processes; answers how many of each kind.
///
/// # Errors
/// What went on although it should not, or did not although it should.
pub fn run(layout: &Layout, rounds: u32, seed: u64) -> Result<serde_json::Value> {
    let mut random = Random(seed | 1);
    let mut killed = std::collections::BTreeMap::<String, u32>::new();
    let mut system = System::start(layout)?;
    let began = Instant::now();
    for round in 0..rounds {
        system.fill()?;
        std::thread::sleep(Duration::from_millis(random.below(400)));
        // A kind first, or most victims would be workers.
        let kind = Kind::ALL[random.below(Kind::ALL.len() as u64) as usize];
        let all = processes::of_kind(system.pid(), kind);
        if all.is_empty() {
            continue;
        }
        let victim = all[random.below(all.len() as u64) as usize].clone();
        progress::detail(format_args!(
            "{round}: {kind:?} {} of {}",
            victim.pid,
            victim.tenant.as_deref().unwrap_or("all")
        ));
        processes::kill(victim.pid)?;
        *killed
            .entry(format!("{kind:?}").to_lowercase())
            .or_default() += 1;
        let after = match (kind, victim.tenant.as_deref()) {
            (Kind::Supervisor, _) => system.supervisor_died(),
            (Kind::Mediator | Kind::Spawner, Some(tenant)) => system.tenant_died(tenant),
            (Kind::Worker | Kind::Program, Some(tenant)) => system.client_died(tenant),
            (_, None) => bail!("{kind:?} {} is of no tenant", victim.pid),
        };
        after.with_context(|| {
            format!(
                "round {round}, after {kind:?} {} of {:?} was killed; what weir said:\n{}",
                victim.pid,
                victim.tenant,
                system.log()
            )
        })?;
        if matches!(kind, Kind::Supervisor | Kind::Mediator | Kind::Spawner) {
            system.end().with_context(|| {
                format!(
                    "round {round}, ending the rest; weir said:\n{}",
                    system.log()
                )
            })?;
            system = System::start(layout).context("a new start")?;
        }
    }
    system.end()?;
    progress::detail(format_args!(
        "{rounds} rounds with {} tenants in {:.0?}: {killed:?}; nothing is left",
        TENANTS.len(),
        began.elapsed()
    ));
    Ok(json!(killed))
}

/// Numbers that need not be good, only repeatable (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
