//! `weir ps`, `weir stop` and `weir console`: talking to a supervisor.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::up::Report;
use super::{Failure, parse_duration};
use crate::console::escape::{Escape, Keys};
use crate::console::terminal::RawTerminal;
use crate::status::{Kind, VmState, VmStatus};
use crate::supervisor::protocol::{FromSupervisor, ToSupervisor};
use crate::supervisor::state;

/// How often a machine that is to stop is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments that find the supervisor.
#[derive(Clone, Debug, Args)]
pub(super) struct Where {
    /// Folder that `weir up` was given with --state-dir
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

impl Where {
    /// The folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(state::default_folder)
    }
}

/// Arguments of `weir ps`.
#[derive(Debug, Args)]
#[command(after_help = "\
Memory and bytes are printed in MiB; --json has exact figures, and each guest process that uses an
accelerator with the process of its worker.")]
pub struct PsArgs {
    #[command(flatten)]
    place: Where,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `weir stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    #[command(flatten)]
    place: Where,
    /// Name of the machine
    name: String,
    /// End it at once, without asking the guest
    #[arg(long)]
    now: bool,
    /// How long the guest gets to power off [default: as `weir up` was told]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "now")]
    grace: Option<Duration>,
}

/// Arguments of `weir console`.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal, Ctrl-A x leaves and Ctrl-A Ctrl-A is one Ctrl-A for the guest. Input may also be piped
in; the console then stays attached until the machine ends.

Examples:
  weir console alice
  echo poweroff | weir console alice --replay")]
pub struct ConsoleArgs {
    #[command(flatten)]
    place: Where,
    /// Name of the machine
    name: String,
    /// Start with the last few kibibytes that the guest has printed
    #[arg(long)]
    replay: bool,
}

/// A connection to the supervisor.
pub(super) struct Supervisor {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Supervisor {
    pub(super) fn connect(place: &Where) -> Result<Self, Failure> {
        let folder = place.folder();
        let path = state::socket(&folder);
        let stream = UnixStream::connect(&path).map_err(|error| {
            Failure::usage_text(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                    "no `weir up` runs with its state in {}; if it was started with --state-dir, \
                     give the same here",
                    folder.display()
                ),
                _ => format!("connecting to {}: {error}", path.display()),
            })
        })?;
        let reader = stream.try_clone().map(BufReader::new);
        Ok(Self {
            reader: reader.map_err(|error| Failure::other(&error))?,
            stream,
        })
    }

    pub(super) fn ask(&mut self, request: &ToSupervisor) -> Result<FromSupervisor, Failure> {
        let answer = self
            .exchange(request)
            .map_err(|error| Failure::other(&error))?;
        match answer {
            FromSupervisor::Refused { message } => Err(Failure::usage_text(message)),
            answer => Ok(answer),
        }
    }

    fn exchange(&mut self, request: &ToSupervisor) -> io::Result<FromSupervisor> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line)?;
        let mut answer = String::new();
        if self.reader.read_line(&mut answer)? == 0 {
            return Err(io::Error::other("`weir up` ended meanwhile"));
        }
        Ok(serde_json::from_str(&answer)?)
    }

    pub(super) fn machines(&mut self) -> Result<Vec<VmStatus>, Failure> {
        match self.ask(&ToSupervisor::Ps)? {
            FromSupervisor::Machines { vms } => Ok(vms),
            _ => Err(Failure::usage_text("`weir up` is of another version")),
        }
    }
}

/// Shows all machines.
pub(super) fn ps(args: &PsArgs) -> Result<u8, Failure> {
    let vms = Supervisor::connect(&args.place)?.machines()?;
    let text = match args.json {
        true => serde_json::to_string(&Report { vms }).map_err(|error| Failure::other(&error))?,
        false => table(&vms),
    };
    println!("{}", text.trim_end());
    Ok(0)
}

/// What only machines have.
fn of_a_machine(vm: &VmStatus, text: String) -> String {
    match vm.kind {
        Kind::Vm => text,
        Kind::Local => "-".into(),
    }
}

/// The machines as a table for people.
fn table(vms: &[VmStatus]) -> String {
    let mut rows = vec![
        [
            "NAME",
            "PID",
            "STATE",
            "UPTIME",
            "CPUS",
            "MEMORY",
            "ACCELERATOR",
            "SHARE",
            "CLIENTS",
            "CALLS",
            "BATCHES",
            "IN",
            "OUT",
            "DEVMEM",
            "PEAK",
            "DEVTIME",
        ]
        .map(String::from)
        .to_vec(),
    ];
    let mib = |bytes: u64| format!("{}M", bytes >> 20);
    for vm in vms {
        let pid = vm.pid.map_or("-".into(), |pid| pid.to_string());
        let mut row = vec![
            vm.name.clone(),
            pid,
            state_name(vm),
            format!("{:.0}s", vm.uptime_seconds),
            of_a_machine(vm, vm.cpus.to_string()),
            of_a_machine(vm, mib(vm.memory)),
        ];
        for accelerator in &vm.accelerators {
            row.extend([
                accelerator.name.clone(),
                accelerator.share.to_string(),
                accelerator.clients.len().to_string(),
                accelerator.totals.calls.to_string(),
                accelerator.totals.batches.to_string(),
                mib(accelerator.totals.bytes_in),
                mib(accelerator.totals.bytes_out),
                mib(accelerator.memory),
                mib(accelerator.memory_peak),
                format!("{:.3}s", accelerator.totals.device_time_ns as f64 / 1e9),
            ]);
            rows.push(std::mem::replace(&mut row, vec![String::new(); 6]));
        }
        if vm.accelerators.is_empty() {
            rows.push(row);
        }
    }
    align(&rows)
}

fn state_name(vm: &VmStatus) -> String {
    match (vm.state, vm.exit_status) {
        (VmState::Starting, _) => "starting".into(),
        (VmState::Running, _) => "running".into(),
        (VmState::Stopping, _) => "stopping".into(),
        (VmState::Ended, status) => format!("ended ({})", status.unwrap_or(0)),
    }
}

fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Powers a machine off and waits for it.
pub(super) fn stop(args: &StopArgs) -> Result<u8, Failure> {
    let mut supervisor = Supervisor::connect(&args.place)?;
    supervisor.ask(&ToSupervisor::Stop {
        name: args.name.clone(),
        now: args.now,
        grace_ms: args.grace.map(|grace| grace.as_millis() as u64),
    })?;
    let begin = Instant::now();
    let mut told = false;
    loop {
        // A supervisor whose last machine ends is gone at once, and with it the connection.
        let machine = match supervisor.machines() {
            Ok(vms) => vms.into_iter().find(|vm| vm.name == args.name),
            Err(_) => None,
        };
        match machine {
            Some(machine) if machine.state != VmState::Ended => {}
            Some(machine) => {
                let why = machine.message.unwrap_or_default();
                eprintln!("{}: {why}", args.name);
                return Ok(0);
            }
            None => return Ok(0),
        }
        if !told && begin.elapsed() > Duration::from_secs(1) {
            eprintln!("{}: waiting for the guest to power off", args.name);
            told = true;
        }
        thread::sleep(LOOK);
    }
}

/// Attaches this terminal to a machine's console.
pub(super) fn console(args: &ConsoleArgs) -> Result<u8, Failure> {
    let mut supervisor = Supervisor::connect(&args.place)?;
    supervisor.ask(&ToSupervisor::Console {
        name: args.name.clone(),
        replay: args.replay,
    })?;
    let failed = |error: io::Error| Failure::other(&error);
    let terminal = RawTerminal::enter(io::stdin()).map_err(failed)?;
    let to_guest = supervisor.stream.try_clone().map_err(failed)?;
    let typed = terminal.is_some();
    // Not joined: it may wait for a key that never comes.
    thread::spawn(move || type_in(to_guest, typed));
    let mut output = io::stdout().lock();
    let mut bytes = [0; 4096];
    loop {
        match supervisor.reader.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(len) => {
                output.write_all(&bytes[..len]).map_err(failed)?;
                output.flush().map_err(failed)?;
            }
        }
    }
    drop(terminal);
    Ok(0)
}

/// Passes standard input on. Its end leaves the console attached; Ctrl-A x closes it.
fn type_in(mut guest: UnixStream, typed: bool) {
    let mut input = io::stdin().lock();
    let mut escape = Escape::default();
    let mut bytes = [0; 256];
    loop {
        let len = match input.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(len) => len,
        };
        let mut keys = Vec::new();
        for byte in &bytes[..len] {
            match if typed {
                escape.feed(*byte)
            } else {
                Keys::One(*byte)
            } {
                Keys::End => {
                    let _ = guest.shutdown(Shutdown::Both);
                    return;
                }
                key => keys.extend(key.bytes()),
            }
        }
        if guest.write_all(&keys).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_devices::accel::{AccelStats, Traffic};

    #[test]
    fn the_table_has_a_line_for_each_accelerator() {
        let accelerator = |name: &str| AccelStats {
            name: name.into(),
            share: 3,
            memory: 5 << 20,
            totals: Traffic {
                calls: 1000,
                device_time_ns: 1_500_000_000,
                ..Default::default()
            },
            ..Default::default()
        };
        let vm = |name: &str, accelerators| VmStatus {
            kind: Kind::Vm,
            name: name.into(),
            pid: Some(42),
            state: VmState::Running,
            uptime_seconds: 61.2,
            cpus: 2,
            memory: 1 << 30,
            restarts: 0,
            exit_status: None,
            message: None,
            console: None,
            accelerators,
        };
        let text = table(&[
            vm("alice", vec![accelerator("a"), accelerator("b")]),
            vm("bob", vec![]),
        ]);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0][..2], ["NAME", "PID"]);
        assert_eq!(
            lines[1][..6],
            ["alice", "42", "running", "61s", "2", "1024M"]
        );
        assert_eq!(
            lines[1][6..],
            ["a", "3", "0", "1000", "0", "0M", "0M", "5M", "0M", "1.500s"]
        );
        assert_eq!(lines[2][0], "b");
        assert_eq!(lines[3], ["bob", "42", "running", "61s", "2", "1024M"]);
    }
}
