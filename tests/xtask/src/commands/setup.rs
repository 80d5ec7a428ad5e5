//! `cargo xtask setup`: everything that demo and tests need, prepared.

use std::process::ExitCode;

use anyhow::Result;

use crate::host::{self, Kind};
use crate::image;
use crate::kernels::{Kernel, Series};
use crate::layout::Layout;
use crate::packages::{Apt, system};
use crate::progress;
use crate::tools::Tools;

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Ask Debian's mirror for newer versions of everything.
    #[arg(long)]
    update: bool,
}

/// Prepares everything, and says where it is.
///
/// # Errors
/// When a step fails.
pub fn main(args: Args) -> Result<ExitCode> {
    prepare(&Layout::discover()?, args.update)?;
    Ok(ExitCode::SUCCESS)
}

/// Prepares everything that is not there yet, of the newest versions if `update`, and returns the guest's
/// kernels.
///
/// # Errors
/// When a step fails.
pub fn prepare(layout: &Layout, update: bool) -> Result<Vec<(Series, Kernel)>> {
    let _lock = layout.lock()?;
    progress::step("packages on this host's own system");
    system::ensure()?;
    let apt = Apt::open(layout)?;
    if update {
        apt.forget()?;
    }
    match host::kind() {
        Kind::Kvm => progress::step("real guests run on this host's /dev/kvm"),
        Kind::Rig(finding) => progress::step(format_args!("real guests run in the rig: {finding}")),
    }
    progress::step("tools of the rig: QEMU and virtiofsd");
    Tools::prepare(layout, &apt)?;
    let mut kernels = Vec::new();
    for series in Series::ALL {
        progress::step(format_args!("guest kernel {}", series.name()));
        let kernel = Kernel::prepare(layout, &apt, series)?;
        let initrd = image::prepare_initrd(&kernel)?;
        progress::detail(format_args!("kernel  {}", kernel.image().display()));
        progress::detail(format_args!("initrd  {}", initrd.display()));
        progress::detail(format_args!("headers {}", kernel.headers().display()));
        kernels.push((series, kernel));
    }
    progress::step("guest image");
    let image = image::prepare(layout, &apt)?;
    progress::detail(format_args!("image   {}", image.display()));
    Ok(kernels)
}
