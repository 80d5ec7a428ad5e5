//! `cargo xtask host`: where real guests run on this machine.

use std::process::ExitCode;

use anyhow::Result;

use crate::host::{self, Kind};

/// Arguments of `cargo xtask host`: none.
#[derive(clap::Args)]
pub struct Args {}

/// Prints `kvm` or `rig`, and why.
///
/// # Errors
/// None; the signature is that of every command.
pub fn main(Args {}: Args) -> Result<ExitCode> {
    match host::kind() {
        Kind::Kvm => println!("kvm: /dev/kvm runs kernel mode natively"),
        Kind::Rig(finding) => println!("rig: {finding}"),
    }
    Ok(ExitCode::SUCCESS)
}
