//! The rig: a machine with a real KVM, on any x86-64 host, with or without a KVM of its own.
//!
//! QEMU emulates a processor with AMD-V and nested paging; on it runs a stock Debian kernel on the
//! host's own files, below a layer in memory that takes all writes and forgets them. Only the working
//! tree's `target/`, and folders named by the caller, keep what is written. A command runs there as on the
//! host, about ten times slower: its output comes out as it is written, and its exit status is
//! returned.

mod children;
mod initramfs;
mod machine;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use crate::kernels::{Kernel, Series};
use crate::layout::Layout;
use crate::packages::{Apt, system};
use crate::process;
use crate::progress;
use crate::tools::Tools;

/// Exit status of a command that ran out of time, as `timeout(1)` has it.
pub const TIMED_OUT: u8 = 124;

/// The machine's processors, unless said otherwise.
pub const CPUS: u32 = 2;
/// The machine's memory in MiB, unless said otherwise.
pub const MEMORY_MIB: u32 = 8192;
/// How long a command may run, unless said otherwise.
pub const TIMEOUT_SECONDS: u64 = 3600;

/// How a command runs in the rig.
pub struct Options {
    /// Where it starts; an absolute path on the host.
    pub directory: PathBuf,
    /// Variables set for it beside `PATH`, `HOME`, `USER`, `LANG`, `TERM` and `WEIR_RIG`.
    pub environment: Vec<(OsString, OsString)>,
    /// Folders beside the working tree's `target/` whose changes stay.
    pub writable: Vec<PathBuf>,
    /// Whether it reads this process's standard input, else it finds it empty.
    pub stdin: bool,
    /// The machine's processors.
    pub cpus: u32,
    /// The machine's memory in MiB; taken from the host only as far as it is used.
    pub memory_mib: u32,
    /// After this long the machine is ended and the status is [`TIMED_OUT`].
    pub timeout: Duration,
}

impl Options {
    /// The defaults, starting in `directory`.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            environment: Vec::new(),
            writable: Vec::new(),
            stdin: false,
            cpus: CPUS,
            memory_mib: MEMORY_MIB,
            timeout: Duration::from_secs(TIMEOUT_SECONDS),
        }
    }
}

/// Runs `command` (a program and its arguments) in a rig of its own and returns its exit status; 128
/// and the signal's number if a signal ended it. What the rig needs is fetched first if missing.
///
/// The machine ends with this process, however that ends. It must not outlive the calling thread
/// either, so this returns only when it has ended.
///
/// # Errors
/// When the machine cannot be prepared or started, or ends before the command does.
pub fn run(layout: &Layout, command: &[OsString], options: &Options) -> Result<u8> {
    let (tools, kernel) = prepare(layout)?;
    let log = console_log(layout)?;
    let initrd = log.with_extension("initrd");
    let sink = io::BufWriter::new(
        File::create(&initrd).with_context(|| format!("creating {}", initrd.display()))?,
    );
    let started = Instant::now();
    initramfs::write(sink, layout, &kernel, command, options)
        .context("building the rig's initramfs")?;
    progress::step(format_args!(
        "starting the rig: {} emulated processors with AMD-V, kernel {}",
        options.cpus,
        kernel.release()
    ));
    let outcome = machine::start(&tools, &kernel, &initrd, &log, options)
        .and_then(|machine| attend(machine, options, started));
    let _ = fs::remove_file(&initrd);
    match outcome {
        Ok(status) => {
            if status == TIMED_OUT {
                progress::detail(format_args!("its console: {}", log.display()));
            } else {
                let _ = fs::remove_file(&log);
            }
            Ok(status)
        }
        Err(error) => {
            let console = fs::read_to_string(&log).unwrap_or_default();
            Err(error.context(format!(
                "the rig failed; the end of its console, {}, is:\n{}",
                log.display(),
                process::last_lines(&console, 15)
            )))
        }
    }
}

/// Fetches what the rig needs unless it is there.
///
/// # Errors
/// When that fails.
pub fn prepare(layout: &Layout) -> Result<(Tools, Kernel)> {
    let _lock = layout.lock()?;
    system::ensure()?;
    let apt = Apt::open(layout)?;
    Ok((
        Tools::prepare(layout, &apt)?,
        Kernel::prepare(layout, &apt, Series::V6_12)?,
    ))
}

/// Carries the machine's output until the command has ended or its time is up.
fn attend(machine: machine::Machine, options: &Options, started: Instant) -> Result<u8> {
    let machine::Machine {
        children,
        control,
        out,
        err,
        input,
    } = machine;
    let out = thread::spawn(move || relay(out, io::stdout()));
    let err = thread::spawn(move || relay(err, io::stderr()));
    if options.stdin {
        // Not joined: it may wait for input that never comes. Its end is said by half a shutdown, since
        // QEMU drops what it has not read yet when the socket closes.
        thread::spawn(move || {
            relay(io::stdin(), &input);
            let _ = input.shutdown(Shutdown::Write);
            thread::park();
        });
    }
    let (report, reports) = mpsc::channel();
    thread::spawn(move || {
        let mut status = String::new();
        // An error reads like the end: the machine has gone.
        let _ = BufReader::new(control).read_line(&mut status);
        let _ = report.send(status);
    });
    let left = options.timeout.saturating_sub(started.elapsed());
    let report = reports.recv_timeout(left);
    // The command's output is out by the time its status is, and nothing is left to be saved.
    drop(children);
    let _ = out.join();
    let _ = err.join();
    match report {
        Ok(status) => match status.trim().parse() {
            Ok(status) => Ok(status),
            Err(_) => bail!("it ended before the command did"),
        },
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            progress::step(format_args!(
                "the rig's time of {} s is up; it was ended",
                options.timeout.as_secs()
            ));
            Ok(TIMED_OUT)
        }
    }
}

/// Copies as it comes, without waiting for buffers to fill.
fn relay(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to
            .write_all(&buffer[..length])
            .and_then(|()| to.flush())
            .is_err()
        {
            break;
        }
    }
}

/// A new file for the machine's console; those of rigs of days gone by are removed.
fn console_log(layout: &Layout) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = layout.rigs();
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for entry in fs::read_dir(&folder)?.filter_map(Result::ok) {
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
        if age.is_ok_and(|age| age > Duration::from_secs(24 * 3600)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(folder.join(format!("{}-{number}.log", std::process::id())))
}
