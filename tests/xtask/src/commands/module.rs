//! `cargo xtask module`: the guest's kernel module, for every kernel.

use std::process::ExitCode;

use anyhow::Result;

use crate::kernels::{Kernel, Series};
use crate::layout::Layout;
use crate::module;
use crate::packages::{Apt, system};
use crate::progress;

/// Arguments of `cargo xtask module`.
#[derive(clap::Args)]
pub struct Args {
    /// Only for this kernel; may be repeated.
    #[arg(long, value_name = "SERIES", value_enum)]
    kernel: Vec<Series>,
}

/// Builds the module and prints where it is, one line a kernel.
///
/// # Errors
/// When the build fails or warns.
pub fn main(args: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    let _lock = layout.lock()?;
    system::ensure()?;
    let apt = Apt::open(&layout)?;
    let wanted = |series: &Series| args.kernel.is_empty() || args.kernel.contains(series);
    for series in Series::ALL.into_iter().filter(wanted) {
        let kernel = Kernel::prepare(&layout, &apt, series)?;
        progress::step(format_args!(
            "building the module for kernel {}",
            kernel.release()
        ));
        println!("{}", module::build(&layout, &kernel)?.display());
    }
    Ok(ExitCode::SUCCESS)
}
