//! `cargo xtask rig`: one command in the rig.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::layout::Layout;
use crate::rig::{self, Options};

/// Arguments of `cargo xtask rig`.
#[derive(clap::Args)]
pub struct Args {
    /// Pass this variable of the environment on to the command; may be repeated.
    #[arg(long, value_name = "NAME")]
    env: Vec<OsString>,
    /// Keep what the command writes to this folder; `target/` is always kept. May be repeated.
    #[arg(long, value_name = "FOLDER")]
    writable: Vec<PathBuf>,
    /// Let the command read this terminal's or pipe's standard input.
    #[arg(long)]
    stdin: bool,
    /// Processors of the machine.
    #[arg(long, default_value_t = rig::CPUS)]
    cpus: u32,
    /// Memory of the machine in MiB; taken from the host as it is used.
    #[arg(long, value_name = "MIB", default_value_t = rig::MEMORY_MIB)]
    memory: u32,
    /// End the machine after so many seconds, with exit status 124.
    #[arg(long, value_name = "SECONDS", default_value_t = rig::TIMEOUT_SECONDS)]
    timeout: u64,
    /// The command and its arguments. It starts in the current folder.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command and returns its exit status.
///
/// # Errors
/// When the rig does not work; the command's own failure is its exit status.
pub fn main(args: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    let directory = env::current_dir().context("finding the current folder")?;
    let options = Options {
        environment: args
            .env
            .into_iter()
            .filter_map(|name| env::var_os(&name).map(|value| (name, value)))
            .collect(),
        writable: args.writable,
        stdin: args.stdin,
        cpus: args.cpus,
        memory_mib: args.memory,
        timeout: Duration::from_secs(args.timeout),
        ..Options::new(directory)
    };
    rig::run(&layout, &args.command, &options).map(ExitCode::from)
}
