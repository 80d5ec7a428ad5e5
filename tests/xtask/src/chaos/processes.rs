//! The processes of a running system, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `weir up`.
    Supervisor,
    /// `weir mediate`.
    Mediator,
    /// Starts workers.
    Spawner,
    /// A worker, or the process that waits for it.
    Worker,
    /// A tenant's program.
    Program,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Supervisor,
        Self::Mediator,
        Self::Spawner,
        Self::Worker,
        Self::Program,
    ];
}

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Whose it is.
    pub tenant: Option<String>,
}

/// Command line of a process, as words; empty for one that is gone.
fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Numbers of processes whose command line has `text`: those that are left of a system whose folder
/// it is.
pub fn naming(text: &str) -> Vec<(u32, String)> {
    let found = all().into_iter().map(|pid| (pid, words(pid).join(" ")));
    found
        .filter(|(pid, line)| line.contains(text) && *pid != std::process::id())
        .collect()
}

/// The processes of `kind` below `supervisor`; for programs, those that this process started.
pub fn of_kind(supervisor: u32, kind: Kind) -> Vec<Process> {
    if kind == Kind::Supervisor {
        return vec![Process {
            pid: supervisor,
            tenant: None,
        }];
    }
    let parents: HashMap<u32, u32> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let top = match kind {
        Kind::Program => std::process::id(),
        _ => supervisor,
    };
    let mut found = Vec::new();
    for pid in parents.keys() {
        let mut tenant = None;
        let mut above = *pid;
        while above != top && above > 1 {
            tenant = tenant.or_else(|| tenant_of(&words(above)));
            above = parents.get(&above).copied().unwrap_or(0);
        }
        if above == top && kind_of(&words(*pid)) == Some(kind) {
            found.push(Process { pid: *pid, tenant });
        }
    }
    found.sort_by_key(|process| process.pid);
    found
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')')
        .next()?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn tenant_of(words: &[String]) -> Option<String> {
    let at = words.iter().position(|word| word == "--tenant")?;
    words.get(at + 1).cloned()
}

fn kind_of(words: &[String]) -> Option<Kind> {
    let name = Path::new(words.first()?).file_name()?.to_str()?;
    let has = |word: &str| words.iter().any(|each| each == word);
    match name {
        "weir" if has("mediate") => Some(Kind::Mediator),
        "weir-worker" if has("--spawner") => Some(Kind::Spawner),
        "weir-worker" if has("--socket") => Some(Kind::Worker),
        "chaos-heartbeat" => Some(Kind::Program),
        _ => None,
    }
}

/// Kills a process.
pub fn kill(pid: u32) -> Result<()> {
    let pid = Pid::from_raw(pid as i32).context("a process number")?;
    match rustix::process::kill_process(pid, Signal::KILL) {
        // It may have ended by itself.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("killing a process"),
    }
}

/// How many memory files of clients a process has open or mapped.
pub fn memory_files(pid: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let open = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    // The arbiter's two pages belong to the tenant, not to a client.
    let is_the_arbiters = |name: &str| name.contains("weir-grants") || name.contains("weir-usage");
    let is_ours = |name: &str| name.contains("memfd:weir-") && !is_the_arbiters(name);
    let open = open
        .filter(|target| is_ours(&target.to_string_lossy()))
        .count();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    open + maps.lines().filter(|line| is_ours(line)).count()
}

/// Kills the test program that `exec`, a `weir exec`, runs.
pub fn kill_programs_below(exec: u32) {
    let below = all().into_iter().filter(|pid| parent(*pid) == Some(exec));
    for pid in below.filter(|pid| kind_of(&words(*pid)) == Some(Kind::Program)) {
        let _ = kill(pid);
    }
}
