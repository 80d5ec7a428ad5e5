//! Weir's development tasks: set-up, demo, tests, rig, benchmarks.
//!
//! Run as `cargo xtask COMMAND`. Everything made or fetched lands under `target/` of the working
//! tree; the one thing that touches the system is the installation of missing Debian packages,
//! which is printed first.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod commands;
mod cpio;
mod host;
mod image;
mod kernels;
mod kvm_probe;
mod layout;
mod module;
mod packages;
mod process;
mod progress;
mod rig;
mod tools;

/// Weir's development tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command on the working tree inside the rig, a machine with a real KVM.
    Rig(commands::rig::Args),
    /// Prepare everything: packages, tools, guest kernels, guest image. Safe to repeat.
    Setup(commands::setup::Args),
    /// Build the guest's kernel module for every kernel; any warning is an error.
    Module(commands::module::Args),
    /// Say whether this host's own /dev/kvm runs real guests, or the rig does.
    Host(commands::host::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Rig(args) => commands::rig::main(args),
        Command::Setup(args) => commands::setup::main(args),
        Command::Module(args) => commands::module::main(args),
        Command::Host(args) => commands::host::main(args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
