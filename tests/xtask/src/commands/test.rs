//! `cargo xtask test`: everything, from formatting to real guests.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::commands::{chaos, setup};
use crate::guests;
use crate::layout::Layout;
use crate::process;
use crate::product::Product;
use crate::progress;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Only the tests with real guests whose names contain this.
    #[arg(long, value_name = "NAME")]
    guest: Option<String>,
}

/// Time for all tests with real guests; the rig is slow.
const GUEST_TESTS: Duration = Duration::from_secs(50 * 60);

/// Where the short form of `cargo xtask chaos` begins.
const SEED: u64 = 20;

/// How many rigs are tried if one breaks down, as one in some five minutes of guests has been seen to.
const RIGS: u32 = 16;

/// What has passed and what has not.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    /// Runs one check that passes or fails as a whole.
    fn check(&mut self, what: &str, check: impl FnOnce() -> Result<()>) {
        progress::step(what);
        let began = Instant::now();
        match check() {
            Ok(()) => {
                self.passed += 1;
                progress::detail(format_args!("passed in {:.0?}", began.elapsed()));
            }
            Err(error) => {
                self.failed += 1;
                progress::detail(format_args!("FAILED: {error:#}"));
            }
        }
    }

    /// Adds the figures of Rust's test harness, if `line` has them. Returns whether it has.
    fn add(&mut self, line: &str) -> bool {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return false;
        };
        let count = |word: &str| {
            rest.split(['.', ';'])
                .find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
        self.skipped += count("ignored");
        true
    }
}

/// Prepares everything, runs all tests and prints `N passed, N failed, N skipped` at the end.
///
/// # Errors
/// When something that the tests stand on cannot be prepared.
pub fn main(args: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    let kernels = setup::prepare(&layout, false)?;
    let mut tally = Tally::default();
    if args.guest.is_none() {
        tally.check("formatting", || {
            cargo(&layout, &["fmt", "--all", "--check"])
        });
        tally.check("clippy, warnings denied", || {
            let target = layout.target().display().to_string();
            let arguments = [
                "clippy",
                "--workspace",
                "--all-targets",
                "--target-dir",
                &target,
                "--",
                "-D",
                "warnings",
            ];
            cargo(&layout, &arguments)
        });
        unit_tests(&layout, &mut tally)?;
    }
    let mut product = None;
    tally.check(
        "building for release, the module for both kernels, the test programs",
        || {
            product = Some(Product::build(&layout, &kernels)?);
            Ok(())
        },
    );
    if args.guest.is_none() && product.is_some() {
        let what = "processes killed at random, the others go on (cargo xtask chaos)";
        // Always the same choices: what fails here fails again.
        tally.check(what, || chaos::run(&layout, chaos::SHORT, SEED).map(drop));
    }
    match product {
        Some(product) => guest_tests(&layout, &product, args.guest.as_deref(), &mut tally)?,
        None => progress::step("no tests with guests: there is nothing to run"),
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.skipped
    );
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn cargo(layout: &Layout, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .current_dir(layout.root())
        .stdin(Stdio::null());
    let status = command.status().context("starting cargo")?;
    if !status.success() {
        bail!("{} ended with {status}", process::describe(&command));
    }
    Ok(())
}

/// Units, devices on mock queues, property tests, and the worker on the host's own OpenCL.
fn unit_tests(layout: &Layout, tally: &mut Tally) -> Result<()> {
    progress::step("units, devices on mock queues, property tests");
    let mut command = Command::new("cargo");
    command
        .args(["test", "--workspace", "--no-fail-fast", "--target-dir"])
        .arg(layout.target())
        .current_dir(layout.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("starting cargo")?;
    let output = child.stdout.take().context("cargo has an output")?;
    let failed_before = tally.failed;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if !tally.add(&line) && !line.ends_with("... ok") && !line.trim().is_empty() {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == failed_before {
        // It did not get as far as to count: it does not build.
        tally.failed += 1;
    }
    Ok(())
}

/// Real guests.
fn guest_tests(
    layout: &Layout,
    product: &Product,
    only: Option<&str>,
    tally: &mut Tally,
) -> Result<()> {
    let environment = guests::environment(layout, product)?;
    let mut command = vec![product.bin.join("weir-e2e").into_os_string()];
    command.extend(only.map(OsString::from));
    // The rig's emulator itself breaks down at times; what has passed then is not run again.
    for left in (0..RIGS).rev() {
        let environment = environment.clone();
        match guests::run(layout, "real guests", &command, environment, GUEST_TESTS) {
            Ok(_) => break,
            Err(error) if left == 0 => return Err(error),
            Err(error) => progress::detail(format_args!("{error:#}\n    once more")),
        }
    }
    read_results(&layout.target().join("e2e/results.json"), tally)
}

fn read_results(results: &Path, tally: &mut Tally) -> Result<()> {
    let Ok(text) = fs::read_to_string(results) else {
        tally.failed += 1;
        progress::detail("FAILED: the tests with guests did not come to their end");
        return Ok(());
    };
    let counts: Value = serde_json::from_str(&text).context("reading the results")?;
    let count = |name: &str| counts[name].as_u64().unwrap_or(0);
    tally.passed += count("passed");
    tally.failed += count("failed");
    tally.skipped += count("skipped");
    std::io::stdout().flush().context("writing the results")
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn the_harness_s_figures_are_read() {
        let mut tally = Tally::default();
        assert!(!tally.add("running 3 tests"));
        assert!(tally.add(
            "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.23s"
        ));
        assert!(
            tally.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out")
        );
        assert_eq!((tally.passed, tally.failed, tally.skipped), (15, 2, 1));
    }
}
