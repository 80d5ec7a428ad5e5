//! How much of the host the worker may use.

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{SandboxError, step};

/// Most bytes of one file in the cache.
const FILE: u64 = 1 << 30;
/// Most open files.
const FILES: u64 = 4096;
/// Threads and processes beside those that the library has per processor.
const PROCESSES: u64 = 128;
/// The same for each processor: vendors' libraries have one to four threads for each.
const PROCESSES_PER_CPU: u64 = 8;

/// Limits this process, and each that it starts, to `memory` bytes of its own memory.
pub(super) fn set(memory: Option<u64>) -> Result<(), SandboxError> {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let limits = [
        (Resource::Core, Some(0)),
        (Resource::Fsize, Some(FILE)),
        (Resource::Nofile, Some(FILES)),
        (Resource::Nproc, Some(PROCESSES + PROCESSES_PER_CPU * cpus)),
        (Resource::Data, memory),
        (Resource::Msgqueue, Some(0)),
        (Resource::Rtprio, Some(0)),
        (Resource::Nice, Some(0)),
    ];
    for (resource, value) in limits {
        let Some(value) = value else { continue };
        let now = rustix::process::getrlimit(resource);
        // What is lower already stays so.
        let value = now.maximum.map_or(value, |maximum| maximum.min(value));
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        step("limiting resources", setrlimit(resource, limit))?;
    }
    Ok(())
}

/// Has the kernel end this process, rather than others, when the host's memory is used up.
pub(super) fn die_first() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        log::debug!("offering this process when memory is short: {error}");
    }
}
