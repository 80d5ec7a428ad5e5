//! The sandboxed process that runs one client's calls on the vendor library.
//!
//! It shuts itself in, loads the vendor library (which is what takes time, so the VMM keeps a few
//! workers ready), waits on its socket for a client's arena and channel, and then serves that client
//! until the socket closes.

mod dispatch;
mod hello;
mod probe;
mod sandbox;
mod spawner;

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use crate::sandbox::Sandbox;

/// Runs one client's accelerator calls on the host's own library. Started by weir, not by hand.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Serve the client that is handed over on this socket (a descriptor number)
    #[arg(long, value_name = "FD", required_unless_present_any = ["probe", "probe_all", "check_sandbox", "spawner"])]
    socket: Option<RawFd>,
    /// Start workers, with the other arguments, as asked on this socket (a descriptor number)
    #[arg(long, value_name = "FD", conflicts_with = "socket")]
    spawner: Option<RawFd>,
    /// Directory that may be written, for the vendor library's own caches
    #[arg(long, value_name = "DIR", required_unless_present_any = ["probe", "probe_all", "check_sandbox"])]
    cache: Option<PathBuf>,
    /// Print what one device is, as JSON, and exit
    #[arg(long)]
    probe: bool,
    /// Print all platforms and devices, as JSON, and exit
    #[arg(long)]
    probe_all: bool,
    /// Print what the sandbox refuses, as JSON, and exit
    #[arg(long)]
    check_sandbox: bool,
    /// API to probe
    #[arg(long, default_value = "opencl")]
    api: String,
    /// Substring of the platform's name to probe
    #[arg(long, default_value = "")]
    platform: String,
    /// Index of the device to probe
    #[arg(long, default_value_t = 0)]
    device: usize,
    /// What to do where the kernel cannot shut the worker in completely
    #[arg(long, value_enum, default_value = "strict")]
    sandbox: Strictness,
    /// One more path that the vendor library may read
    #[arg(long, value_name = "PATH")]
    read: Vec<PathBuf>,
    /// Most bytes of host memory that it may allocate
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// Folder of a control group (version 2) to join
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
}

/// What to do where the kernel cannot shut the worker in completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strictness {
    /// Refuse to start.
    Strict,
    /// Go on with what there is.
    BestEffort,
}

fn main() -> ExitCode {
    if let Err(error) = sandbox::environment::clean() {
        eprintln!("weir-worker: starting anew with a clean environment: {error}");
        return ExitCode::FAILURE;
    }
    let environment = env_logger::Env::new().filter_or("WEIR_LOG", "warn");
    env_logger::Builder::from_env(environment)
        .format_timestamp(None)
        .init();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Some(cache) = &arguments.cache else {
        return probe::with_temporary_cache();
    };
    let sandbox = Sandbox {
        cache: cache.clone(),
        read: arguments.read.clone(),
        strict: arguments.sandbox == Strictness::Strict,
        keep: arguments.socket,
        memory: arguments.memory,
        cgroup: arguments.cgroup.clone(),
    };
    if arguments.probe || arguments.probe_all {
        sandbox.enter()?;
        probe::print(arguments.probe.then_some(probe::Wanted {
            api: &arguments.api,
            platform: &arguments.platform,
            device: arguments.device,
        }));
        return Ok(());
    }
    if arguments.check_sandbox {
        let namespaces = sandbox.enter()?;
        println!("{}", sandbox::check::attempts(namespaces));
        return Ok(());
    }
    if let Some(socket) = arguments.spawner {
        return spawner::serve(&take(socket)?, &for_workers());
    }
    let socket = take(arguments.socket.context("a worker needs a socket")?)?;
    let served = sandbox
        .enter()
        .map_err(anyhow::Error::from)
        .and_then(|_| hello::serve(&socket));
    if let Err(error) = &served {
        // The VMM shows this to the user; that it is gone already is no further harm.
        let _ = hello::say(borrowed(&socket), &hello::Said::Error(format!("{error:#}")));
    }
    served
}

/// The descriptor that whoever started this process left open for it.
fn take(socket: RawFd) -> anyhow::Result<OwnedFd> {
    // SAFETY: fcntl on a number that is no descriptor fails, and does nothing else.
    let is_open = unsafe { libc::fcntl(socket, libc::F_GETFD) } >= 0;
    anyhow::ensure!(is_open, "there is no descriptor {socket}");
    // SAFETY: the descriptor is open, and whoever started this process left it to us.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // Compilers and linkers that the vendor library starts are to know nothing of it.
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).context("keeping the socket")?;
    Ok(socket)
}

/// A spawner's own arguments, less what makes it a spawner.
fn for_workers() -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(at) = arguments
        .iter()
        .position(|argument| argument == "--spawner")
    {
        arguments.drain(at..(at + 2).min(arguments.len()));
    }
    arguments
}

fn borrowed(socket: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(socket)
}
