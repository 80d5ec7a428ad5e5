//! The host's memory, limits, and means to confine a process.

use std::io;

use rustix::process::{Resource, getrlimit};

use super::Finding;

/// Descriptors that a machine with a few accelerator clients needs.
const FILES_WANTED: u64 = 4096;
/// Memory below which hardly a machine starts.
const MEMORY_WANTED: u64 = 1 << 30;

/// Looks at all of it.
pub(super) fn examine() -> Vec<Finding> {
    vec![landlock(), seccomp(), files(), memlock(), free_memory()]
}

/// Bytes of memory that this host has.
pub fn host_memory() -> io::Result<u64> {
    meminfo("MemTotal")
}

fn meminfo(key: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    parse_meminfo(&text, key)
        .ok_or_else(|| io::Error::other(format!("/proc/meminfo does not tell {key}")))
}

fn parse_meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn landlock() -> Finding {
    const VERSION: libc::c_long = 1;
    // SAFETY: with this flag the call takes no attributes and only answers a version.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0usize,
            VERSION,
        )
    };
    match abi {
        1.. => Finding::good("sandbox", format!("Landlock is there (ABI {abi})")),
        _ => Finding::warning(
            "sandbox",
            format!("no Landlock: {}", io::Error::last_os_error()),
            "workers fall back on seccomp and namespaces; boot with `lsm=landlock,...`, or use \
             Linux 5.13 or later",
        ),
    }
}

fn seccomp() -> Finding {
    match std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions)
            if actions
                .split_whitespace()
                .any(|action| action == "kill_process") =>
        {
            Finding::good("sandbox", "seccomp filters are there")
        }
        _ => Finding::warning(
            "sandbox",
            "seccomp filters cannot be seen",
            "use a kernel with CONFIG_SECCOMP_FILTER, and mount /proc",
        ),
    }
}

fn files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    // A process may raise its soft limit up to the hard one.
    match limit.maximum {
        Some(most) if most < FILES_WANTED => Finding::warning(
            "limits",
            format!("a process may open {most} files"),
            format!("raise it to {FILES_WANTED}: `ulimit -Hn`, or LimitNOFILE= in the unit"),
        ),
        most => Finding::good(
            "limits",
            format!("a process may open {} files", number(most)),
        ),
    }
}

fn memlock() -> Finding {
    let limit = getrlimit(Resource::Memlock).current;
    let size = limit.map(|bytes| bytes >> 20);
    let text = format!("a process may lock {} MiB of memory", number(size));
    // Nothing here locks memory; some vendors' libraries do.
    Finding::good("limits", text)
}

fn number(limit: Option<u64>) -> String {
    limit.map_or("unlimited".into(), |limit| limit.to_string())
}

fn free_memory() -> Finding {
    match meminfo("MemAvailable") {
        Ok(bytes) if bytes < MEMORY_WANTED => Finding::warning(
            "memory",
            format!("{} MiB are free", bytes >> 20),
            "machines need at least 128 MiB each, and the device's library its own",
        ),
        Ok(bytes) => Finding::good("memory", format!("{} MiB are free", bytes >> 20)),
        Err(error) => Finding::warning(
            "memory",
            format!("free memory cannot be told: {error}"),
            "mount /proc",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(parse_meminfo(text, "MemAvailable"), Some(1 << 20));
        assert_eq!(parse_meminfo(text, "Mem"), None);
        assert!(host_memory().unwrap() > MEMORY_WANTED / 2);
    }
}
