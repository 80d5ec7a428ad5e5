//! `cargo xtask bench`: what the way of a call costs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::commands::setup;
use crate::guests;
use crate::layout::Layout;
use crate::product::Product;

/// Time for all of it in the rig.
const TIMEOUT: Duration = Duration::from_secs(40 * 60);

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Also print everything as one JSON object, on the last line.
    #[arg(long)]
    json: bool,
}

/// Prepares everything, runs the benchmark program natively and in a guest, and prints both side by
/// side with the counts of exits and wake-ups.
///
/// # Errors
/// When something cannot be prepared.
pub fn main(args: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    let kernels = setup::prepare(&layout, false)?;
    let product = Product::build(&layout, &kernels)?;
    let environment = guests::environment(&layout, &product)?;
    let mut command: Vec<OsString> = vec![product.bin.join("weir-bench").into()];
    if args.json {
        command.push("--json".into());
    }
    let (status, _) = guests::run(&layout, "benchmarks", &command, environment, TIMEOUT)?;
    Ok(if status == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
