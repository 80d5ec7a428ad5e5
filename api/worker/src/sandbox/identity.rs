//! Whom the worker runs as.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use rustix::thread::UnshareFlags;

use super::{SandboxError, done, namespaces, step};

/// The lowest of the user numbers that workers get. There are as many as 24 bits tell apart.
const FIRST_USER: u32 = 0x7100_0000;

/// The user that workers with this cache run as, where root starts them: one per tenant, as the
/// cache is, and nobody's but theirs.
pub(super) fn user_of(cache: &Path) -> u32 {
    let bytes = cache.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    FIRST_USER + ((hash >> 20) as u32 & 0x00ff_ffff)
}

/// Gives `folder` and all in it to `user`, unless that has been done.
pub(super) fn give(folder: &Path, user: u32) -> io::Result<()> {
    if fs::metadata(folder)?.uid() == user {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match fs::symlink_metadata(&path)?.is_dir() {
            true => give(&path, user)?,
            false => lchown(&path, Some(user), Some(user))?,
        }
    }
    // Last, so that one that was interrupted is done again.
    lchown(folder, Some(user), Some(user))
}

/// Makes this process, which is root, an ordinary one of `user`, with the groups that may use
/// `devices`. It goes into a user namespace of its own, where that is allowed, so that its
/// processes are counted by themselves.
pub(super) fn become_user(user: u32, devices: &[PathBuf]) -> Result<(), SandboxError> {
    let mut groups: Vec<u32> = devices.iter().flat_map(|path| groups_of(path)).collect();
    groups.sort_unstable();
    groups.dedup();
    // SAFETY: the list is as long as is said, and is only read.
    let set = unsafe { libc::setgroups(groups.len(), groups.as_ptr()) };
    step("giving up groups", done(set.into()))?;
    // SAFETY: these change who this process is, which has one thread.
    let set = unsafe { libc::setresgid(user, user, user) };
    step("giving up root's group", done(set.into()))?;
    // SAFETY: as above.
    let set = unsafe { libc::setresuid(user, user, user) };
    step("giving up root", done(set.into()))?;
    // Else what it has of /proc would be root's.
    let dumpable = rustix::process::DumpableBehavior::Dumpable;
    step(
        "keeping the use of its own /proc",
        rustix::process::set_dumpable_behavior(dumpable),
    )?;
    match namespaces::unshare(UnshareFlags::NEWUSER).and_then(|()| map(user, user)) {
        Ok(()) => {}
        Err(error) => log::debug!("no user namespace for this worker: {error}"),
    }
    Ok(())
}

/// The group of a device, or of all devices in a folder of them.
fn groups_of(path: &Path) -> Vec<u32> {
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    let paths = inside.map(|entry| entry.path()).chain([path.to_owned()]);
    let groups = paths.filter_map(|path| fs::metadata(path).ok());
    groups
        .map(|found| found.gid())
        .filter(|group| *group != 0)
        .collect()
}

/// Maps one user and group into the user namespace that this process has just made.
pub(super) fn map(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Gives up every capability, for this process and all that it starts.
pub(super) fn drop_capabilities() -> Result<(), SandboxError> {
    for capability in 0..64 {
        // Fails where there is no such capability, or none of them: then there is nothing to drop.
        // SAFETY: changes this process's own bounding set.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let none = [0u32; 6];
    // SAFETY: version 3 of the call reads a header and two times three words.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    step("giving up capabilities", done(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_run_as_users_of_their_own() {
        let of = |name: &str| user_of(&Path::new("/var/cache/weir").join(name));
        assert_eq!(of("alice"), of("alice"));
        assert_ne!(of("alice"), of("bob"));
        assert!(of("alice") >= FIRST_USER && of("alice") < FIRST_USER + (1 << 24));
    }
}
