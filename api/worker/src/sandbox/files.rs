//! What the worker sees of the file system.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::{SandboxError, step};

/// Libraries, programs and descriptions of the machine, for reading and starting.
const READ: &[&str] = &[
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/sbin",
    "/usr",
    "/etc/OpenCL",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/vm",
    "/proc/version",
    "/sys/bus/pci",
    "/sys/class/drm",
    "/sys/class/kfd",
    "/sys/dev/char",
    "/sys/devices",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
    "/sys/module",
];

/// Devices, for reading, writing and control.
const DEVICES: &[&str] = &[
    "/dev/dri",
    "/dev/full",
    "/dev/kfd",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// Beginning of the names of devices under `/dev`, of which there may be any number.
const DEVICE_PREFIX: &str = "nvidia";

/// The newest Landlock that is made use of. On an older kernel there is as much as it has.
const NEWEST: ABI = ABI::V6;

/// Restricts this process to reading the paths above and `read`, and writing `cache`. Returns
/// whether the kernel does so: all that the first version of Landlock can, at the least.
pub(super) fn restrict(cache: &Path, read: &[PathBuf]) -> Result<bool, SandboxError> {
    let reading = AccessFs::from_read(NEWEST);
    let using = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    // Files and directories only: no devices, sockets or pipes.
    let writing = reading
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rule(PathBeneath::new(
            step("opening the cache directory", std::fs::File::open(cache))?,
            writing,
        ))?;
    let readable = READ.iter().map(Path::new);
    for path in readable.chain(read.iter().map(PathBuf::as_path)) {
        rules = allow(rules, path, reading)?;
    }
    let nvidia = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let nvidia = nvidia.filter(|e| e.file_name().to_string_lossy().starts_with(DEVICE_PREFIX));
    let devices = DEVICES.iter().map(PathBuf::from);
    for path in devices.chain(nvidia.map(|entry| entry.path())) {
        rules = allow(rules, &path, using)?;
    }
    let status = rules.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Allows `access` under `path`, if there is such a path; for a file, as much of it as makes sense.
fn allow(
    rules: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(opened) => {
            let access = match path.is_dir() {
                true => access,
                false => access & AccessFs::from_file(NEWEST),
            };
            rules.add_rule(PathBeneath::new(opened, access))
        }
        Err(_) => Ok(rules), // not there: nothing to allow
    }
}
