//! Tests with real guests.
//!
//! Runs where `/dev/kvm` can boot a stock kernel: on the host, or in the rig. `cargo xtask test`
//! prepares what is needed and runs it; arguments are those of Rust's test harness.

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};

use weir_e2e::artifacts::Artifacts;
use weir_e2e::cases::{boot, cli, faults, hostile, libdeflate, opencl};
use weir_e2e::{emulator, fleet, progress};

type Case = (&'static str, fn(&Artifacts) -> Result<()>);

/// Cases that need no accelerator, or start machines of their own.
const ALONE: &[Case] = &[
    ("cli::wrong_configurations", cli::wrong_configurations),
    ("cli::wrong_command_lines", cli::wrong_command_lines),
    ("cli::host_without", cli::host_without),
    ("boot::shape_and_power_off", boot::shape_and_power_off),
    (
        "boot::old_kernel_small_machine",
        boot::old_kernel_small_machine,
    ),
    ("boot::large_machine", boot::large_machine),
    (
        "boot::reboot_then_power_button",
        boot::reboot_then_power_button,
    ),
    ("boot::panic_has_its_status", boot::panic_has_its_status),
    (
        "boot::triple_fault_has_its_status",
        boot::triple_fault_has_its_status,
    ),
];

/// Cases that share two guests.
const SHARED: &[Case] = &[
    (
        "opencl::clinfo_shows_the_host_s_device",
        opencl::clinfo_shows_the_host_s_device,
    ),
    ("opencl::arena_is_cached", opencl::arena_is_cached),
    ("opencl::at_once", |artifacts| {
        opencl::at_once(artifacts, AT_ONCE)
    }),
    ("libdeflate::same_as_host", libdeflate::same_as_host),
    (
        "faults::killed_guest_process_leaves_nothing",
        faults::killed_guest_process_leaves_nothing,
    ),
    (
        "faults::killed_worker_costs_one_client",
        faults::killed_worker_costs_one_client,
    ),
    ("hostile::malformed_batches", hostile::malformed_batches),
    (
        "hostile::commands_rewritten_under_check",
        hostile::commands_rewritten_under_check,
    ),
    ("hostile::malformed_chains", hostile::malformed_chains),
];

/// Cases that end what the others share.
const LAST: &[Case] = &[("fleet::powers_off_cleanly", |artifacts| {
    fleet::with(artifacts, |_| Ok(()))?;
    fleet::end()
})];

/// Program that runs several times at once.
const AT_ONCE: &str = "nbody";

/// Programs whose output must be the host's, bit for bit.
const SAME_AS_HOST: &[&str] = &[
    "hash ./hash",
    "mandelbrot",
    "nbody",
    "threads",
    "storm 8000",
    "devices",
    "fork",
    "thousand",
    "memory",
    "images",
    "events",
    "build",
    "info",
    "transfers",
    "errors",
    "exact",
    "link",
    "order",
    "modern",
    "deprecated",
    "arrays.py",
];

/// Programs that verify themselves; what they print depends on the guest.
const SELF_CHECKING: &[&str] = &["quota"];

fn trial(
    artifacts: &Artifacts,
    name: String,
    case: impl Fn(&Artifacts) -> Result<()> + Send + 'static,
) -> Trial {
    let artifacts = artifacts.clone();
    Trial::test(name.clone(), move || {
        emulator::retrying(|| case(&artifacts)).map_err(|error| format!("{error:?}"))?;
        progress::passed(&artifacts, &name).map_err(|error| format!("{error:?}").into())
    })
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // Two processors, and machines that are shared: one at a time.
    arguments.test_threads = Some(1);
    let artifacts = Artifacts::from_env()?;
    let named = |cases: &'static [Case]| {
        cases
            .iter()
            .map(|(name, case)| trial(&artifacts, (*name).to_owned(), case))
    };
    let programs = SAME_AS_HOST.iter().map(|program| {
        trial(
            &artifacts,
            format!("opencl::same_as_host::{program}"),
            |artifacts| opencl::same_as_host(artifacts, program),
        )
    });
    let checking = SELF_CHECKING.iter().map(|program| {
        trial(
            &artifacts,
            format!("opencl::passes_in_guest::{program}"),
            |artifacts| opencl::passes_in_guest(artifacts, program),
        )
    });
    let before = progress::before(&artifacts)?;
    let trials = named(ALONE)
        .chain(named(SHARED))
        .chain(programs)
        .chain(checking)
        .chain(named(LAST))
        .filter(|trial| !before.contains(trial.name()))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    fleet::end()?;
    let results = serde_json::json!({
        "passed": conclusion.num_passed + before.len() as u64,
        "failed": conclusion.num_failed,
        "skipped": conclusion.num_ignored,
    });
    fs::write(artifacts.scratch.join("results.json"), results.to_string())?;
    Ok(conclusion.exit_code())
}
