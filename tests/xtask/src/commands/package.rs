//! `cargo xtask package`: the Debian package for guests.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::layout::Layout;
use crate::packages::system;
use crate::process;
use crate::progress;

/// Arguments of `cargo xtask package`: none.
#[derive(clap::Args)]
pub struct Args {}

/// Builds the guest's libraries and packs them, with the module's source, into one package.
///
/// # Errors
/// When a library does not build or the package cannot be written.
pub fn main(Args {}: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    system::ensure()?;
    progress::step("building the guest's libraries");
    let status = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--package",
            "weir-opencl",
            "--package",
            "weir-libdeflate",
            "--target-dir",
        ])
        .arg(layout.target())
        .current_dir(layout.root())
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "a library does not build");
    let folder = layout.target().join("package");
    fs::create_dir_all(&folder)?;
    let version = env!("CARGO_PKG_VERSION");
    let package = folder.join(format!("weir-guest_{version}_amd64.deb"));
    progress::step("packing");
    process::run(
        Command::new(layout.root().join("guest-driver/debian/build-deb.sh"))
            .arg(version)
            .arg(layout.target().join("release"))
            .arg(&package),
    )?;
    println!("{}", package.display());
    Ok(ExitCode::SUCCESS)
}
