//! The jail: namespaces of its own, an empty file tree, a user that is nobody else.

use std::fs;
use std::io;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::{SandboxError, done, step};

/// The lowest of the user numbers that machines get, one for each process.
const FIRST_USER: u32 = 0x7200_0000;
/// Where the empty tree is mounted before it becomes the root: any folder that every host has.
const SITE: &str = "/usr";

const NAMESPACES: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWCGROUP);

/// The host's namespaces have been left.
pub struct Left {
    root: bool,
}

/// Leaves the host's namespaces, if that is allowed.
pub fn leave() -> Result<Left, SandboxError> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let root = user.is_root();
    let flags = match root {
        true => NAMESPACES,
        false => NAMESPACES | UnshareFlags::NEWUSER,
    };
    // SAFETY: CLONE_FILES is not among the flags, which is what makes the call unsafe.
    let left = unsafe { rustix::thread::unshare_unsafe(flags) };
    step("leaving the host's namespaces", left)?;
    if !root {
        let mapped = map(user.as_raw(), group.as_raw());
        step("mapping this user into its own namespace", mapped)?;
    }
    Ok(Left { root })
}

/// Goes into the jail. Everything that is to be used must be open.
pub fn enter(left: Left) -> Result<(), SandboxError> {
    step("moving into an empty file tree", empty_tree())?;
    if left.root {
        let own = FIRST_USER + rustix::process::getpid().as_raw_nonzero().get() as u32;
        become_user(own)?;
    }
    Ok(())
}

fn map(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

fn empty_tree() -> io::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", SITE, "tmpfs", flags, Some(c"size=4096,mode=0555"))?;
    std::env::set_current_dir(SITE)?;
    rustix::process::pivot_root(".", ".")?;
    // The old root lies over the new one now.
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    rustix::mount::mount_remount("/", flags | MountFlags::RDONLY, c"")?;
    Ok(())
}

fn become_user(user: u32) -> Result<(), SandboxError> {
    // SAFETY: gives up all groups; no list is read.
    let set = unsafe { libc::setgroups(0, std::ptr::null()) };
    step("giving up groups", done(set.into()))?;
    // SAFETY: these change who this process is, which has one thread.
    let set = unsafe { libc::setresgid(user, user, user) };
    step("giving up root's group", done(set.into()))?;
    // SAFETY: as above.
    let set = unsafe { libc::setresuid(user, user, user) };
    step("giving up root", done(set.into()))
}
