//! Weir's development tasks: set-up, demo, tests, rig, benchmarks.
//!
//! Run as `cargo xtask COMMAND`. Everything made or fetched lands under `target/` of the working
//! tree; the one thing that touches the system is the installation of missing Debian packages,
//! which is printed first.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod chaos;
mod commands;
mod cpio;
mod guests;
mod host;
mod image;
mod kernels;
mod kvm_probe;
mod layout;
mod module;
mod packages;
mod process;
mod product;
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
    /// Set everything up and show the main job: two machines that share the host's OpenCL device.
    ///
    /// Starts alice and bob from resources/demo.toml. Each boots a stock Debian kernel, loads the
    /// guest module, and runs clinfo and an OpenCL program whose results it verifies. The exit
    /// status is 0 only if every result was right.
    Demo(commands::demo::Args),
    /// Run all tests: formatting, clippy, units, the module's build, real guests.
    ///
    /// Prepares what is missing first. Real guests run on this host's /dev/kvm if it runs a stock
    /// kernel, else in the rig. Ends with a line `N passed, N failed, N skipped`; the exit status is 0
    /// only if nothing failed.
    Test(commands::test::Args),
    /// Measure what calls, batches and bulk copies cost, natively and in a guest, side by side.
    Bench(commands::bench::Args),
    /// Run programs that people use natively and through Weir, and compare.
    ///
    /// Each program runs as a local tenant (`weir exec`). A test that passes natively and does not
    /// through Weir is a regression, and the exit status is then 1. Installs the programs first; those of
    /// PyPI land in target/conformance, with the logs.
    Conformance(commands::conformance::Args),
    /// Measure how well tenants share the device, with local tenants at native speed.
    ///
    /// Two to eight tenants of weights up to 16:1 with kernels of 0.1 to 10 ms, a light tenant beside
    /// heavy ones, and tenants that try to get more than their share. Takes about ten minutes, three
    /// with --short; recordings and plots are left in target/fairness. The machine should do nothing
    /// else meanwhile.
    Fairness(commands::fairness::Args),
    /// Kill processes at random under load, and see that the others go on and nothing is left.
    Chaos(commands::chaos::Args),
    /// Build the Debian package that installs module and OpenCL driver in a guest, and print its path.
    Package(commands::package::Args),
    /// Run a command on the working tree inside the rig, a machine with a real KVM.
    Rig(commands::rig::Args),
    /// Prepare everything: packages, tools, guest kernels, guest image. Safe to repeat.
    Setup(commands::setup::Args),
    /// Build the guest's kernel module for every kernel; any warning is an error.
    Module(commands::module::Args),
    /// Check API specs, and measure what they come to.
    Spec(commands::spec::Args),
    /// Say whether this host's own /dev/kvm runs real guests, or the rig does.
    Host(commands::host::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => commands::demo::main(args),
        Command::Bench(args) => commands::bench::main(args),
        Command::Conformance(args) => commands::conformance::main(args),
        Command::Fairness(args) => commands::fairness::main(args),
        Command::Chaos(args) => commands::chaos::main(args),
        Command::Test(args) => commands::test::main(args),
        Command::Package(args) => commands::package::main(args),
        Command::Rig(args) => commands::rig::main(args),
        Command::Setup(args) => commands::setup::main(args),
        Command::Module(args) => commands::module::main(args),
        Command::Spec(args) => commands::spec::main(args),
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
