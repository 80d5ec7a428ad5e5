//! The command line.

mod client;
mod exec;
mod mediate;
mod record;
mod run;
mod set;
mod top;
mod up;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::units;
use crate::doctor;
use crate::end::{STATUS_FAILED, STATUS_USAGE};

const AFTER_HELP: &str = "\
Examples:
  weir doctor                       what this host can do, and what to do about the rest
  weir run --kernel vmlinuz --initrd initrd.img --disk debian.img --memory 1GiB
  weir up demo.toml                 start all machines of a configuration
  weir exec -- clinfo               a program of this host, through Weir
  weir ps                           who uses how much of the accelerators
  weir top                          the same, live
  weir set alice share=5            change a share while it runs
  weir record run.jsonl --for 30s   and then: weir plot run.jsonl -o run.html
  weir console alice                a terminal on a running machine (Ctrl-A x leaves it)
  weir stop alice                   power a machine off

Exit status of `weir run`; `weir up` passes on the first that is not 0:
  0  the guest powered off, or was ended at its console
  1  Weir or the host failed
  2  wrong command line or configuration, an unusable file, or a host without KVM
  3  the guest's kernel panicked
  4  the guest's processor shut down (triple fault)
  5  the guest was told to power off, did not in time, and was ended

Set WEIR_LOG to error, warn, info, debug or trace for more or fewer messages.";

/// A hypervisor for Linux guests that share accelerators.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_help = AFTER_HELP)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one machine with its console on this terminal
    Run(run::RunArgs),
    /// Run all machines of a configuration, one process each
    Up(up::UpArgs),
    /// Run a program of this host with an accelerator, without a machine
    Exec(exec::ExecArgs),
    /// Serve the programs of a local tenant, for `weir up`
    #[command(hide = true)]
    Mediate(mediate::MediateArgs),
    /// Show running machines and their use of accelerators
    Ps(client::PsArgs),
    /// Change what a tenant may use of an accelerator, while it runs
    Set(set::SetArgs),
    /// Watch who uses how much of the accelerators, and change shares
    Top(top::TopArgs),
    /// Record who uses how much of the accelerators
    Record(record::RecordArgs),
    /// Draw a recording, as a picture or a page
    Plot(record::PlotArgs),
    /// Power a running machine off and wait for it
    Stop(client::StopArgs),
    /// Attach this terminal to a running machine's console
    Console(client::ConsoleArgs),
    /// Tell what this host can do, and what to do about the rest
    Doctor(doctor::DoctorArgs),
}

/// An error on its way to the user, with the exit status that it means.
#[derive(Debug)]
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// Wrong input.
    fn usage(error: &dyn Error) -> Self {
        Self {
            status: STATUS_USAGE,
            message: chain(error),
        }
    }

    /// Something else.
    fn other(error: &dyn Error) -> Self {
        Self {
            status: STATUS_FAILED,
            message: chain(error),
        }
    }

    /// Wrong input, in own words.
    fn usage_text(message: impl Into<String>) -> Self {
        Self {
            status: STATUS_USAGE,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// `error` and all that caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Runs the program.
pub fn main() -> ExitCode {
    let environment = env_logger::Env::new().filter_or("WEIR_LOG", "warn");
    env_logger::Builder::from_env(environment)
        .format_timestamp(None)
        .init();
    let result = match Args::parse().command {
        Command::Run(args) => run::run(args),
        Command::Up(args) => up::up(args),
        Command::Exec(args) => exec::exec(args),
        Command::Mediate(args) => mediate::mediate(args),
        Command::Ps(args) => client::ps(&args),
        Command::Set(args) => set::set(&args),
        Command::Top(args) => top::top(&args),
        Command::Record(args) => record::record(&args),
        Command::Plot(args) => record::plot(&args),
        Command::Stop(args) => client::stop(&args),
        Command::Console(args) => client::console(&args),
        Command::Doctor(args) => Ok(doctor::doctor(&args)),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("weir: {failure}");
            ExitCode::from(failure.status)
        }
    }
}

/// A time on the command line.
fn parse_duration(text: &str) -> Result<Duration, String> {
    units::duration(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_chain_of_errors_is_one_line() {
        let inner = std::io::Error::other("inner");
        let outer = crate::memory::MemoryError::File {
            size: 4096,
            source: inner,
        };
        assert_eq!(
            chain(&outer),
            "making a memory file of 4096 bytes for the guest: inner"
        );
    }
}
