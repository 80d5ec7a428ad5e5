//! `weir up`.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::{Failure, parse_duration};
use crate::accelerators;
use crate::arbiter::Arbiters;
use crate::config::Config;
use crate::doctor;
use crate::kvm::vm;
use crate::sandbox::Level;
use crate::signals::EndSignals;
use crate::status::VmStatus;
use crate::supervisor::control::{Control, Fleet};
use crate::supervisor::grants::Grants;
use crate::supervisor::machines::{Launch, Machine, Member, News};
use crate::supervisor::state;
use crate::watch::endpoint::Endpoint;
use crate::watch::sample::Sample;

/// How much longer than its grace period a machine's process may take to end.
const KILL_AFTER: Duration = Duration::from_secs(5);

/// Arguments of `weir up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Stays in the foreground until all machines have ended; with local tenants ([tenant.NAME], for `weir
exec`), until Ctrl-C. Ctrl-C or SIGTERM powers machines off and ends tenants; a second
one ends them at once. Consoles are written to NAME.console.log in the state folder.

Examples:
  weir up demo.toml
  weir up demo.toml --json > report.json   the final figures, as one line of JSON")]
pub struct UpArgs {
    /// The configuration
    #[arg(value_name = "FILE")]
    config: PathBuf,
    /// Folder for the control socket and the consoles
    /// [default: /run/weir for root, else $XDG_RUNTIME_DIR/weir]
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// How long a guest gets to power off when it is told to
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    grace: Duration,
    /// How far each machine's process is shut in
    #[arg(long, value_enum, default_value_t)]
    sandbox: Level,
    /// Show what the guests print, line by line behind their names
    #[arg(long)]
    consoles: bool,
    /// Print the final figures of all machines as one line of JSON
    #[arg(long)]
    json: bool,
}

/// What `weir up --json` and `weir ps --json` print.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// All machines, in the order of the configuration.
    pub(super) vms: Vec<VmStatus>,
}

/// Runs all machines of a configuration; answers the exit status.
pub(super) fn up(args: UpArgs) -> Result<u8, Failure> {
    let config = Config::load(&args.config).map_err(|error| Failure::usage(&error))?;
    let memory = doctor::limits::host_memory().map_err(|error| Failure::other(&error))?;
    config
        .check_memory(memory)
        .map_err(|error| Failure::usage(&error))?;
    let devices = accelerators::check(&config).map_err(|error| Failure::usage(&error))?;
    if !config.vms.is_empty() {
        vm::open().map_err(|error| Failure::usage(&error))?;
    }
    let folder = args.state_dir.unwrap_or_else(state::default_folder);
    let listen = |address| {
        TcpListener::bind(address).map_err(|error| {
            Failure::usage_text(format!("`metrics`: listening at {address}: {error}"))
        })
    };
    let metrics = config.metrics.map(listen).transpose()?;
    let listener = state::claim(&folder).map_err(|error| Failure::usage(&error))?;

    let failed = |error: io::Error| Failure::other(&error);
    let signals = EndSignals::collect().map_err(failed)?;
    let ended = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(failed)?;
    let launch = Launch {
        config: args.config,
        folder: folder.clone(),
        grace: args.grace,
        consoles: args.consoles,
        sandbox: args.sandbox,
    };
    let grants = config.grants().map(|(_, grant)| grant);
    let arbiters = Arbiters::start(grants).map_err(failed)?;
    let mut machines: Vec<Arc<Machine>> = Vec::new();
    let members = config.vms.iter().map(Member::from);
    for member in members.chain(config.tenants.iter().map(Member::from)) {
        let wake = ended.try_clone().map_err(failed)?;
        let tell = move |name: &str, news: News<'_>| {
            match news {
                News::Happened(line) => eprintln!("{name}: {line}"),
                News::Printed(line) => eprintln!("{name}| {line}"),
            }
            let _ = wake.write(1);
        };
        let granted = config.grants().filter(|(name, _)| *name == member.name());
        let granted: Vec<_> = granted.map(|(_, grant)| grant.clone()).collect();
        let started = arbiters
            .join(member.name(), &granted)
            .and_then(|places| Machine::start(member, places, &launch, tell));
        let machine = started.map_err(|error| {
            end_all(&machines);
            failed(error)
        })?;
        let console = match machine.is_vm() {
            true => format!(", console in {}", machine.console_log().display()),
            false => String::new(),
        };
        let (name, pid) = (machine.name(), machine.pid());
        eprintln!("{name}: started as process {pid}{console}");
        machines.push(machine);
    }
    let fleet = Arc::new(Fleet {
        machines: machines.into(),
        grants: Grants::new(&config, devices),
    });
    let machines = &fleet.machines;
    let control = Control::start(listener, fleet.clone()).map_err(|error| {
        end_all(machines);
        failed(error)
    })?;

    let figures = fleet.clone();
    let figures = move || Sample::new(&Machine::statuses(&figures.machines));
    let endpoint = metrics
        .map(|listener| Endpoint::start(listener, figures))
        .transpose()
        .map_err(|error| {
            end_all(machines);
            failed(error)
        })?;

    wait(machines, &signals, &ended, args.grace);
    drop(endpoint);
    drop(control);
    let _ = std::fs::remove_file(state::socket(&folder));
    machines.iter().for_each(|machine| machine.join());
    drop(arbiters);
    let vms: Vec<VmStatus> = Machine::statuses(machines);
    let status = vms
        .iter()
        .filter_map(|vm| vm.exit_status)
        .find(|status| *status != 0);
    if args.json {
        let report =
            serde_json::to_string(&Report { vms }).map_err(|error| failed(error.into()))?;
        println!("{report}");
    }
    Ok(status.map_or(0, |status| u8::try_from(status).unwrap_or(1)))
}

/// Waits until all machines have ended, and has them end when a signal asks for it.
fn wait(machines: &[Arc<Machine>], signals: &EndSignals, ended: &EventFd, grace: Duration) {
    let mut kill_at: Option<Instant> = None;
    while machines.iter().any(|machine| !machine.ended()) {
        let time = kill_at.map_or(Duration::from_secs(1), |at| {
            at.saturating_duration_since(Instant::now())
                .min(Duration::from_secs(1))
        });
        sleep_until_event(signals, ended, time);
        let _ = ended.read();
        while signals.take() {
            let now = kill_at.is_some();
            eprintln!(
                "weir: {} all machines",
                if now { "ending" } else { "powering off" }
            );
            machines.iter().for_each(|machine| machine.stop(now, None));
            let patience = if now { Duration::ZERO } else { grace };
            kill_at = Some(Instant::now() + patience + KILL_AFTER);
        }
        if kill_at.is_some_and(|at| Instant::now() >= at) {
            machines.iter().for_each(|machine| machine.kill());
        }
    }
}

/// Sleeps until a signal, news of a machine, or the end of `time`.
fn sleep_until_event(signals: &EndSignals, ended: &EventFd, time: Duration) {
    // SAFETY: the descriptor is open as long as `ended`, which outlives this borrow.
    let ended = unsafe { BorrowedFd::borrow_raw(ended.as_raw_fd()) };
    let mut fds = [
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(ended, PollFlags::IN),
    ];
    let time = Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    // An interrupted or failed wait only makes the caller look once more.
    let _ = poll(&mut fds, Some(&time));
}

/// Ends all machines after the start of another has failed.
fn end_all(machines: &[Arc<Machine>]) {
    for machine in machines {
        machine.stop(true, None);
        if !machine.wait(KILL_AFTER) {
            machine.kill();
        }
        machine.join();
    }
}
